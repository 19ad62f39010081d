# Thin on purpose: every target calls one program of the project. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
INVENTORY ?= inventories/local
ARGS ?=
SCENARIO ?= default
PYTHONS ?= 3.11 3.12/2.20 3.12 3.13
BIN := .venv/bin
PLAYBOOK := $(BIN)/ansible-playbook -i $(INVENTORY)

.PHONY: help site artifacts down clean test lint unit package integration molecule heavy \
  publish matrix docs ee bench lock

help: ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

site: .venv/runtime ## Build what is missing, then bring the platform up and prove it
	$(PLAYBOOK) site.yml $(ARGS)

artifacts: .venv/runtime ## Only build and cache binaries and images (may start early)
	$(PLAYBOOK) playbooks/artifacts.yml $(ARGS)

down: .venv/runtime ## Remove the platform's nodes, networks, volumes and mounts
	$(PLAYBOOK) playbooks/teardown.yml $(ARGS)

clean: .venv/runtime ## Remove the cache of built artefacts
	$(PLAYBOOK) playbooks/clean.yml $(ARGS)

test: .venv/dev ## Lint, units, and of integration and the Molecule scenario default what is quick
	$(BIN)/python tests/run.py lint unit package app artifacts integration-quick molecule-quick

lint: .venv/dev ## ansible-lint (production), ruff, mypy, yamllint
	$(BIN)/python tests/run.py lint

unit: .venv/dev ## Unit tests, no server needed
	$(BIN)/python tests/run.py unit

package: .venv/dev ## The built collection: what it holds, and that it works where nothing else is
	$(BIN)/python tests/run.py package

publish: .venv/dev build/venv/publish/done build/venv/importer/done ## All that is to be seen before the collection is published
	$(BIN)/python tests/run.py publish

matrix: ## Unit and sanity tests with each of PYTHONS: a Python, and its ansible-core or the one after a slash
	tools/matrix $(PYTHONS)

docs: .venv/dev build/venv/publish/done ## Write the roles' pages, and build the documentation as HTML (build/docsite)
	$(BIN)/python tools/reference.py
	tools/docsite build/docsite collections

ee: .venv/dev ## What an execution environment of AWX is built from (build/ee/context)
	tools/ee

integration: .venv/dev ## All modules against real servers on loopback (half an hour)
	$(BIN)/python tests/run.py app artifacts integration

molecule: .venv/dev ## One Molecule scenario: make molecule SCENARIO=default
	$(BIN)/python tests/run.py molecule --scenario $(SCENARIO)

heavy: .venv/dev ## Workloads, failovers and drills on a platform of the tests' own (an hour)
	$(BIN)/python tests/run.py heavy

bench: .venv/dev ## Speed of manifests beside the alternatives (a quarter of an hour; build/benchmarks)
	PYTHONPATH=tests:collections $(BIN)/python -m benchmarks --output build/benchmarks $(ARGS)

lock: ## Pin requirements*.in anew, with hashes (needs uv)
	tools/lock

.venv/runtime: requirements.txt
	tools/venv $(PYTHON) requirements.txt $@

build/venv/%/done: tests/requirements/%.txt
	tools/venv $(PYTHON) $< $@ $(@D)

.venv/dev: requirements.txt requirements-dev.txt tests/packages.txt
	tools/venv $(PYTHON) requirements-dev.txt $@
	tools/packages tests/packages.txt
