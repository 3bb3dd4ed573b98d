# make env | demo | test | test-browser | bench | check | lock. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# Small enough for two cores and five minutes: 500 clips of 10 s, a random 3 s of each in an epoch.
DEMO_RECIPE := --synthetic_clips_per_genre 50 --synthetic_duration_s 10 --max_duration_s 3 --random_crop \
	--num_train_epochs 20 --per_device_train_batch_size 16 --learning_rate 1e-3 --weight_decay 0.01 --bf16 --use_cpu

.PHONY: env demo test test-browser bench check lock

env: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[serve,train,dev]'
	touch $@

# Made music, a small model trained on it, and the service with that model.
demo: $(DEMO)/model/README.md $(DEMO)/clips
	MODEL_ID=$(DEMO)/model $(BIN)/python -m service

$(DEMO)/model/README.md: | env
	$(BIN)/python -m training --dataset synthetic --model_name_or_path tiny --output_dir $(DEMO) $(DEMO_RECIPE)

# One clip of each genre that the model never heard, to try it with.
$(DEMO)/clips: | env
	$(BIN)/python -m training.synthetic $@ --clips_per_genre 1 --first_seed 1000000

test: env
	$(BIN)/pytest

# The page in Debian's Chromium, which is installed where that can be done. Screenshots: runs/browser. With MODEL_ID=
# $(DEMO)/model they show what a trained model says, and the one in the README is made anew.
test-browser: env
	@command -v chromium > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
			&& apt-get update -qq && apt-get install --yes -qq --no-install-recommends chromium fonts-dejavu-core; } \
		|| { echo "make test-browser needs chromium: sudo apt-get install chromium" >&2; exit 1; }
	$(BIN)/pytest -m browser tests/browser

# Compare the service with the stock way on this machine; leave it alone meanwhile (a quarter of an hour).
bench: env
	mkdir -p runs
	$(BIN)/python -m tests.benchmarks --json runs/benchmark.json

check: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Resolve all dependencies anew within the ranges of pyproject.toml.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install 'torch==2.13.0' --editable '.[serve,train,dev]'
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-lock
