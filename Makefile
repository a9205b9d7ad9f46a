# `make demo` and `make test` need Python 3.11 or newer, pip and make, and nothing that is activated.
# Everything is installed into .venv once, and again when pyproject.toml changes.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
NOTEBOOKS := notebooks/quickstart.ipynb notebooks/pipeline.ipynb notebooks/model.ipynb notebooks/lesson/kmeans.ipynb
STUDY     := notebooks/study/study.ipynb

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Jupyter must find the kernel of .venv, not a namesake of the user's.
export JUPYTER_PREFER_ENV_PATH := 1
# What an activated environment or an IDE left in the shell is nobody's business here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help demo test lint notebooks bench clean

help:  ## what can be made
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 18

demo: $(VENV)/examples  ## run a notebook from scratch, restart, replay it, edit one cell, replay again
	@$(BIN)/python notebooks/demo.py

# Repetitions run in bubblewrap; where it can neither be found nor installed, their tests are skipped and say so.
.PHONY: sandbox
sandbox:
	@command -v bwrap >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && $(APT) bubblewrap >/dev/null; } || echo "bubblewrap is missing: apt install bubblewrap"

# The browser tests need Chromium, and node for what runs in it; what cannot be had is left out, and said before the tests begin.
# A registry that does not answer holds nobody up for long.
LAB := provcrt_kernel/labextension/package.json
MODULES := extension/node_modules/.package-lock.json
NPM := timeout 600 npm --silent --no-audit --no-fund --prefer-offline --fetch-timeout=20000 --fetch-retries=1
APT := timeout 300 apt-get -o Acquire::http::Timeout=20 -o Acquire::Retries=1 install -y -qq

extension: $(LAB)  ## build the JupyterLab extension (needs node)

$(MODULES): extension/package-lock.json
	@echo "fetching what the JupyterLab extension is built with"
	@cd extension && $(NPM) ci

$(LAB): $(MODULES) $(shell find extension/src extension/style extension/schema -type f)
	@echo "building the JupyterLab extension"
	@cd extension && npm run --silent build:prod >build.log 2>&1 || { cat build.log; exit 1; }

# An editable install knows nothing of what is built after it.
LINK := $(VENV)/share/jupyter/labextensions/provcrt-jupyterlab
.PHONY: browser extension
browser: $(VENV)/dev
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && $(APT) chromium >/dev/null; } || true
	@if command -v npm >/dev/null && $(MAKE) --no-print-directory $(MODULES); then \
	    $(MAKE) --no-print-directory extension && rm -rf $(LINK) && mkdir -p $(dir $(LINK)) && \
	    ln -s $(CURDIR)/provcrt_kernel/labextension $(LINK) && cd extension && npm run --silent lint && npm test --silent; fi

# JupyterHub's default proxy is a program for node, from npm.
PROXY := $(VENV)/node/node_modules/.bin/configurable-http-proxy
.PHONY: proxy
proxy: $(VENV)/dev
	@command -v configurable-http-proxy >/dev/null || test -x $(PROXY) || { \
	    command -v npm >/dev/null && $(NPM) install --prefix $(VENV)/node configurable-http-proxy@5 >/dev/null; } || true

LEFT_OUT = command -v chromium >/dev/null || echo "LEFT OUT: the browser tests, chromium is missing (apt install chromium)"; \
    command -v npm >/dev/null || echo "LEFT OUT: the JupyterLab extension and all tests of it, npm is missing (install Node.js 20 or newer)"; \
    ! command -v npm >/dev/null || test -e $(MODULES) || echo "LEFT OUT: the tests of the JupyterLab extension, what it is built with could not be fetched (cd extension && npm ci)"; \
    command -v configurable-http-proxy >/dev/null || test -x $(PROXY) || echo "LEFT OUT: the test of JupyterHub, its proxy is missing (npm install --prefix $(VENV)/node configurable-http-proxy)"

test: lint sandbox browser proxy $(VENV)/dev  ## everything that must hold: lint, types, rooms, notebooks cold and warm, tests
	@store=$$(mktemp -d) && trap 'rm -rf "$$store"' EXIT && for state in cold warm; do \
	    echo "notebooks, $$state store" && \
	    PROVCRT_STORE="$$store" $(BIN)/python -m pytest -q --nbval -p no:cacheprovider $(NOTEBOOKS) || exit 1; \
	done
	@$(LEFT_OUT)
	@$(COMPILED)
	@$(BIN)/python -m pytest -q

lint: $(VENV)/dev  ## ruff, mypy, and who imports whom
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

notebooks: $(VENV)/examples  ## run the example notebooks and keep their outputs
	@store=$$(mktemp -d) && trap 'rm -rf "$$store"' EXIT && PROVCRT_STORE="$$store" \
	    $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	    --ExecutePreprocessor.record_timing=False --CoalesceStreamsPreprocessor.enabled=True $(NOTEBOOKS) $(STUDY)

.PHONY: docs
docs: $(VENV)/dev  ## build the documentation into build/docs
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# As pip does for whoever installs it: else each kernel compiles the package anew where Python may not write beside the source.
COMPILED := $(BIN)/python -m compileall -q provcrt_kernel

bench: $(VENV)/examples  ## measure what recording and replaying cost beside plain ipykernel (a quarter of an hour)
	@$(COMPILED)
	@$(BIN)/python benchmarks/notebooks.py

clean:  ## remove what was built, .venv included
	rm -rf $(VENV) build dist provcrt_kernel/labextension extension/lib extension/node_modules notebooks/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ensurepip is missing on Debian and Ubuntu without python3-venv; pip can then install itself from outside.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "PROV-CRT needs Python 3.11 or newer, and $(PYTHON) is older or missing: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
	    $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } || { \
	    rm -rf $(VENV); echo "cannot set up $(VENV): install python3-venv or python3-pip (apt install python3-venv)" >&2; exit 1; }

$(VENV)/examples $(VENV)/dev: $(VENV)/%: pyproject.toml | $(BIN)/python
	@echo "installing PROV-CRT with the extra '$*' into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@$(BIN)/python -m provcrt_kernel install --sys-prefix
	@$(COMPILED)
	@touch $@
