# make demo | test | check | docs | notebooks | bench: each makes .venv and installs what it needs first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test slow check docs notebooks bench

demo: $(VENV)/.lth
	$(BIN)/lth

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(MAKE) docs

# the site, in docs/_build/html: no network is needed, and a link that leads nowhere is an error
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -b html -j auto -W --keep-going -q docs docs/_build/html
	$(BIN)/python docs/links.py docs/_build/html

# run the notebooks and keep what they show, small and without traces of the machine
notebooks: $(VENV)/.dev
	$(BIN)/python notebooks/execute.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.throughput

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lth needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.lth: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.lth
