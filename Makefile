# Each target makes the virtual environment it needs when that is missing, from the versions in constraints.txt.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A kernel of the generation before, which many still have, and the browser.
OLD_KERNEL := $(VENV)-ipykernel6
CHROMIUM ?= $(shell command -v chromium || echo /usr/bin/chromium)
export CHROMIUM

.PHONY: help demo test test-browser drill drill-disk days soak mutants audit notebook bench lint clean

help:
	@echo "make demo          thirty seconds: a local exchange with faults, a collector, truth against disk"
	@echo "make test          lint, types, tests and the notebooks"
	@echo "make test-browser  the panel in a real JupyterLab and Chromium; pictures in browser-output/"
	@echo "make drill         every fault of the catalogue 200 times, with seeds; RUNS=20 for fewer"
	@echo "make drill-disk    crash points, power loss, damage, readers and kills of the disk, in full (hours)"
	@echo "make days          simulated days of each pattern of outages; SEEDS=5 for fewer than 200 (hours);"
	@echo "                   KEEP=days.jsonl keeps each and goes on where it was interrupted"
	@echo "make soak          an hour with a fault every ten seconds: growth, leaks, rows and holes; MINUTES=5 for less"
	@echo "make mutants       known defects planted one by one in a copy, and which test notices each (minutes)"
	@echo "make notebook      JupyterLab on a copy of the notebooks"
	@echo "make audit         known weaknesses of the pinned dependencies, where pip-audit has its database"
	@echo "make bench         every measurement; writes benchmarks/RESULTS.md (python -m benchmarks --short: minutes)"
	@echo "make lint          lint and types only"

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

$(VENV)/.browser: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(INSTALL) --editable '.[dev,browser]'
	@touch $@

$(OLD_KERNEL)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "making $(OLD_KERNEL), a kernel of ipykernel 6 (a minute, once)"
	@$(PYTHON) -m venv $(OLD_KERNEL)
	@grep -v '^ipykernel==' constraints.txt > $(OLD_KERNEL)/constraints.txt
	@$(OLD_KERNEL)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(OLD_KERNEL)/constraints.txt --editable . 'ipykernel<7'
	@touch $@

demo: $(VENV)/.runtime
	@$(BIN)/wsresearch demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2
	$(BIN)/python -m pytest --numprocesses 2 --nbmake notebooks

# Where there is no Chromium and no way to get it, this says so and fails nothing: the other tests stand for themselves.
test-browser: $(VENV)/.browser $(OLD_KERNEL)/.ready
	@if [ ! -x "$(CHROMIUM)" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing Debian's chromium"; export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq update && apt-get -qq install --no-install-recommends chromium fonts-dejavu-core >/dev/null || true; \
	fi
	@if [ -x "$(CHROMIUM)" ]; then $(BIN)/python -m pytest tests/browser; else \
		echo "test-browser NOT RUN: there is no $(CHROMIUM). On Debian: apt-get install chromium;" \
			"elsewhere: make test-browser CHROMIUM=/path/to/chromium-or-chrome"; \
	fi

# What a capture survives, again and again. A failing run prints its seed and how to play it again.
RUNS ?= 200
drill: $(VENV)/.dev
	$(BIN)/python -m tests.drill --runs $(RUNS)

drill-disk: $(VENV)/.dev
	$(BIN)/python -m tests.drill.disk.crash
	$(BIN)/python -m tests.drill.disk.damage --runs 1000000
	$(BIN)/python -m tests.drill.disk.readers
	$(BIN)/python -m tests.drill.disk.kill --runs 1000
	$(BIN)/python -m tests.drill.disk.kernels
	$(BIN)/python -m tests.drill.disk.straced

SEEDS ?= 200
days: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(if $(KEEP),--keep $(KEEP))

MINUTES ?= 60
soak: $(VENV)/.dev
	$(BIN)/python -m tests.drill.soak --minutes $(MINUTES)

audit: $(VENV)/.dev
	@$(BIN)/python -m tests.audit

mutants: $(VENV)/.dev
	@$(BIN)/python -m tests.mutants

notebook: $(VENV)/.notebook
	@$(BIN)/wsresearch notebook

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(OLD_KERNEL) .mypy_cache .ruff_cache .hypothesis demo-output browser-output fuzz-output \
		.venv-fuzz .venv-audit .venv-peers
