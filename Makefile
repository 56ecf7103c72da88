# The few commands of the project; each sets up .venv by itself from a clean clone.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Sources are compiled once, not anew in each of the hundreds of processes that tests start.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help install run test check bench clean

help:
	@echo "make install   set up .venv"
	@echo "make run       the simulated dye house, live, at http://127.0.0.1:8000   (ARGS=\"--for 90s --port 18000 --speed 10\")"
	@echo "make test      every test this machine can run; says what it skipped      (ARGS=\"-k outbox\")"
	@echo "make check     format, lint, types, import rules"
	@echo "make bench     measured speed, as JSON"

$(STAMP): pyproject.toml
	@command -v git >/dev/null && $(PYTHON) -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "plantprint needs git, make and Python 3.11 or newer with venv:  sudo apt-get install -y git make python3 python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing plantprint and what it needs into $(VENV) (a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar on -e ".[dev]"
	@touch $@

install: $(STAMP)

run: $(STAMP)
	@exec $(BIN)/plantprint run $(ARGS)

# Tests wait more than they compute, so more of them run at a time than there are processors; long files begin early, short
# ones fill the end. Faults and load come after them, two at a time, and what judges the processor's share alone.
test: $(STAMP)
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m "not simulation"
	@$(BIN)/python -m pytest -q -n 2 --dist load --ignore tests/simulation/test_edge_soak.py tests/simulation
	@$(BIN)/python -m pytest -q tests/simulation/test_edge_soak.py
else
	@$(BIN)/python -m pytest $(ARGS)
endif

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/plantprint bench --json $(ARGS)

clean:
	rm -rf $(VENV)
