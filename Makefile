# Each target does its own set-up, once: `make demo` on a fresh machine with Python 3.11+, pip and make.
.DELETE_ON_ERROR:
.PHONY: demo test test-long matrix interop programs lint bench docs site dist clean

PYTHON ?= python3
# Each Python that is asked for by name has its own environment: `make test PYTHON=python3.12` makes .venv-3.12.
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'))
BIN := $(VENV)/bin
# Four processes share the tests, each with servers of its own: half of the time a test waits for one of them. A process
# that has no tests left takes some from another.
IN_PARALLEL = --numprocesses 4 --dist worksteal
# `make test TESTS=tests/engine` runs a part.
TESTS :=
# Where it is set, each of the hundreds of programs that tests start would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

demo: $(VENV)/installed-demo
	$(BIN)/causal-otel demo

test: $(VENV)/installed-test $(VENV)/installed-browser
	$(BIN)/python -m pytest $(IN_PARALLEL) $(TESTS)

# It builds nothing: of the true programs it runs those that `make interop` has built here before.
test-long: $(VENV)/installed-test $(VENV)/installed-packaging $(VENV)/installed-browser $(VENV)/installed-promtool $(VENV)/installed-rabbitmq \
    $(VENV)/installed-axe $(VENV)/installed-shells
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "long or interop"

# Each driver's lowest and highest version, on every Python that is here: it installs what is newest today, so CI does not.
matrix: $(VENV)/installed-packaging
	$(BIN)/nox

interop: $(VENV)/installed-test $(VENV)/installed-promtool programs
	$(BIN)/python -m pytest $(IN_PARALLEL) -m interop

lint: $(VENV)/installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python -m pytest benchmarks
	$(BIN)/python -m benchmarks.table
	$(BIN)/python -m causal_otel._reference

# The documentation as a site, in build/site: a link or an anchor that leads nowhere is an error.
site: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# What is released: built, and checked as an index would.
dist: $(VENV)/installed-packaging
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

docs: $(VENV)/installed-test
	$(BIN)/python -m causal_otel._reference
	$(BIN)/python deploy/grafana/generate.py

$(VENV)/installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what 'make $*' needs, which takes half a minute the first time"
	@$(INSTALL) ".[$*]"
	@touch $@

# The pages are tested in a real browser. Where there is none and it cannot be installed, those tests are skipped.
$(VENV)/installed-browser: | $(BIN)/python
	@command -v chromium-headless-shell >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium, for the tests of the pages" && \
	  apt-get update -qq >/dev/null && { apt-get install -y -qq --no-install-recommends chromium-headless-shell || \
	  apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; } || \
	  command -v chromium chromium-browser google-chrome >/dev/null || \
	  echo "there is no chromium: the tests of the pages will be skipped (Debian: apt-get install chromium-headless-shell)"
	@touch $@

# axe-core looks for what keeps people from using the pages, in `make test-long`. It is npm's: unpacked, nothing of it runs
# but in the browser of the tests. Where there is no npm, those tests are skipped.
AXE = axe-core@4.14.1
$(VENV)/installed-axe: | $(BIN)/python
	@{ command -v npm >/dev/null && echo "getting axe-core, for the tests of the pages" && folder=$$(mktemp -d) && \
	  (cd "$$folder" && npm pack --silent --ignore-scripts $(AXE) >/dev/null && tar -xzf axe-core-*.tgz) 2>/dev/null && \
	  rm -rf $(VENV)/axe-core && mv "$$folder/package" $(VENV)/axe-core && rm -rf "$$folder"; } || \
	  echo "there is no axe-core: the tests of whom the pages keep out will be skipped (Debian: apt-get install npm)"
	@touch $@

# What these shells complete is tested in `make test-long`. Where they cannot be installed, those tests are skipped.
$(VENV)/installed-shells: | $(BIN)/python
	@{ command -v zsh && command -v fish; } >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing zsh and fish, for the tests of completion" && \
	  apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends zsh fish >/dev/null 2>&1; } || \
	  echo "there is no zsh or no fish: the tests of what they complete will be skipped (Debian: apt-get install zsh fish)"
	@touch $@

# promtool tests the alerts of deploy/, in `make test-long`. It is taken out of Debian's package, which would start a service
# if it were installed. Where it cannot be had, those tests are skipped.
$(VENV)/installed-promtool: | $(BIN)/python
	@command -v promtool >/dev/null || { command -v apt-get >/dev/null && echo "getting promtool, for the tests of deploy/" && \
	  { [ "$$(id -u)" != 0 ] || apt-get update -qq >/dev/null; } && folder=$$(mktemp -d) && \
	  (cd "$$folder" && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool) \
	  >/dev/null 2>&1 && mv "$$folder/usr/bin/promtool" $(BIN)/ && rm -rf "$$folder"; } || \
	  echo "there is no promtool: the tests of the alerts will be skipped (Debian: apt-get install prometheus)"
	@touch $@

# RabbitMQ is the other broker of `make test-long`. Its packages are unpacked and not installed: that takes no root, starts
# no service and no epmd of the machine's, and touches nothing outside the environment. 34 MB, four seconds.
RABBITMQ = rabbitmq-server $(addprefix erlang-,base asn1 crypto eldap ftp inets mnesia os-mon parsetools public-key \
  runtime-tools snmp ssl syntax-tools tftp tools xmerl)
$(VENV)/installed-rabbitmq: | $(BIN)/python
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || { command -v apt-get >/dev/null && echo "getting RabbitMQ, for the tests of Celery" && \
	  { [ "$$(id -u)" != 0 ] || apt-get update -qq >/dev/null; } && folder=$$(mktemp -d) && \
	  (cd "$$folder" && apt-get download -qq $(RABBITMQ) && for package in *.deb; do dpkg-deb -x "$$package" root || exit; done) \
	  >/dev/null 2>&1 && rm -rf $(VENV)/rabbitmq && mv "$$folder/root" $(VENV)/rabbitmq && rm -rf "$$folder"; } || \
	  echo "there is no RabbitMQ: the tests against it will be skipped (Debian: apt-get install rabbitmq-server)"
	@touch $@

# Jaeger and the OpenTelemetry Collector, built with Go outside the checkout, once. What cannot be built is said each time.
programs: | $(VENV)/installed-test
	@$(BIN)/python -m tests.interop.programs || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "causal_otel needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf .venv .venv-* .nox build dist
