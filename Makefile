# `make demo` and `make test` set up everything they need in .venv; only Python >= 3.10, pip and make must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the native library is built of when opsin is installed.
NATIVE := hatch_build.py src/opsin/_native/build.py $(wildcard src/opsin/_native/*.[ch])

.PHONY: demo test test-apps lint types layers unit bench sanitize clean

demo: $(VENV)/.demo
	$(BIN)/opsin demo --output demo --overwrite

test: lint types layers unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/basedpyright

layers: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not gpu and not apps"

# Applications as a whole: killed and resumed, interrupted, in two processes.
test-apps: $(VENV)/.dev
	$(BIN)/python -m pytest -m apps tests/apps

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run_all.py

# The native library's tests under the address sanitizer; needs gcc.
sanitize: $(VENV)/.dev
	$(BIN)/python tools/sanitize.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "opsin needs Python 3.10 or newer, $(PYTHON) is older. Name another: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

# Plain `torch` and `torchvision` in one call, so that pip takes a pair that matches.
$(VENV)/.dev: pyproject.toml $(NATIVE) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch torchvision --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo build dist
