# Each target sets up what it needs in .venv; the system Python is only read.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := launch/requirements-cpu.txt
export JAX_PLATFORMS ?= cpu
# Each program that a test starts would compile the modules of jax again: 4 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-latest lint docs results bench lock clean

demo: $(VENV)/ready
	$(BIN)/wsjax run --config configs/demo.py --workdir runs/demo
	@echo 'The command wsjax is $(BIN)/wsjax; source $(BIN)/activate makes it wsjax.'

test: $(VENV)/ready
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

# The whole suite on the newest Python that pyenv keeps here, in its own venv.
LATEST := $(HOME)/.pyenv/versions/3.13.0/bin/python3
test-latest:
	@test -x $(LATEST) || { echo 'test-latest: no $(LATEST)'; exit 2; }
	$(MAKE) test PYTHON=$(LATEST) VENV=.venv-latest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

# Renders README, results, ledger and gallery from results/*.json.
results: $(VENV)/ready
	$(BIN)/python docs/render.py

docs: results
	$(BIN)/mkdocs build --strict

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks match
	$(BIN)/python -m benchmarks train_zoo

# Rewrites the lock from the ranges in setup.cfg: one file for 3.11 and newer.
lock: $(VENV)/ready
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra zoo --extra interop --extra text \
	  --extra provenance --extra cards --extra docs --extra dev --no-header -q --generate-hashes -o $(LOCK) --upgrade setup.cfg

$(VENV)/ready: $(LOCK) setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'wsjax needs Python >= 3.11; set PYTHON=/path/to/python3'; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode \
	  --require-hashes -r $(LOCK)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv .venv-latest runs build *.egg-info
