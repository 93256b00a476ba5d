# Mezzo: `make help` lists what there is to do.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PACKAGES := sdk/python services/chassis services/allocator services/registry services/agent services/gateway
SOURCES := sdk services tests scripts charts
# What is distributed, and the tests that are typed as well.
TYPED := sdk/python/mezzo sdk/python/generate.py $(wildcard services/*/mezzo_*) tests scripts
# Tests of services that are typed, by their packages: files of one name stand in several.
TYPED_TESTS := services.agent.tests services.allocator.tests services.chassis.tests services.gateway.tests \
	services.registry.tests
PROTOS := $(shell find protos -name '*.proto')

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1mmake %-15s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------- install

.venv/installed: requirements-dev.txt requirements-uv.txt scripts/install.sh $(PROTOS) $(addsuffix /pyproject.toml,$(PACKAGES)) sdk/python/generate.py
	@sh scripts/install.sh $(PACKAGES)
	@touch $@

.PHONY: install
install: .venv/installed ## Install everything into .venv

.PHONY: proto
proto: .venv/installed ## Generate the Python code of the protos
	@$(PYTHON) sdk/python/generate.py

.PHONY: lock
lock: .venv/installed ## Pin the newest versions of all dependencies, with hashes
	@sh scripts/lock.sh

# -------------------------------------------------------------------------------------------------------- run

.PHONY: run
run: .venv/installed ## Run a whole cluster on this machine, and twenty tasks on it (ARGS=… for flags of `mezzo local`)
	@exec mezzo local $(ARGS)

# ------------------------------------------------------------------------------------------------------ check

.PHONY: check
check: .venv/installed ## Check format, style, types, import rules and protos
	@ruff format --check $(SOURCES)
	@ruff check $(SOURCES)
	@mypy $(TYPED)
	@mypy sdk/python/tests
	@mypy $(addprefix -p ,$(TYPED_TESTS))
	@lint-imports --config pyproject.toml
	@buf lint protos

.PHONY: format
format: .venv/installed ## Format the code and mend what can be mended
	@ruff format $(SOURCES)
	@ruff check --fix $(SOURCES)

# Files of tests are spread over the cores; those of one file share a cluster.
PYTEST := $(PYTHON) -m pytest -n $(or $(WORKERS),auto) --dist loadfile

.PHONY: test
test: .venv/installed ## Install what the tests need, and run all but the soak tests (ARGS=… for pytest, WORKERS=… processes)
	@sh scripts/install-test-programs.sh
	@$(PYTEST) -m 'not soak and not kubernetes' --durations=20 $(ARGS)

.PHONY: test-quick
test-quick: .venv/installed ## Run the unit tests, the chart's tests, and one cluster: for the loop of editing
	@$(PYTEST) -m 'not soak and not kubernetes' sdk services tests/charts/test_flags.py tests/charts/test_kubernetes.py tests/docs tests/parity \
		tests/integration/test_tasks.py $(ARGS)

.PHONY: test-bare
test-bare: ## Run `make run` and tests on bare Debians, made with debootstrap, as root (SUITES=…; see scripts/test-bare.sh)
	@sh scripts/test-bare.sh $(SUITES)

.PHONY: soak
soak: .venv/installed ## Run what takes long: Compose, a Kubernetes, random examples of properties, many seeds of the simulator
	@sh scripts/install-test-programs.sh
	@sh scripts/install-containers.sh || echo "The tests of Compose are skipped"
	@sh scripts/install-kubernetes.sh || echo "The tests of the chart on Kubernetes are skipped"
	@$(PYTHON) -m pytest -m 'soak or kubernetes or hypothesis' --hypothesis-profile=default $(ARGS)
	@$(PYTHON) -m tests.simulation --seed=1000 --seeds=$(or $(SEEDS),100) --steps=$(or $(STEPS),20000)

.PHONY: test-kubernetes
test-kubernetes: .venv/installed ## Run the chart on a real Kubernetes of two nodes; builds it first, once (root, Debian, Go)
	@sh scripts/install-helm.sh
	@sh scripts/install-kubernetes.sh
	@$(PYTHON) -m pytest -m kubernetes --durations=0 tests/kubernetes $(ARGS)

.PHONY: kubernetes
kubernetes: .venv/installed ## Start the same Kubernetes, and leave it running for a person to try the chart on
	@sh scripts/install-helm.sh
	@sh scripts/install-kubernetes.sh
	@exec $(PYTHON) -m tests.kubernetes

.PHONY: sim
sim: .venv/installed ## Run the simulator: make sim SEED=7 STEPS=20000
	@$(PYTHON) -m tests.simulation --seed=$(or $(SEED),1) --steps=$(or $(STEPS),10000)

.PHONY: parity
parity: .venv/installed ## Count which behaviours that Mesos' own tests name are shown by tests of ours (ARGS=--prove tries them)
	@$(PYTHON) -m tests.parity $(ARGS)

.PHONY: mutants
mutants: .venv/installed ## Break the cores in 300 places, one at a time, and list what no test notices (SEED=…, COUNT=…, ARGS=--help)
	@$(PYTHON) -m tests.mutants --seed=$(or $(SEED),1) --count=$(or $(COUNT),300) $(ARGS)

.PHONY: bench
bench: .venv/installed ## Measure, beside the published figures, and write docs/benchmarks.md
	@$(PYTHON) -m tests.bench $(ARGS)

.PHONY: trace
trace: .venv/installed ## Print where the time of one launch goes, hop by hop, and what CPU each process spends on it
	@$(PYTHON) -m tests.bench.trace $(ARGS)

.PHONY: docs
docs: .venv/installed ## Write what is written from the code: docs/metrics.md, docs/cli.md, the chart's values, the dashboards
	@$(PYTHON) -m scripts.metrics_reference
	@$(PYTHON) -m scripts.dashboards
	@$(PYTHON) -m scripts.chart_reference
	@$(PYTHON) -m scripts.cli_reference

.PHONY: images
images: ## Build the images of the services (see scripts/images.sh)
	@sh scripts/images.sh

.PHONY: release
release: .venv/installed ## Build wheels, sources and the chart into dist/, with their sums (SIGN_KEY=… signs them; see scripts/release.sh)
	@sh scripts/install-helm.sh
	@sh scripts/release.sh

.PHONY: clean
clean: ## Remove what was built and cached
	@rm -rf .venv .cache .hypothesis build dist
	@find sdk services -name '*_pb2*.py*' -delete
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
