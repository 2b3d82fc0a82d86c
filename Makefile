# `make demo` and `make test` set everything up by themselves, in $(VENV).
PYTHON ?= python3
VENV ?= .venv
# Passed on to pip, for example PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# Tests that run beside each other; what else pytest and `crossgraph demo` get
WORKERS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=
# What else `crossgraph table` gets; SMALL=1 tries everything in seconds a model, and touches no kept card
TABLE_ARGS ?=
SMALL ?=

BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
SOURCES := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo table test lint format types imports tests quick wheel page startup constraints clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12    the Python that makes $(VENV)'
	@echo '  PIP_ARGS="..."       passed on to pip, for example to name another package index'

demo: $(VENV)/.demo ## make pictures, train two small models on them, show what they find
	$(BIN)/crossgraph demo $(DEMO_ARGS)
	@command -v crossgraph > /dev/null || printf '\nThe command lives in %s. Before the rest, type:  . %s/bin/activate\n' $(VENV) $(VENV)

table: $(VENV)/.demo ## train every model on drawn pictures, measure both splits: docs/results.md, from kept cards
	test -f demo/scenes/captions.jsonl || $(BIN)/crossgraph scenes --out demo/scenes
	test -f demo/scenes/features/manifest.json || $(BIN)/crossgraph extract demo/scenes/pictures --out demo/scenes/features
	$(BIN)/crossgraph table table-scenes --data demo/scenes $(if $(SMALL),--small \
	  --out runs/small-table --cards runs/small-table/cards --page runs/small-table/results.md,\
	  --out runs/scenes-table --cards experiments/scenes-table --page docs/results.md) $(TABLE_ARGS)

test: lint types imports tests ## everything that must hold before a change lands

lint: $(VENV)/.dev ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/.dev ## mend format and style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.dev ## check the types
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/.dev ## check that imports go one way
	$(BIN)/lint-imports --no-cache

tests: $(VENV)/.dev ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

quick: $(VENV)/.dev ## run the fast tests only
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(PYTEST_ARGS)

page: ## build the search page from web/ into the package (needs Node 20)
	cd web && npm ci && npm run build

wheel: $(VENV)/.dev ## build the wheel into dist/
	$(BIN)/python -m build --wheel --outdir dist .

startup: $(VENV)/.dev ## measure how long `import crossgraph` and `--help` take
	$(BIN)/python benchmarks/startup.py

constraints: $(VENV)/.dev ## pin what is installed now (after the tests passed)
	$(BIN)/python -m pip list --format=freeze --exclude-editable --exclude pip | sed 's/+cpu$$//' > constraints.txt

clean: ## remove what was built (not your data, runs or .venv)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A current pip, since the one that comes with Python 3.11 takes minutes to resolve all this.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "crossgraph needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# A stamp is newer than what it was made from, so that nothing is installed twice.
$(VENV)/.demo: $(SOURCES) | $(BIN)/python
	$(PIP) $(PIP_ARGS) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	$(PIP) $(PIP_ARGS) -e '.[demo,dev]'
	@touch $@ $(VENV)/.demo
