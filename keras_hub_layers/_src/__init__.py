"""The road: resolve -> savedmodel -> inspect -> executors -> layers -> finetuning, tuners -> export -> publish."""
