# make demo   sets up, scores the bundled genome with the bundled model, and says which planted sites it finds
# make test   sets up and runs every check: format, lint, types, tests, docs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint docs clean

demo: $(VENV)/.installed
	$(BIN)/gexplain demo -o demo_out --force

test: $(VENV)/.installed-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) demo_out site

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py gexplain/report/igv_asset.py
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	touch $@
