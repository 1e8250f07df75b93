# The two that matter: `make serve` and `make test`. Both start from nothing but git, make and Python >= 3.11.

VENV   := .venv
BIN    := $(VENV)/bin
DATA   ?= .data
PYTHON ?= $(shell .ci/find-python)
# As many test processes as cores. PYTEST_ARGS="tests/unit -k patch" narrows the run.
PROCESSES ?= auto
# Packages in which a branch that no test takes is a failure.
NO_GAPS := fhir_server/access/*,fhir_server/repository/*,fhir_server/smart/*
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
# --build-deps-for keeps the marker of the embedded extra, which a static reading of pyproject.toml loses.
LOCK   := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --strip-extras --generate-hashes \
          --allow-unsafe --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
          --build-deps-for editable --extra embedded

.DEFAULT_GOAL := help
.PHONY: help serve test lint format types imports tests coverage bench conformance lock wheel clean

help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

serve: $(VENV)/.runtime ## Set everything up and start the server with a demo record
	FHIR_SERVER_DATA="$(abspath $(DATA))" exec $(BIN)/fhir-server serve --demo

test: lint types imports coverage ## Set everything up and check all there is to check

lint: $(VENV)/.dev ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## Lay the code out as `make lint` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Types
	$(BIN)/mypy --cache-dir build/mypy

imports: $(VENV)/.dev ## Who may import whom
	$(BIN)/lint-imports --cache-dir build/import-linter

tests: $(VENV)/.dev ## Tests, with coverage
	$(BIN)/python -m pytest -n $(PROCESSES) --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

coverage: tests ## Tests, and whether they take every branch of access, repository and smart
	@echo "Branches of $(NO_GAPS) that no test has taken:"
	@$(BIN)/coverage report --include="$(NO_GAPS)" --fail-under=100

bench: $(VENV)/.dev ## Benchmarks, on this machine
	$(BIN)/python -m benchmarks

conformance: $(VENV)/.dev ## Write what conformance/ holds
	$(BIN)/fhir-server conformance

wheel: $(VENV)/.dev ## Build dist/*.whl and *.tar.gz
	$(BIN)/python -m hatchling build

lock: $(VENV)/.dev ## Choose new versions of every dependency
	$(LOCK) --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

clean: ## Remove what was made here, the demo's data included
	rm -rf $(VENV) build dist $(DATA)

# A lock names everything: --no-deps keeps pip from asking an index for newer versions of what extras name.
# The stamps are newer than the locks they were made from: a pull that changes a lock reinstalls, all else costs nothing.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer, with venv, is needed and was not found. Set PYTHON=/path/to/python3." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --no-deps --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime
