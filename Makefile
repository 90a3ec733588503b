# Two commands matter: `make demo` and `make test`. Everything lives in .venv; nothing needs root except
# the system packages of the tests (Mosquitto, PostgreSQL, VictoriaMetrics), which are installed only where that is possible.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: help install demo test check format bench requirements clean

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Homeport needs Python 3.11 or later; $(PYTHON) is older. Set PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); .ci/system python3-venv && $(PYTHON) -m venv $(VENV); } || \
	  { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.hub: requirements/hub.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(PIP) --require-hashes -r requirements/hub.txt
	$(PIP) --require-hashes -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.hub
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.hub ## install hub, SDK and simulator into .venv
	@$(BIN)/homeport warm

demo: install ## hub, sixty simulated products, their customers and one fault, on this machine only
	@$(BIN)/homeport demo

test: export PYTHONDONTWRITEBYTECODE = # each process would compile all tests and all of the hub again
test: $(VENV)/.dev ## install what the tests need and run them, fast ones first
	@.ci/system mosquitto mosquitto-clients postgresql victoria-metrics chromium || true
	@$(BIN)/homeport warm
	$(BIN)/python -m pytest -m "not hub" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "hub" -n 3 --dist loadfile --no-loadscope-reorder $$(grep -rl --include='test_*.py' 'mark\.hub' tests | sort)

check: $(VENV)/.dev ## format, lint, types, imports, dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(VENV)/.dev ## all benchmarks, one table
	$(BIN)/python -m benchmarks all

requirements: ## compile the hashed requirement files again (needs uv)
	@.ci/requirements

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
