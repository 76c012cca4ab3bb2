# `make` alone prints this list. Everything sets itself up in .venv with the versions of constraints.txt.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PLAIN := $(VENV)/.plain
PEERS := $(VENV)/.peers
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help demo demo-all test test-all check mutants format docs bench clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; name yours: make PYTHON=path"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(PLAIN): $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) .
	@touch $(PLAIN)

$(READY): $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) '.[dev]'
	@touch $(PLAIN) $(READY)

$(PEERS): $(READY)
	$(INSTALL) '.[dev,bench]'
	@touch $(PEERS)

demo: $(PLAIN) ## The whole of foveal on made-up pictures, in about ten minutes; results in demo/
	$(BIN)/foveal demo --out demo

demo-all: $(PLAIN) ## The same with every recipe
	$(BIN)/foveal demo --out demo --recipes all

test: $(READY) ## Fast tests, on every core
	$(BIN)/python -m pytest --numprocesses auto -m "not slow and not gpu"

test-all: $(READY) ## All tests, the slow ones too
	$(BIN)/python -m pytest --numprocesses auto

check: $(READY) ## Format, lint, types, floors, names, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports
	$(BIN)/python tools/check_names.py
	$(BIN)/codespell

mutants: $(READY) ## Mistakes put into search, language rules, evaluation: do the tests notice? An hour
	$(BIN)/python tools/mutants.py

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

docs: $(READY) ## The documentation as a site, in site/
	$(INSTALL) '.[docs]'
	$(BIN)/python tools/write_reference.py docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(PEERS) ## Speed and memory beside peers; what a hub or photos are missing for is skipped by name
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || failed="$$failed $$script"; done; \
	test -z "$$failed" || { echo "make: failed:$$failed"; exit 1; }

clean: ## Remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
