# What a fresh clone needs: Python 3.11 or newer, Node 20 or newer, make. Everything else is set up here.
# Each step that takes long leaves a stamp in .make/ and is repeated when what it is made of changes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

PORT ?= 8000
# In which the Python tests run, each with its own servers
PROCESSES ?= 2
BIN := .venv/bin
MANAGE := cd example && ../$(BIN)/python manage.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Python and npm of the machine; the pinned requirements are made for the first version tried.
FIND_PYTHON := for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo "$$python"; exit; fi; done

sources = $(shell find $(1) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

.PHONY: help
help: ## Show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

.PHONY: demo
demo: setup ## Set up, build and serve the example at PORT=8000
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) seed
	@printf '%s\n' \
		'' \
		'  The chat    http://127.0.0.1:$(PORT)/' \
		'  The admin   http://127.0.0.1:$(PORT)/admin/' \
		'  GraphiQL    http://127.0.0.1:$(PORT)/graphql/' \
		''
	@$(MANAGE) runserver 127.0.0.1:$(PORT)

.PHONY: setup
setup: .make/venv .make/npm .make/codegen .make/graphiql .make/chat ## Make the environments and all builds

# -- Checks and tests

.PHONY: check
check: check-python check-client check-generated ## Everything that can be judged without running it

.PHONY: check-python
check-python: .make/venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: check-client
check-client: .make/npm .make/codegen
	npm run --silent format:check
	npm run --silent typecheck
	npm run --silent check:package -w client-codegen

.PHONY: check-generated
check-generated: .make/venv .make/npm .make/codegen
	$(MANAGE) check
	$(MANAGE) makemigrations --check --dry-run
	$(MANAGE) makefrontend --check
	$(BIN)/python -m pytest -q tests/test_docs.py

.PHONY: test
test: test-python test-client test-package test-browser ## All tests

.PHONY: test-python
test-python: .make/venv .make/npm .make/codegen .make/graphiql
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --ignore tests/package
	RX_TEST_DATABASE=postgres $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --ignore tests/package -m every_database

.PHONY: test-client
test-client: .make/npm .make/codegen
	npm test

.PHONY: test-package
test-package: .make/venv .make/npm .make/codegen .make/graphiql
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile tests/package

.PHONY: test-browser
test-browser: setup chromium
	CHROMIUM="$$(command -v "$${CHROMIUM:-chromium}")" npm run test:browser

.PHONY: bench
bench: .make/venv .make/npm ## Ratios of this code to what one would write without it
	$(BIN)/python -m tests.bench
	npm run --silent bench -w client-codegen
	npm run --silent size -w client-codegen

SEED ?= $(shell date +%s)
TRANSACTIONS ?= 2000
FAULTS ?= all

.PHONY: oracle
oracle: .make/venv ## Random writers, readers and faults against the promises: SEED= TRANSACTIONS= FAULTS=
	$(BIN)/python -m tests.oracle --seed $(SEED) --transactions $(TRANSACTIONS) --faults $(FAULTS)

.PHONY: oracle-kill
oracle-kill: .make/venv ## The same without one safeguard at a time: each must be missed
	$(BIN)/python -m tests.oracle --kill --seed $(SEED)

NAME ?= all

.PHONY: soak
soak: .make/venv ## Many clients and much time, NAME=drops, subscriptions, churn, herd or all
	$(BIN)/python -m tests.soak $(NAME)

# -- The rest

.PHONY: graphiql
graphiql: .make/graphiql ## Build GraphiQL's page

.PHONY: frontend
frontend: .make/venv .make/npm .make/codegen ## Write the example's schema and its generated modules anew
	$(MANAGE) makefrontend

.PHONY: format
format: .make/venv .make/npm ## Format all sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	npm run --silent format

.PHONY: dist
dist: .make/venv .make/npm ## Build the Python package
	rm -rf dist
	$(BIN)/python -m hatchling build

.PHONY: clean
clean: ## Remove all that was made here, environments and the demo's database included
	rm -rf .make .venv node_modules */node_modules */*/node_modules build dist client-codegen/dist \
		example/frontend/dist rxgraphql/static/rxgraphql/graphiql example/*.sqlite3* \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# -- Steps with stamps

.make:
	@mkdir -p $@

.make/venv: requirements/dev.txt pyproject.toml | .make
	@if [ ! -x $(BIN)/python ]; then \
		python=$$($(FIND_PYTHON)); \
		if [ -z "$$python" ]; then echo 'Python 3.11 or newer is needed, as python3.' >&2; exit 1; fi; \
		"$$python" -m venv .venv; \
	fi
	$(BIN)/pip install -qq --requirement requirements/dev.txt
	$(BIN)/pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

.make/npm: package.json package-lock.json .npmrc $(wildcard */package.json */*/package.json) | .make
	@if ! command -v npm >/dev/null; then echo 'Node 20 or newer is needed, with npm.' >&2; exit 1; fi
	npm ci --no-fund --no-audit --loglevel=error
	@touch $@

.make/codegen: $(call sources,client-codegen/src client-codegen/bin) .make/npm
	npm run --silent build -w client-codegen
	@touch $@

.make/graphiql: $(call sources,rxgraphql/graphiql) .make/npm
	npm run --silent build -w rxgraphql/graphiql -- --logLevel warn
	@touch $@

.make/chat: $(call sources,example/frontend) .make/codegen .make/npm
	npm run --silent build -w example/frontend -- --logLevel warn
	@touch $@

.PHONY: chromium
chromium:
	@if command -v "$${CHROMIUM:-chromium}" >/dev/null; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -qq; \
		apt-get install -qq -y --no-install-recommends chromium fonts-noto-color-emoji >/dev/null; \
	else \
		echo 'The browser tests need Chromium. Install it, or say where it is: CHROMIUM=/path.' >&2; \
		exit 1; \
	fi
