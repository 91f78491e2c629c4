# The commands a user needs: `make help` lists them. Each first installs what it needs. The variables
# may be set on the command line, as in `make verify REV=v1.0`. docs/installing.md explains TORCH=cpu.
windows := $(filter Windows_NT,$(OS))

VENV   ?= .venv
PYTHON ?= $(if $(windows),python,python3)
BASE   ?= HEAD
HEAD   ?= workspace
REV    ?= HEAD
N      ?= 5
ARM    ?= /var/tmp/mnist-arm
TORCH  ?=

# Commands of the environment are called by their path: Apple's make looks for a bare name on the
# PATH that it was started with, not on the one below.
BIN := $(VENV)/$(if $(windows),Scripts,bin)

# DVC runs the stages with the first `python` on PATH.
export PATH := $(abspath $(BIN))$(if $(findstring ;,$(PATH)),;,:)$(PATH)

.DELETE_ON_ERROR: # a target whose commands failed is made again

.PHONY: repro rerun install verify compare seeds sprint tuned page test test-slow test-all unit arm check bench clean help

# DVC would remove the outputs of a stage before the stage can complain of a parameter. So
# tools.validate reads them first.
repro: $(VENV)/.run .dvc/tmp/site  ## run the stages that are not up to date; show the metrics beside the committed ones
	@$(BIN)/python -m tools.validate
	$(BIN)/dvc repro
	$(BIN)/dvc metrics diff --all

rerun: $(VENV)/.run .dvc/tmp/site  ## run all stages again, the download too; from nothing: make clean rerun
	@$(BIN)/python -m tools.validate
	$(BIN)/dvc repro --force
	$(BIN)/dvc metrics diff --all

install: $(VENV)/.run .dvc/tmp/site  ## only install what `repro` needs

verify: $(VENV)/.run         ## run a commit in a new copy; compare the results with dvc.lock: make verify REV=v1.0
	$(BIN)/python -m tools.verify '$(REV)'

compare: $(VENV)/.run        ## what changed from BASE to HEAD, and is it more than luck? make compare BASE=main
	@$(BIN)/python -m tools.compare '$(BASE)' '$(HEAD)'

seeds: $(VENV)/.run          ## train BASE and HEAD with N seeds each: is the recipe better? make seeds BASE=main N=5
	$(BIN)/python -m tools.seeds '$(BASE)' '$(HEAD)' --n '$(N)'

sprint:                      ## recipes/sprint: 99 % in the least time, as the experiment "sprint"
tuned:                       ## recipes/tuned: the best accuracy in the notebook's time, as "tuned"
sprint tuned: $(VENV)/.run .dvc/tmp/site
	$(BIN)/dvc exp run --temp -n $@ $$(sed -n 's/^[a-z]/-S &/p' recipes/$@)

page: $(VENV)/.run           ## write page/index.html: the results, and a pad to draw digits on
	$(BIN)/python -m tools.page

# Side by side, as many as there are processors. The tests of a file share what is made for them.
PYTEST = $(BIN)/python -m pytest --numprocesses=logical --dist=loadfile

test: $(VENV)/.dev           ## the tests without the slow ones
	$(PYTEST) -m 'not slow'

test-slow: $(VENV)/.dev      ## the slow tests but the longest; those on MNIST itself need `make repro` first
	$(PYTEST) -m 'slow and not long' --durations=25

test-all: $(VENV)/.dev       ## every test, those that take minutes too
	$(PYTEST) --durations=25

unit: $(VENV)/.dev           ## the tests of single functions, stages and tools: a minute or more
	$(BIN)/python -m pytest tests/unit

arm: $(VENV)/.dev            ## the bytes on four emulated ARM CPUs; fetches 3 GB, takes a quarter of an hour
	$(BIN)/python -m tests.support.aarch64 '$(ARM)'
	AARCH64='$(ARM)' $(BIN)/python -m pytest tests/invariance/test_aarch64.py

check: $(VENV)/.dev          ## formatting, lint, types, the CI workflow
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --platform linux --cache-dir .mypy_cache/linux
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	$(BIN)/zizmor --offline --quiet .github

bench: $(VENV)/.dev repro    ## time and memory, also of the notebook: a quarter of an hour on two idle cores
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.fresh

clean:                       ## remove the environment and the caches of the tools; all results stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:                        ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-9s %s\n", $$1, $$2 }' Makefile

$(VENV)/.run: $(wildcard requirements.txt requirements-stages.txt) $(if $(TORCH),check-the-build)
	@$(PYTHON) install.py $(VENV) requirements.txt
	@touch $@

$(VENV)/.dev: $(wildcard requirements*.txt) $(if $(TORCH),check-the-build)
	@$(PYTHON) install.py $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/.run

check-the-build: # never there: with TORCH=, install.py looks whether the environment has that build

# DVC keeps pickles in a folder to which, by default, every user of the machine may write. Here it is
# a private folder of this clone. Its path is absolute: DVC would look for a relative one in the
# folder where it is started. So it goes into .dvc/config.local, which git ignores.
.dvc/tmp/site: | $(VENV)/.run
	$(BIN)/dvc config --local core.site_cache_dir '$(CURDIR)/$@'
	@mkdir -p $@ && chmod 700 $@
