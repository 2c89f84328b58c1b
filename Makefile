# make demo     set up, compile ResNet-8 for edge16, simulate it, print the comparison
# make test     set up, then every check: lint, types, order of the rooms, tests
# make lint     the checks without the tests
# make picture  the picture of the README, from a run of the demo
# make clean    remove what these made

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATAFLOW := $(BIN)/dataflow
# The version that every number in the README was made with.
TORCH := torch==2.13.0
# Extra options for the installation of torch, such as --index-url for the smaller CPU-only build.
TORCH_FLAGS ?=
PYTEST_FLAGS ?= -n 2 -q
DEMO := demo

.PHONY: help demo picture test lint clean tools

help:
	@sed -n '1,5s/^# //p' Makefile

# One message with all that is missing.
tools:
	@missing=""; packages=""; \
	need() { command -v "$$1" > /dev/null 2>&1 || { missing="$$missing $$1"; packages="$$packages $$2"; }; }; \
	need "$(PYTHON)" python3; need g++ g++; need make make; need perl perl; \
	if command -v "$(PYTHON)" > /dev/null 2>&1; then \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { missing="$$missing Python-3.11-or-newer"; packages="$$packages python3"; }; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || \
	    { missing="$$missing python3-venv"; packages="$$packages python3-venv"; }; \
	fi; \
	if [ -n "$$missing" ]; then \
	  { echo "error: missing:$$missing"; \
	    echo "  Debian, Ubuntu:  sudo apt-get install$$packages"; \
	    echo "  Fedora:          sudo dnf install$$(echo "$$packages" | sed 's/g++/gcc-c++/; s/python3-venv/python3/')"; \
	    echo "  macOS:           xcode-select --install; brew install python"; \
	    echo "  another Python:  make PYTHON=/path/to/python3.11 ..."; } >&2; \
	  exit 2; \
	fi

$(BIN)/python: | tools
	"$(PYTHON)" -m venv $(VENV)

# torch first and pinned: the range in pyproject.toml then keeps it.
$(VENV)/.torch: $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH_FLAGS) "$(TORCH)"
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@ $(VENV)/.demo

demo: tools $(VENV)/.demo
	mkdir -p $(DEMO)
	$(DATAFLOW) export examples/resnet8.py:make -o $(DEMO)/resnet8.onnx
	$(BIN)/python -c 'import sys, numpy; sys.path.insert(0, "examples"); import resnet8; numpy.savez("$(DEMO)/calibration.npz", **resnet8.calibration(16, 0))'
	$(DATAFLOW) quantize $(DEMO)/resnet8.onnx --calibrate $(DEMO)/calibration.npz -o $(DEMO)/resnet8.int8.onnx
	$(DATAFLOW) compile $(DEMO)/resnet8.int8.onnx --arch edge16 --torch examples/resnet8.py:make -o $(DEMO)/resnet8 > /dev/null
	$(DATAFLOW) simulate $(DEMO)/resnet8 > /dev/null
	$(DATAFLOW) csim $(DEMO)/resnet8 > /dev/null
	$(DATAFLOW) report $(DEMO)/resnet8

picture: demo
	cp $(DEMO)/resnet8/report/layers.svg docs/resnet8.svg

lint: tools $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest $(PYTEST_FLAGS)

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
