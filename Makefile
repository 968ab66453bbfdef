# Short names for `python3 dev.py …`, which works where there is no make.
.PHONY: demo test floor serving test-matrix check docs
demo test floor serving test-matrix check docs:
	python3 dev.py $@
