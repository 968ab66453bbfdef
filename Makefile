# Short names for `python3 dev.py …`, which works where there is no make.
.PHONY: demo test floor check
demo test floor check:
	python3 dev.py $@
