# `make run` serves, `make test` checks everything. Each makes what it needs first, and works again and again.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

BIN := .venv/bin
PYTHON := $(BIN)/python
# What the checks write when they import the settings stays out of ./data.
CHECKED := env ENV_FILE=/dev/null DATA_DIR=.services/checks SECRET_KEY=checks ENCRYPTION_KEY= DATABASE_URL= REDIS_URL= $(BIN)
# The stamp's name carries the hash of the pins: new pins, new stamp.
stamp = .venv/.installed-$(1)-$(shell cksum < requirements/$(1).txt | cut -d' ' -f1)
BASE := $(call stamp,base)
DEV := $(call stamp,dev)

.PHONY: help install run test check check-types check-rest pytest format bench test-clients pins clean

help:
	@echo "make run | test | install | check | pytest | format | bench | test-clients | pins | clean"

install: $(BASE)
	@:

run: $(BASE)
	@exec $(PYTHON) manage.py run

# One after the other, so that a slip in the style is told before the tests run for minutes.
test:
	@$(MAKE) check
	@$(MAKE) pytest

check: $(DEV)
	@mkdir -p .services
	@$(BIN)/ruff format --check --quiet --output-format concise .
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(MAKE) --jobs 2 --output-sync check-types check-rest

check-types: $(DEV)
	@$(CHECKED)/mypy --no-error-summary .

check-rest: $(DEV)
	@$(BIN)/lint-imports > .services/imports || { cat .services/imports; exit 1; }
	@$(CHECKED)/python manage.py makemigrations --check --dry-run > .services/migrations \
	  || { cat .services/migrations; exit 1; }
	@$(CHECKED)/python manage.py spectacular --validate --fail-on-warn --file .services/openapi.yaml

# tests/gate says what runs beside what, and what is run again.
pytest: $(DEV)
	@mkdir -p .services
	@$(PYTHON) -m tests.gate

format: $(DEV)
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .

bench: $(DEV)
	@$(PYTHON) -m bench

test-clients: $(DEV)
	@command -v node > /dev/null && command -v npm > /dev/null \
	  || { echo "make test-clients needs Node 20 or newer, with npm" >&2; exit 1; }
	@$(PYTHON) -m tests.clients_node.run
	@if command -v javac > /dev/null; then $(PYTHON) -m tests.clients_java.run; \
	  else echo "The JDK's HTTP client was not tried: there is no JDK here"; fi

pins: $(PYTHON)
	@command -v uv > /dev/null || test -x .venv/uv/bin/uv \
	  || $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .venv/uv uv
	@for name in base otel dev; do \
	  PATH="$$PATH:.venv/uv/bin" uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --output-file requirements/$$name.txt requirements/$$name.in || exit 1; \
	done

clean:
	@rm -rf .venv .services .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  tests/clients_node/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A name may be a stub that fails (pyenv's, for a version that nobody chose), so each is tried.
$(PYTHON):
	@for name in python3.13 python3.12 python3.11 python3; do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
	    exec "$$name" -m venv .venv; \
	  fi; \
	done; \
	echo "Sluice needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)" >&2; exit 1

$(BASE) $(DEV): .venv/.installed-%: | $(PYTHON)
	@name=$*; name=$${name%-*}; \
	echo "Installing requirements/$$name.txt; the first time takes a minute or so"; \
	if command -v uv > /dev/null; then uv pip install --quiet --python $(PYTHON) -r requirements/$$name.txt; \
	else $(PYTHON) -m pip install --disable-pip-version-check --no-input --progress-bar off \
	    -r requirements/$$name.txt | while read -r word what _; do \
	      if test "$$word" = Collecting; then echo "  $$what"; fi; done; test $${PIPESTATUS[0]} = 0; fi \
	  && rm -f .venv/.installed-$$name-* && touch $@
