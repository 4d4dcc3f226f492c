# Each target does its own set-up, once: `make demo` on a fresh machine with Python 3.11+, pip and make.
.DELETE_ON_ERROR:
.PHONY: demo test lint bench docs clean

PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

demo: .venv/installed-demo
	$(BIN)/causal-otel demo

test: .venv/installed-test
	$(BIN)/python -m pytest

lint: .venv/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/installed-bench
	$(BIN)/python -m pytest benchmarks

docs: .venv/installed-demo
	$(BIN)/python -c 'from causal_otel.settings import reference; print(reference(), end="")' > docs/settings.md

.venv/installed-%: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing what 'make $*' needs, which takes half a minute the first time"
	@$(INSTALL) ".[$*]"
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "causal_otel needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv

clean:
	rm -rf .venv
