# The commands a user needs: `make help` lists them. Each first installs what it needs. The variables
# may be set on the command line, as in `make verify REV=v1.0`.
VENV   ?= .venv
PYTHON ?= python3
BASE   ?= HEAD
HEAD   ?= workspace
REV    ?= HEAD

# DVC runs the stages with the first `python` on PATH.
export PATH := $(abspath $(VENV))/bin:$(PATH)

.DELETE_ON_ERROR: # a target whose commands failed is made again

.PHONY: repro rerun install verify compare sprint tuned page test test-all unit check bench clean help

repro: $(VENV)/.run .dvc/tmp/site  ## run the stages that are not up to date; show the metrics beside the committed ones
	@python -m tools.validate # DVC would remove the outputs of a stage before the stage can complain
	dvc repro
	dvc metrics diff --all

rerun: $(VENV)/.run .dvc/tmp/site  ## run all stages again, the download too; from nothing: make clean rerun
	@python -m tools.validate
	dvc repro --force
	dvc metrics diff --all

install: $(VENV)/.run .dvc/tmp/site  ## only install what `repro` needs

verify: $(VENV)/.run         ## run a commit in a new copy; compare the results with dvc.lock: make verify REV=v1.0
	python -m tools.verify '$(REV)'

compare: $(VENV)/.run        ## what changed from BASE to HEAD, and is it more than luck? make compare BASE=main
	@python -m tools.compare '$(BASE)' '$(HEAD)'

sprint:                      ## recipes/sprint: 99 % in the least time, as the experiment "sprint"
tuned:                       ## recipes/tuned: the best accuracy in the notebook's time, as "tuned"
sprint tuned: $(VENV)/.run .dvc/tmp/site
	@dvc exp remove $@ > /dev/null 2>&1 || true # DVC refuses a name that is taken
	dvc exp run --temp -n $@ $$(sed -n 's/^[a-z]/-S &/p' recipes/$@)

page: $(VENV)/.run           ## write page/index.html: the results, and a pad to draw digits on
	python -m tools.page

# Side by side, as many as there are processors. The tests of a file share what is made for them.
PYTEST = python -m pytest --numprocesses=logical --dist=loadfile

test: $(VENV)/.dev           ## the tests without the slow ones
	$(PYTEST) -m 'not slow'

test-all: $(VENV)/.dev       ## every test; those on MNIST itself need `make repro` first
	$(PYTEST) --durations=25

unit: $(VENV)/.dev           ## the tests of single functions, stages and tools: a minute or more
	python -m pytest tests/unit

check: $(VENV)/.dev          ## formatting, lint, types, the CI workflow
	ruff format --check .
	ruff check .
	mypy --platform linux --cache-dir .mypy_cache/linux
	mypy --platform darwin --cache-dir .mypy_cache/darwin
	mypy --platform win32 --cache-dir .mypy_cache/win32
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.gitlab-ci .gitlab-ci.yml
	zizmor --offline --quiet .github

bench: $(VENV)/.dev repro    ## time and memory, also of the notebook: half an hour on two idle cores
	python -m benchmarks.speed
	python -m benchmarks.steps
	python -m benchmarks.growth
	python -m benchmarks.latency

clean:                       ## remove the environment and the caches of the tools; all results stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:                        ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile | column -t -l 2 -s :

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than 3.11. Name another one, 3.11 to 3.13: make PYTHON=python3.12 repro'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	@echo 'Installing into $(VENV): minutes, depending on the connection (PyTorch is large)'
	python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# DVC keeps pickles in a folder to which, by default, every user of the machine may write. Here it is
# a private folder of this clone. Its path is absolute: DVC would look for a relative one in the
# folder where it is started. So it goes into .dvc/config.local, which git ignores.
.dvc/tmp/site: | $(VENV)/.run
	dvc config --local core.site_cache_dir '$(CURDIR)/$@'
	@install -d -m 700 $@

$(VENV)/.dev: $(wildcard requirements*.txt) | $(VENV)/bin/python
	@echo 'Installing into $(VENV): minutes, depending on the connection (PyTorch is large)'
	python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run
