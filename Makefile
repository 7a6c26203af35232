# Two commands are all the set-up there is: `make run` and `make test`. The rest is for who works on reprune.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# For `make images`; docs/containers.md says what each is for.
BUILDER ?= docker
BASE_IMAGE ?= docker.io/library/python:3.11-slim-bookworm
REGISTRY ?=
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
ACCELERATOR ?= cpu
IMAGES ?= runtime monitor train
BUILD_FLAGS ?=

# For `make lock`.
TORCH_CPU ?= --torch-backend cpu
X86 := --python-platform x86_64-manylinux_2_28
COMPILE := uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 -c ../../constraints.txt

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-containers test-cluster images lock lint types readmes snapshot manifests clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(STAMP) ## Set up, then run the whole loop on handwritten digits
	@$(BIN)/reprune run digits

test: $(STAMP) ## Set up, then run the tests
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not alone"
	$(BIN)/pytest -m "not slow and alone" tests/docs

test-all: $(STAMP) ## The slow tests too
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/pytest -m alone tests/docs

images: ## Build the container images
	@set -e; for image in $(IMAGES); do \
	  $(BUILDER) build --file Containerfile --target $$image --tag $(REGISTRY)reprune-$$image:$(TAG) \
	    --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg ACCELERATOR=$(ACCELERATOR) --build-arg VERSION=$(TAG) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) $(BUILD_FLAGS) .; \
	done

test-containers: $(STAMP) ## Run the loop in containers, on the engine that DOCKER_HOST names
	$(BIN)/pytest -m "slow or not slow" tests/containers

lock: ## Write what goes into the images; TORCH_CPU says where torch without CUDA is
	@set -e; cd manifests/images; for lock in build runtime monitor; do $(COMPILE) $$lock.in -o $$lock.lock; done; \
	$(COMPILE) $(X86) $(TORCH_CPU) ../../pyproject.toml -o train-cpu.lock; \
	$(COMPILE) $(X86) --override cuda-overrides.in ../../pyproject.toml cuda.in -o train-cuda.lock

lint: $(STAMP) ## Check style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## Check types
	$(BIN)/mypy reprune

readmes: $(STAMP) ## Write each component's README from its docstring
	$(BIN)/python -m reprune.components.readmes

snapshot: $(STAMP) ## Accept the compiled pipelines as they are now
	$(BIN)/reprune compile digits -o tests/pipelines/snapshots/digits.yaml
	$(BIN)/reprune compile digits --log s3://logs/digits --shards 3 -o tests/pipelines/snapshots/digits-log.yaml

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
