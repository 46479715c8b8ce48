# make demo | test | smoke | lint | format | benchmark | compare | clean
#
# Every target makes .venv when it is missing. The stamp files in it say what
# is installed; they age when one of the files in DEPS changes.

PYTHON ?= python3
# More arguments, as in: make test PYTEST_ARGS="-n 2 -k pgd"
# worksteal deals each worker whole files, so that few fixtures are made twice.
PYTEST_ARGS ?= -n 2 --dist=worksteal
# The build of torch for `make compare`, for example TORCH="torch==2.13.0".
TORCH ?= torch

VENV := .venv
BIN := $(VENV)/bin
DEPS := setup.cfg pyproject.toml constraints.txt
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -q \
  -c constraints.txt
DEMO := runs/digits

export MPLBACKEND ?= Agg

.PHONY: demo test smoke lint format benchmark compare clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed-base
	$(BIN)/python -m experiments.train \
	  --config=configs/digits.py --workdir=$(DEMO)
	$(BIN)/python -m experiments.evaluate \
	  --config=configs/digits.py --workdir=$(DEMO)

test: lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# Every table and figure of both papers, to see whether it runs.
smoke: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow -k smoke tests/experiments/test_reproduce.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check -q
	$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

benchmark: $(VENV)/installed-test
	$(BIN)/python -m experiments.benchmark

# torchattacks without its dependencies: it pins requests~=2.25.1, which
# downgrades requests, urllib3 and idna for everyone else.
compare: $(VENV)/installed-test
	$(PIP_INSTALL) $(TORCH) -e '.[compare]'
	$(PIP_INSTALL) --no-deps torchattacks==3.5.1

clean:
	rm -rf $(VENV) build dist *.egg-info .cache .hypothesis \
	  .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	  sys.exit(0 if v >= (3, 11) else "rdefense needs Python 3.11 to 3.13; " \
	  "this is %d.%d. Try: make PYTHON=python3.12 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-base: $(DEPS) | $(VENV)/bin/python
	@echo 'Installing into $(VENV); the first time takes a minute or two.'
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed-base
	$(PIP_INSTALL) -e '.[test,dev]'
	@touch $@
