# Everything runs in .venv, which is made on first use. KEEP=1 leaves the demo's stack and programs up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Deselect with e.g. `make test ARGS="-m 'not stack'"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test faults lint format bench clean

help: ## Show what can be made.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(INSTALLED) ## Make .venv with everything in it.

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python 3.11 or newer is needed; name one with PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (PyTorch is large: a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## Start Kafka and Elasticsearch, publish, classify, index, audit; stop it all again.
	@$(BIN)/trimodal demo $(if $(KEEP),--keep)

test: $(INSTALLED) ## Run the tests, on a real Kafka and a real Elasticsearch.
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m 'not slow_faults' $(ARGS)

faults: $(INSTALLED) ## Run all fault scenarios: replicas and brokers killed, stopped and restarted under load.
	@$(BIN)/python -m pytest tests/faults $(ARGS)

lint: $(INSTALLED) ## ruff, mypy strict and import-linter.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code.
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure everything beside the alternatives, and write docs/benchmarks.md (ARGS="pipeline --scale 0.1").
	@$(BIN)/python -m tests.bench $(ARGS)

clean: ## Stop the local stack and remove what was made: .venv, .local and caches.
	@if test -x $(BIN)/trimodal; then $(BIN)/trimodal stack down --wipe; fi
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
