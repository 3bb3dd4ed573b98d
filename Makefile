# make env | demo | test | test-browser | test-slow | bench | bench-train | bench-recipes | fuzz | soak | check | audit |
# sbom | lock. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# Small enough for two cores and five minutes: 500 clips of 10 s, a random 3 s of each in an epoch.
DEMO_RECIPE := --synthetic_clips_per_genre 50 --synthetic_duration_s 10 --max_duration_s 3 --random_crop \
	--num_train_epochs 20 --per_device_train_batch_size 16 --learning_rate 1e-3 --weight_decay 0.01 --bf16 --use_cpu

.PHONY: env demo test test-browser test-slow bench bench-train bench-recipes fuzz soak check audit sbom lock

env: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[serve,train,dev]'
	touch $@

# Synthetic music, a small model trained on it, and the service with that model.
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

# What takes minutes: an epoch over 20,000 streamed clips at flat memory.
test-slow: env
	$(BIN)/pytest -m slow -s

# Compare the service with the stock way on this machine; leave it alone meanwhile (a quarter of an hour).
bench: env
	mkdir -p runs
	$(BIN)/python -m tests.benchmarks --json runs/benchmark.json

# What an epoch costs by the course's recipe and by the best one (ten minutes), and what each option is worth (an hour).
bench-train: env
	$(BIN)/python -m tests.benchmarks.training

bench-recipes: env
	mkdir -p runs
	$(BIN)/python -m tests.benchmarks.recipes --json runs/recipes.jsonl

# 10,000 mutated files and 2,000 headers, a few minutes; files that do harm are kept in runs/fuzz.
fuzz: env
	$(BIN)/python -m tests.fuzz

# What two hours weigh, ten minutes of ten times the load that the service can answer, and half an hour of twice that load
# with decoders killed at random.
soak: env
	$(BIN)/python -m tests.soak.long
	$(BIN)/python -m tests.soak.overload
	$(BIN)/python -m tests.soak

check: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Known vulnerabilities of the locked dependencies, from PyPI. Strict: what could not be looked up is a failure, too.
audit: env
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

# What is installed, with versions and licences, as CycloneDX.
sbom: env
	mkdir -p runs
	$(BIN)/cyclonedx-py environment .venv --pyproject pyproject.toml --output-reproducible --output-file runs/sbom.json

# Resolve all dependencies anew within the ranges of pyproject.toml.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install 'torch==2.13.0' --editable '.[serve,train,dev]'
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-lock
