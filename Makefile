# Two commands are all the set-up there is: `make run` and `make test`. The rest is for who works on reprune.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-cluster lint types readmes snapshot manifests clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(STAMP) ## Set up, then run the whole loop on handwritten digits
	@$(BIN)/reprune run digits

test: $(STAMP) ## Set up, then run the tests
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not alone"
	$(BIN)/pytest -m "not slow and alone" tests/docs

test-all: $(STAMP) ## The slow tests too
	$(BIN)/pytest -n auto --dist loadfile -m "not alone"
	$(BIN)/pytest -m alone tests/docs

lint: $(STAMP) ## Check style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## Check types
	$(BIN)/mypy reprune

readmes: $(STAMP) ## Write each component's README from its docstring
	$(BIN)/python -m reprune.components.readmes

snapshot: $(STAMP) ## Accept the compiled pipeline as it is now
	$(BIN)/reprune compile digits -o tests/pipelines/snapshots/digits.yaml

manifests: $(STAMP) ## Write the Kubernetes objects that follow from monitoring/
	$(BIN)/python -m reprune.monitoring.manifests

test-cluster: $(STAMP) ## Test the manifests on a cluster to throw away: KUBECONFIG=... make test-cluster
	@test -n "$$KUBECONFIG" || { echo "KUBECONFIG names no cluster; make one: kind create cluster --kubeconfig kubeconfig" >&2; exit 2; }
	$(BIN)/pytest -rs tests/manifests

clean: ## Remove what `make` made, but not the store
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .reprune

$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "reprune needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: apt install python3-venv" >&2; exit 2; }
	@echo "Setting up $(VENV) (a few minutes the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
