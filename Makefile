# The targets a user needs. Each sets up what it needs first; these may be set on the command line.
VENV   ?= .venv
PYTHON ?= python3
BASE   ?= HEAD
HEAD   ?= workspace
REV    ?= HEAD

# Two more recipes for the same network. How they were chosen: docs/decisions/0012-recipes.md
SPRINT = -S train.epochs=2 -S train.batch_size=128 -S train.lr=0.09 -S train.schedule=one_cycle \
         -S train.nesterov=true -S train.label_smoothing=0.05
TUNED  = -S train.epochs=14 -S train.batch_size=128 -S train.lr=0.05 -S train.schedule=one_cycle \
         -S train.weight_decay=5e-4 -S train.augment.degrees=10 -S train.augment.translate=2 \
         -S train.augment.scale=0.07 -S train.augment.shear=10

# DVC runs the stages with the first `python` on PATH.
export PATH := $(abspath $(VENV))/bin:$(PATH)

.DELETE_ON_ERROR: # half an environment is none

.PHONY: repro install verify compare sprint tuned page test unit check bench clean help

repro: $(VENV)/.run .dvc/tmp/site  ## run what is not up to date; show the metrics beside the committed ones
	dvc repro
	dvc metrics diff --all

install: $(VENV)/.run .dvc/tmp/site  ## only what `repro` sets up first

verify: $(VENV)/.run         ## run a commit afresh, elsewhere: is dvc.lock what comes out? make verify REV=v1.0
	python -m tools.verify '$(REV)'

compare: $(VENV)/.run        ## what changed from BASE to HEAD, and is it real: make compare BASE=main
	@python -m tools.compare '$(BASE)' '$(HEAD)'

sprint: $(VENV)/.run .dvc/tmp/site ## at least 99 % in the least time, as the experiment "sprint"
	@dvc exp remove sprint > /dev/null 2>&1 || true # of an earlier time
	dvc exp run --temp -n sprint $(SPRINT)

tuned: $(VENV)/.run .dvc/tmp/site ## the best that fits into the time of the notebook, as "tuned"
	@dvc exp remove tuned > /dev/null 2>&1 || true
	dvc exp run --temp -n tuned $(TUNED)

page: $(VENV)/.run           ## write page/index.html: the run to look at, and a digit to draw
	python -m tools.page

test: $(VENV)/.dev           ## every test, about ten minutes
	python -m pytest

unit: $(VENV)/.dev           ## the tests of single functions, stages and tools, a minute
	python -m pytest tests/unit

check: $(VENV)/.dev          ## formatting, lint, types, the workflow
	ruff format --check .
	ruff check .
	mypy
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github

bench: $(VENV)/.dev repro    ## time and memory, beside the notebook's way of training: half an hour
	python -m benchmarks.speed
	python -m benchmarks.steps
	python -m benchmarks.growth
	python -m benchmarks.latency

clean:                       ## remove the environment and caches; data, models and metrics stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:                        ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | column -t -l 2 -s :

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than 3.11: make PYTHON=python3.12 repro (or any newer one)'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	@echo 'Installing into $(VENV), a minute or more'
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# DVC keeps pickles beside its cache, by default where everyone on the machine may write. A path in
# .dvc/config would be taken from wherever `dvc` is started, so this clone's own settings get it.
.dvc/tmp/site: | $(VENV)/.run
	dvc config --local core.site_cache_dir '$(CURDIR)/$@'
	@install -d -m 700 $@

$(VENV)/.dev: $(wildcard requirements*.txt) | $(VENV)/bin/python
	@echo 'Installing into $(VENV), a minute or more'
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run
