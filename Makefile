# `make` lists what there is. It needs make, sh and Python 3.11 or newer; everything else is installed into .venv.

BIN := .venv/bin
STAMP := .venv/.installed
# For two cores: a third of the tests' time is waiting.
JOBS ?= 3

# torch must not spin while it waits for a core, and nothing may ask a model hub.
export OMP_WAIT_POLICY := PASSIVE
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-all faults cover matrix histories openapi lint imports type fmt bench fairness train score wheel lock clean

help: ## this list
	@tab=$$(printf '\t'); sed -n "s/^\([a-z-]*\):.*## \(.*\)/  make \1$$tab\2/p" $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv; instant when nothing has changed

# Keyed on what is installed: a second run does nothing until one of the two files changes.
$(STAMP): pyproject.toml constraints.txt
	@python=$$(for name in python3.11 python3.12 python3.13 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done); \
	if [ -z "$$python" ]; then echo "GenPulse needs Python 3.11 or newer." >&2; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then echo "Creating .venv with $$($$python --version)"; $$python -m venv .venv; fi
	@echo "Installing GenPulse and its dependencies into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --editable ".[engine,embedded,dev]" --constraint constraints.txt
	@touch $@

demo: setup ## text → image → video → upscaled video, on this machine
	@$(BIN)/genpulse demo

up: setup ## the whole stack in the foreground, state in ./.genpulse
	@$(BIN)/genpulse up

test: lint imports type ## what CI runs: style, architecture, types, then every test that is not slow
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

test-all: lint imports type ## the slow tests too
	@$(BIN)/python -m pytest -n $(JOBS)

faults: setup ## kill everything again and again while 2,000 generations run; the figures go to docs/reliability.md
	@GENPULSE_WRITE_FAILPOINTS=1 $(BIN)/python -m pytest -n 4 tests/faults/test_failpoints.py  # most of it is waiting
	@$(BIN)/python -m pytest -n 0 tests/faults --ignore tests/faults/test_failpoints.py
	@$(BIN)/python -m tests.faults.storm --write

cover: setup ## the tests with a coverage report
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow" --cov --cov-report=term-missing:skip-covered

matrix: setup ## run every model and every fault, and write the tables of docs/providers.md
	@GENPULSE_WRITE_MATRIX=1 $(BIN)/python -m pytest -n 0 tests/integration/test_matrix.py \
	  tests/workflows/test_matrix.py tests/faults/test_paid_once.py

histories: setup ## act out every path of every workflow, and record the histories that the replay tests read
	@$(BIN)/python -m pytest -n 0 tests/replay/record.py

openapi: setup ## put the OpenAPI document to the test on both databases, 200 examples for each operation
	@GENPULSE_OPENAPI_EXAMPLES=200 $(BIN)/python -m pytest -n 0 -s tests/contract/test_openapi.py

lint: setup ## style, spelling, dependencies
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/deptry .

imports: setup ## the direction of imports
	@$(BIN)/lint-imports

type: setup ## mypy
	@$(BIN)/mypy

fmt: setup ## format, and repair what can be repaired
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## cost and capacity of the orchestration, with real processes
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m tests.load.bench  # the sandbox would compile workflows for every run

fairness: setup ## when a tenant's few are served that wait beside another's many; the figures go to docs/fairness.md
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m tests.load.fairness  # the sandbox would compile workflows for every run

train: setup ## train the shipped models again (hours on a CPU)
	@$(BIN)/python -m engine.training shapes
	@$(BIN)/python -m engine.training motion

score: setup ## measure how often the shipped models make what the prompt says
	@$(BIN)/python -m engine.training score

wheel: setup ## dist/genpulse-*.whl
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# From what is installed, without local builds (+cpu) and without what only this machine has. To move to newer
# versions: change pyproject.toml, `pip install --upgrade` what should move, run the tests, then this.
lock: setup ## write constraints.txt from what is installed
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable \
	  | grep -v -E '^(pip|wheel|editables|genpulse)==| @ ' | sed 's/+[A-Za-z0-9.]*$$//'; } > .constraints.new
	@mv .constraints.new constraints.txt

clean: ## remove caches and the wheel; .venv, .genpulse and what training left in build stay
	@rm -rf dist .cache .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
