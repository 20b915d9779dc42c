# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
SEEDS ?= 1
PYTEST ?=
BIN = $(VENV)/bin
PIP = $(BIN)/pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo run test test-slow test-apps lint format clean

help:
	@echo "make demo [SEEDS=20]   the whole story with a simulated phone; pictures in demo/out"
	@echo "make run               the desktop agent, for a real phone"
	@echo "make test              environment and every test that this machine can run"
	@echo "make test-slow         the long tests too"
	@echo "make test-apps         every real application that is installed"
	@echo "make lint              ruff and mypy"

$(VENV)/.base: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --prefer-binary --constraint constraints.txt --editable .
	touch $@

# PySODMetrics asks for a second OpenCV build that would overwrite ours, hence --no-deps.
$(VENV)/.dev: $(VENV)/.base
	$(PIP) install --quiet --prefer-binary --constraint constraints.txt --editable '.[dev]'
	$(PIP) install --quiet --no-deps --constraint constraints.txt pysodmetrics
	touch $@

install: $(VENV)/.base
install-dev: $(VENV)/.dev

demo: install
	$(BIN)/python -m mobile_client_stub demo --out demo/out --seeds $(SEEDS)

run: install
	$(BIN)/python -m desktop_agent

test: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --no-loadscope-reorder $(PYTEST)

test-slow: install-dev
	$(BIN)/python -m pytest -m slow --timeout 3600 $(PYTEST)

test-apps: install-dev
	$(BIN)/python -m pytest -m app --timeout 1200 $(PYTEST)

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo/out build *.egg-info
