# Each target makes the virtual environment it needs when that is missing, from the versions in constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test notebook bench lint clean

help:
	@echo "make demo      thirty seconds: a local exchange with faults, a collector, truth against disk"
	@echo "make test      lint, types and tests"
	@echo "make notebook  JupyterLab in notebooks/"
	@echo "make bench     the measurements in benchmarks/"
	@echo "make lint      lint and types only"

$(VENV)/bin/python:
	@echo "making $(VENV) with $(PYTHON) (a minute, once)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wsresearch needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.notebook: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(INSTALL) --editable '.[notebook]'
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/wsresearch demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2

notebook: $(VENV)/.notebook
	$(BIN)/jupyter lab notebooks

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis demo-output
