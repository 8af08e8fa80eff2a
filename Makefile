# Everything a fresh Linux machine with Python needs: `make demo` and `make test`.
# No Docker, no apt, no system Postgres, no credentials.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Most tests wait, so that four processes have work for two cores; those that take longest begin first.
PYTEST := $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder \
    $(addprefix tests/,acceptance chaos integration simulator unit architecture compose)

# Hundreds of processes, each of which would compile the same modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo up down test test-slow test-all test-compose lint coverage mutants bench evidence clean

help:  ## what there is to call
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with everything in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 10) else 0)'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about 2 minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[mage,postgres,dev]'
	@touch $@

demo: install  ## backfill a simulated company through a real Mage; KEEP=1 leaves it up
	@$(BIN)/python -m tools.demo $(if $(KEEP),--keep)

up:  ## the Docker stack, ready: Mage, Postgres, pgAdmin; COMPOSE_PROFILES=simulator adds a QuickBooks to try
	@deploy/docker/create_secrets.sh
	@docker compose up --detach --build --wait
	@docker compose ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'
	@echo "Passwords are in deploy/docker/secrets/; docs/docker.md says which opens what."

down:  ## stop the Docker stack; its data stays
	@docker compose --profile simulator down

lint: install  ## ruff and strict mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint  ## lint, then every test but the slow and the long ones
	@$(PYTEST) -m 'not slow and not long'

test-slow: install  ## slow ones, of which a quicker one of the kind is in make test; CI runs both
	@$(PYTEST) -m 'slow and not long'

test-all: lint  ## every test, also those that run for minutes
	@$(PYTEST)

test-compose: install  ## the Docker stack for real: first start, triggers, restarts, rotation, down and up
	@NOTHING_LEFT_OUT=1 $(BIN)/python -m pytest tests/compose -v -s

coverage: install  ## lines and branches that the tests reach, processes they start included
	@mkdir -p .state/coverage && $(BIN)/python -m coverage erase --rcfile tests/coverage.ini
	@$(BIN)/python -m coverage run --rcfile tests/coverage.ini -m pytest -m 'not long' tests/architecture tests/unit tests/simulator tests/integration tests/acceptance
	@$(BIN)/python -m coverage combine --quiet --rcfile tests/coverage.ini
	@$(BIN)/python -m coverage report --rcfile tests/coverage.ini

mutants: install  ## what the tests would notice: safeguards removed one at a time; takes hours
	@$(BIN)/python -m tests.mutants

bench: install  ## measure, as ratios, into evidence/bench/
	@$(BIN)/python -m tools.bench

evidence: install  ## remake evidence/: runs on the simulator, photographed; needs Chromium
	@$(BIN)/python -m tools.evidence

clean:  ## end what the demo left running, remove all that make built
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m tools.demo --down; fi
	@rm -rf $(VENV) .state build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
