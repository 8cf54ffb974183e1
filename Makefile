# `make demo` and `make test` need nothing but Python >= 3.11: they make the virtual environment themselves.
#   VENV=path    where it is or goes (.venv)         PYTHON=python3.12    what makes it
#   WORKERS=2    processes that share the fast tests (each holds about 1.5 GB)
#   ARGS="-k x"  further arguments of pytest, of the demo, or of a benchmark

VENV ?= .venv
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
ARGS ?=
WORKERS ?= 2

BIN := $(abspath $(VENV))/bin
# LLaMA-Factory starts torchrun and its own command by bare name, so they must be found first on the path.
RUN := PATH="$(BIN):$$PATH"
CODE := src tests benchmarks scripts webui
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-gpu test-browser style quality docs benchmarks real-small clean

help:
	@echo "make demo        install, then anchor -> DBA and elastic -> before/after table on a small offline world (CPU)"
	@echo "make test        install, then the fast tests"
	@echo "make test-slow   the slow tests and those that start several processes"
	@echo "make test-gpu    the tests that need a CUDA device"
	@echo "make test-browser  the web board in a headless Chromium, which is installed where that is possible"
	@echo "make style       format the code and fix what can be fixed"
	@echo "make quality     linter, format check and type checker"
	@echo "make docs        write the generated pages in docs/ and parts of README.md, from benchmarks/results/ and the code"
	@echo "make benchmarks  cost of a DBA step against the same step without (benchmarks/results/)"
	@echo "make real-small  the comparison on real text with a small model (needs data, see benchmarks/real_small)"
	@echo "make clean       remove caches and build products; the virtual environment stays"

# One stamp per set of packages: a second call installs nothing unless pyproject.toml has changed.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 with the venv module was found. Install one (Debian and" \
		"Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -e .
	@touch "$@"

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) -e ".[dev]"
	@touch "$(VENV)/.installed" "$@"

$(VENV)/.installed-eval: $(VENV)/.installed-dev
	$(INSTALL) -e ".[dev,eval]"
	@touch "$@"

demo: $(VENV)/.installed
	$(RUN) python -m llamafactory_dba.demo $(ARGS)

test: $(VENV)/.installed-dev
	$(RUN) python -m pytest -n $(WORKERS) $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(RUN) python -m pytest -m "(slow or distributed) and not gpu" $(ARGS)

test-gpu: $(VENV)/.installed-dev
	$(RUN) python -m pytest -m gpu $(ARGS)

test-browser: $(VENV)/.installed-dev
	$(RUN) python tests/browser.py
	$(RUN) python -m pytest -m browser $(ARGS)

style: $(VENV)/.installed-dev
	$(RUN) ruff check --fix $(CODE)
	$(RUN) ruff format $(CODE)

quality: $(VENV)/.installed-dev
	$(RUN) ruff check $(CODE)
	$(RUN) ruff format --check $(CODE)
	$(RUN) mypy

docs: $(VENV)/.installed
	test ! -f benchmarks/results/real_small.json || $(RUN) python -m benchmarks.real_small.report
	test ! -f benchmarks/results/anchor_study.json || $(RUN) python -m benchmarks.anchor_study.report
	test ! -f benchmarks/results/diagnose.json || $(RUN) python scripts/update_diagnoses.py
	$(RUN) python scripts/update_corpora.py
	$(RUN) python scripts/update_evaluation.py
	$(RUN) python scripts/update_results.py $(ARGS)
	$(RUN) python scripts/update_readme.py $(ARGS)

benchmarks: $(VENV)/.installed
	$(RUN) python benchmarks/overhead.py $(ARGS)
	$(RUN) python benchmarks/overhead.py --anchor $(ARGS)
	$(RUN) python benchmarks/import_cost.py

real-small: $(VENV)/.installed-eval
	$(RUN) python -m benchmarks.real_small.build_base
	$(RUN) python -m benchmarks.real_small.run $(ARGS)
	$(RUN) python -m benchmarks.real_small.report

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache src/*.egg-info
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
