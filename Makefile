# All commands; `make` alone lists them.
# ARGS is passed to the tool behind a command: make unit ARGS='-k custom_id'
# An environment without torch: make unit VENV=.venv-unit LOCK=requirements/unit.lock

PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements/dev-cpu.lock
BIN := $(VENV)/bin
# Processes that run tests side by side; each may have a vLLM engine: 4 GB.
JOBS ?= 2
READY := $(VENV)/.ready

# Compiled modules are kept, whatever the environment says: importing vLLM takes half
# the time then, and a test run starts hundreds of processes.
export PYTHONDONTWRITEBYTECODE =

# uv reads neither pip's certificates nor its links: pass on the latter, if they are set,
# as the source of torch's CPU build; else uv finds that build by itself.
UV_PIP = $(BIN)/python -m uv --quiet --system-certs pip
CPU_TORCH := $(if $(PIP_FIND_LINKS),$(addprefix --find-links ,$(PIP_FIND_LINKS)),--torch-backend cpu)

# pip cannot take a constraint with hashes, so it gets uv's lines of the lock.
PINNED_UV = sed -n '/^uv==/,/[^\\]$$/p' $(LOCK)

# A lock holds for every platform and for Python 3.11 and newer, and has the hash of every
# file that may be installed, except for torch's CPU build: it may come from a folder that
# has one platform's file only.
COMPILE = $(UV_PIP) compile pyproject.toml --universal --python-version 3.11 \
	--no-annotate --no-emit-index-url --no-emit-find-links --generate-hashes \
	--custom-compile-command 'make lock' $(ARGS)

OLD_PYTHON = error: batchchat needs Python 3.11 or newer, $(PYTHON) is %d.%d\nhint: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all chaos unit coverage simulate check fix words bench docs lock clean

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s  %s\n", $$1, $$2}' Makefile

demo: $(READY)  ## Set up everything, then run a sample on vLLM with the tiny demo model
	$(BIN)/batchchat submit examples/requests.jsonl --model demo --output build/demo.jsonl --format both $(ARGS)

test: $(READY)  ## Set up everything, then run the tests of every kind
	$(BIN)/python -m pytest --numprocesses $(JOBS) $(ARGS)

test-all: $(READY)  ## Run the slow variants too (an hour)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --extended $(ARGS)

chaos: $(READY)  ## Disturb clusters with real vLLM in every way there is (half an hour): make chaos ARGS='1 8'
	$(BIN)/python -m tests.chaos.main $(ARGS)

unit: $(READY)  ## Run the fast tests, which need no torch: make unit ARGS='-k custom_id'
	$(BIN)/python -m pytest tests/unit tests/contract -m "not server and not slow" --hypothesis-profile quick -p no:schemathesis --numprocesses $(JOBS) $(ARGS)

coverage: $(READY)  ## Report the lines that the tests without an engine never run
	$(BIN)/python -m pytest tests/unit tests/contract tests/api --numprocesses $(JOBS) --cov --cov-report=term:skip-covered $(ARGS)

simulate: $(READY)  ## Run the cluster's protocol in memory, by seeds: make simulate ARGS='--seed 4711'
	$(BIN)/python tests/simulation/simulate.py $(ARGS)

check: $(READY)  ## Check format, lint, types, layers, spelling and words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python tools/check_words.py
	NO_NETWORK=1 $(BIN)/validate-pyproject pyproject.toml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml

fix: $(READY)  ## Repair format and lint where a tool can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

words: $(READY)  ## List words that are not plain English: make words ARGS=docs
	$(BIN)/python tools/check_words.py $(ARGS)

bench: $(READY)  ## Run all benchmarks, small; or one, in full: make bench NAME=throughput
	$(BIN)/python -m benchmarks.$(or $(NAME),every) $(ARGS)

docs: $(READY)  ## Write the pages that are generated
	$(BIN)/python tools/settings_page.py
	$(BIN)/python tools/requests_page.py
	$(BIN)/python tools/results_page.py

lock: $(READY)  ## Compile the locks after a change of pyproject.toml (ARGS=--upgrade raises all)
	$(COMPILE) $(CPU_TORCH) --group dev --extra cpu --override requirements/overrides.txt --output-file requirements/dev-cpu.lock
	perl -0pi -e 's/^(torch==\S+\+cpu .*?) \\\n(?:    --hash=.*\n)+/$$1\n/m' requirements/dev-cpu.lock
	$(COMPILE) $(CPU_TORCH) --group dev --constraint requirements/dev-cpu.lock --output-file requirements/unit.lock
	$(COMPILE) --extra gpu --constraint requirements/unit.lock --output-file requirements/gpu.lock

clean:  ## Remove what was built and cached; the environment stays
	rm -rf build dist htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("$(OLD_PYTHON)" % v[:2])'
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || { echo "making $(VENV) (a few minutes the first time)" && $(PYTHON) -m venv --clear $(VENV) && $(PINNED_UV) | $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement /dev/stdin; }
	$(UV_PIP) sync $(LOCK) --python $(BIN)/python $(CPU_TORCH)
	$(UV_PIP) install --no-deps --python $(BIN)/python --editable .
	@touch $@
