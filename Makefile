# Every target that needs it makes .venv first: the versions of requirements/, then this package.
#
#   make parrot            the main experiment      ARGS="--seed=1" adds flags to it
#   make test              format, lint, types, tests        ARGS="-k sac" goes to pytest
#   make install           this package and what it needs, into .venv
#   make docs              the site, in site/
#   PYTHON=python3.12 make test    makes .venv with another interpreter (3.11 or newer)

PYTHON ?= python3
UV ?= uv
WORKERS ?= 2
ARGS ?=

# An existing .venv says for itself which Python it is of.
INTERPRETER := $(firstword $(wildcard .venv/bin/python) $(PYTHON))
VERSION := $(shell $(INTERPRETER) -c "import sys; print('%d%d' % sys.version_info[:2])")
LOCK := requirements/py$(if $(filter 311,$(VERSION)),311,312).txt
PIP := .venv/bin/python -m pip -qq --disable-pip-version-check --no-input

.PHONY: test parrot install docs lint format benchmarks lock clean

test: lint
	.venv/bin/mypy
	.venv/bin/pytest --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --quiet $(ARGS)

parrot: .venv/installed
	.venv/bin/python -m experiments.parrot --flagfile=experiments/flags/parrot/quick.flags $(ARGS)

install: .venv/installed
	@echo "installed; .venv/bin/behavior-priors lists the programs"

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo "see site/index.html"

lint: .venv/installed
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ruff check --quiet .

format: .venv/installed
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

# On a machine without a GPU, give pip an index of CPU builds of torch: the default one pulls CUDA.
benchmarks: .venv/installed-benchmarks
	.venv/bin/python -m benchmarks.run $(ARGS)

.venv/installed: $(LOCK) setup.py
	@$(INTERPRETER) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
		|| { echo "error: $(INTERPRETER) is older than Python 3.11; set PYTHON" >&2; exit 2; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP) install -r $(LOCK)
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-benchmarks: .venv/installed requirements/benchmarks-py311.txt
	@test $(VERSION) = 311 \
		|| { echo "error: the benchmarks' peers are locked for Python 3.11 only" >&2; exit 2; }
	$(PIP) install -r requirements/benchmarks-py311.txt
	@touch $@

# Keeps the versions that still fit; ARGS=--upgrade renews them. Needs uv (pip install uv).
COMPILE = $(UV) pip compile --quiet --no-annotate --custom-compile-command "make lock" $(ARGS)
lock:
	$(COMPILE) --python-version 3.11 --extra dev setup.py -o requirements/py311.txt
	$(COMPILE) --universal --python-version 3.12 --extra dev setup.py -o requirements/py312.txt
	$(COMPILE) --python-version 3.11 --extra benchmarks setup.py \
		-c requirements/py311.txt -c requirements/torch-cpu.constraints \
		--excludes requirements/torch-cpu.excludes -o requirements/benchmarks-py311.txt

clean:
	rm -rf .venv build site *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
