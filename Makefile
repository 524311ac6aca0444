# make lab        two virtual Sparks, and a chat answer over MPI from them
# make lab ENGINE=vllm  the same with the real vLLM, built for processors; ENGINE=sglang  with a stand-in for SGLang
# make lab-up     just the Sparks                             make lab-down  take them away again
# make test       lint, unit, package, Molecule, end to end   make help      all targets
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# The checkout and the environment's own collections, and no stray copy in a home directory.
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/playbooks/collections

# A lab of another name, size or cabling: make lab-up LAB=ring SPARKS=3 CABLING=ring
LAB ?= lab
SPARKS ?= 2
CABLING ?= auto
# trtllm, sglang and vllm-simulated are stand-ins; vllm is the real one, built for processors: some gigabytes, and a minute and a half for a start
ENGINE ?= trtllm
lab_engine = $(if $(filter-out trtllm,$(ENGINE)),-e @lab/playbooks/vars/$(ENGINE).yml)
# The environment that vLLM for processors is in: tests/bench/beside_vllm.py says how it gets there.
VLLM ?= build/vllm
lab_vars = -e virtual_spark_lab='"$(LAB)"' -e virtual_spark_count=$(SPARKS) -e virtual_spark_cabling=$(CABLING)

# What the newest ansible-core is tried with: all, or in make test only what it has a part in.
NEWEST ?= lab/tests/unit tests/unit
of_core = tests/unit/plugins/modules tests/unit/plugins/action $(wildcard tests/unit/test_*_playbook.py tests/unit/test_role_*.py) tests/unit/test_documented_examples.py

# How many examples of each property are tried: patient (a hundred), fuzz (two thousand), or in make test brief (ten).
EXAMPLES ?= patient

# What runs on hosts and is no module.
programs = $(wildcard roles/*/files/*.py)

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Debian keeps venv and the ssh client in packages of their own.
$(VENV)/.for-use: requirements.txt
	@command -v ssh-keyscan >/dev/null && $(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { $$( [ $$(id -u) = 0 ] || echo sudo ) apt-get update -qq; \
	       $$( [ $$(id -u) = 0 ] || echo sudo ) env DEBIAN_FRONTEND=noninteractive \
	         apt-get install -y -qq --no-install-recommends python3-venv openssh-client; }
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.for-tests: $(VENV)/.for-use requirements-dev.txt
	pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

lab: $(VENV)/.for-use ## two blank virtual Sparks, from nothing to a chat answer over MPI (ENGINE=)
	ansible-playbook lab/playbooks/up.yml
	ansible-playbook lab/playbooks/engine.yml -e virtual_spark_engine_name=$(ENGINE)
	ansible-playbook -i lab/inventory/lab.yml playbooks/two_spark.yml $(lab_engine)

lab-up: $(VENV)/.for-use ## bring up virtual Sparks (LAB= SPARKS= CABLING=)
	ansible-playbook lab/playbooks/up.yml $(lab_vars)

lab-down: $(VENV)/.for-use ## take away all that the lab is (LAB=)
	ansible-playbook lab/playbooks/down.yml $(lab_vars)

lint: lint-python lint-yaml lint-changelog ## ansible-lint (production), ruff, mypy (strict), yamllint, the changelog's fragments

lint-python: $(VENV)/.for-tests
	ruff check . && ruff format --check .
	mypy -p ansible_collections.sparkops.dgx_spark.plugins -p ansible_collections.sparkops.virtual_spark.plugins
	mypy $(programs)
	cd roles/engine_serve/files/image && mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p supervisor
	cd roles/monitoring/files/program && mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p dgx_spark_metrics
	cd roles/nccl_tests/files/image && MYPYPATH=../../../engine_serve/files/image mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache build.py nccl_tests.py

lint-yaml: $(VENV)/.for-tests
	yamllint --strict .
	ansible-lint --offline

lint-changelog: $(VENV)/.for-tests
	antsibull-changelog lint

# The long ones first, and four on two cores: many of them wait.
unit: $(VENV)/.for-tests ## parsers, planners, renderers
	pytest -n 4 --dist worksteal --hypothesis-profile=$(EXAMPLES) lab/tests/unit tests/unit

unit-newest: $(VENV)/.for-tests ## the same on the newest ansible-core, by a newer Python of this machine or of a virtual Spark
	python -m tests.newest $(if $(IMAGE_COMES),--wait=600) $(NEWEST)

package: $(VENV)/.for-tests ## the tarballs: installed, documented, ansible-test sanity, galaxy-importer
	pytest -m 'not matrix' tests/package

molecule: $(VENV)/.for-tests ## modules and roles, each in a lab of its own
	molecule test --all

# Two labs at a time, since one waits for half of its time.
e2e: $(VENV)/.for-tests ## the lab from outside, and two_spark.yml from blank Sparks to the answer
	pytest -n 2 --dist loadfile --durations=10 -m 'not matrix' tests/e2e

# What keeps the cores busy beside what mostly waits. Molecule's first scenario builds the image with the newer Python.
test: ## all of these, some 25 minutes on 2 cores
	$(MAKE) --jobs=2 --output-sync=target lint unit EXAMPLES=brief
	$(MAKE) --jobs=2 molecule package unit-newest IMAGE_COMES=yes NEWEST='$(of_core)'
	$(MAKE) e2e

test-all: test ## and the whole matrix: every cabling, size, fault and variant; some hours
	$(MAKE) unit
	$(MAKE) unit-newest
	MOLECULE_GLOB='molecule/matrix/*/molecule.yml' molecule test --all
	pytest -m matrix tests/package tests/e2e

bench: $(VENV)/.for-tests ## a converged run in remote calls and beside ansible -m ping, compared with an older build
	python -m tests.bench.converged

bench-copy: $(VENV)/.for-tests ## tables of ways to copy a model and an image from Spark to Spark, in one lab
	python -m tests.bench.copy_model

bench-growth: $(VENV)/.for-tests ## a first run, a converged one and a copy with 1, 2, 4 and 8 virtual Sparks
	python -m tests.bench.growth

bench-endpoint: $(VENV)/.for-tests ## benchmark.yml beside vLLM's own benchmark, of one server on this machine; VLLM: where it is
	PYTHONPATH=playbooks/collections python -m tests.bench.beside_vllm --vllm $(VLLM)

bench-gateway: $(VENV)/.for-tests ## what the API gateway costs in time, and how many streams it holds
	python -m tests.bench.gateway

dashboards: $(VENV)/.for-tests ## write the dashboards of the role monitoring anew from tests/dashboards.py
	python -m tests.dashboards roles/monitoring/files/dashboards

changelog: $(VENV)/.for-tests ## write CHANGELOG.md anew from changelogs/fragments and the modules' documentation
	antsibull-changelog release --refresh --reload-plugins

troubleshooting: $(VENV)/.for-tests ## write docs/troubleshooting.md anew from the doctor's checks
	python -m tests.troubleshooting > docs/troubleshooting.md

pre-commit: $(VENV)/.for-tests ## have git run the linters before a commit, and the unit tests before a push
	pre-commit install --hook-type pre-commit --hook-type pre-push

.PHONY: bench bench-copy bench-endpoint bench-gateway bench-growth changelog dashboards help lab lab-up lab-down lint lint-changelog lint-python lint-yaml unit unit-newest package molecule e2e pre-commit \
        test test-all troubleshooting
