# The two commands are `make` and `make test`; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_STAMP := $(VENV)/.installed-test
SETUPS := $(notdir $(wildcard setups/*))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NEED := import sys; sys.version_info < (3, 11) and sys.exit("error: $(PYTHON) is Python " \
	+ sys.version.split()[0] + ", 3.11 or newer is needed; name one: make PYTHON=python3.12")

# Ends with 3 if a lock file is incomplete: DVC writes it in place, so a kill can cut it off.
define CHECK_LOCK
import sys, yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA as check
try:
    check(yaml.safe_load(open(sys.argv[1], encoding="utf-8")))
except Exception:
    sys.exit(3)
endef
export CHECK_LOCK

# DVC must be told that a folder is not in Git, as after the download of a ZIP file.
NO_GIT := $(if $(shell git rev-parse --git-dir 2>/dev/null),false,true)

export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
unexport PYTHONPATH PYTHONHOME

# The stamp has the path of its folder: a moved or broken environment is made again.
ifneq ($(shell cat $(STAMP) 2>/dev/null; $(BIN)/python -c '' 2>&1 || true),$(CURDIR))
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := all
.PHONY: all locks own demo install test lint ui track verify audit faults lock help $(SETUPS)

all: install locks ## install, then rebuild what is out of date (the default)
	@grep -qs 'no_scm = true' .dvc/config.local && told=true || told=false; \
		[ $$told = $(NO_GIT) ] || $(BIN)/dvc config --local core.no_scm $(NO_GIT)
	$(BIN)/dvc repro $(REPRO)
	@$(BIN)/dvc metrics show
	@echo 'report: data/report/report.html; next: make demo, make ui, $(BIN)/sentiformer predict "a text"'

locks: # restore a lock file that is incomplete
	@for lock in $(wildcard dvc.lock data/source/dvc.lock); do \
		$(BIN)/python -c "$$CHECK_LOCK" $$lock; [ $$? = 3 ] || continue; \
		git checkout --quiet -- $$lock 2>/dev/null || rm $$lock; \
		echo "$$lock was incomplete, as after a kill of DVC, and is that of the last commit, if it has one"; \
	done

own: install ## train on your data: make own FILE=reviews.csv TEXT=review LABEL=stars SPACY=en
	@$(BIN)/sentiformer use "$$FILE" $${TEXT:+--text "$$TEXT"} $${LABEL:+--label "$$LABEL"} \
		$${SPACY:+--language "$$SPACY"}
	@$(MAKE) --no-print-directory all

demo: install ## a page to try the model, on http://127.0.0.1:8000
	@$(BIN)/sentiformer demo

install: $(STAMP) ## make .venv with all packages in their pinned versions

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c '$(NEED)'
	@echo "installing the pinned packages into $(VENV); this takes some minutes"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@pwd -P > $@

$(TEST_STAMP): $(STAMP) requirements-test.lock
	@$(PIP) -r requirements-test.lock
	@touch $@

lint: $(TEST_STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## set up, then lint, types and tests; with SLOW=1 the slow tests, too
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(if $(SLOW),,-m "not slow")

ui: install ## browse the runs in MLflow; prints their address
	@$(BIN)/python -m sentiformer.tracking.ui

track: install ## log the files of data/ to MLflow
	$(BIN)/sentiformer track

verify: install ## rebuild the last commit in an empty folder, and compare the results
	$(BIN)/sentiformer verify

audit: ## look for known vulnerabilities of the pinned packages; this needs a network
	@$(PYTHON) -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement requirements-test.lock

faults: $(TEST_STAMP) ## kills, full disks, damaged files and more, on a tiny copy; takes long
	$(BIN)/python -m benchmarks.faults $(FAULTS)

lock: ## pin the newest versions that pyproject.toml allows
	@$(PYTHON) -c '$(NEED)'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --editable '.[pipeline]' 'setuptools>=77'
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip \
		| sed 's/+.*//' > requirements.lock
	$(PIP) --editable '.[pipeline,test]'
	echo '-r requirements.lock' > requirements-test.lock
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip \
		| sed 's/+.*//' | grep -vxFf requirements.lock >> requirements-test.lock

# A set-up is a file of lines section.key=value; SET="..." adds lines or overrides them. It starts from
# the parameters of the last commit, since an earlier experiment has changed params.yaml.
$(SETUPS): install locks
	@git diff --quiet HEAD -- params.yaml || { git stash push --quiet -- params.yaml \
		&& echo "params.yaml is that of the last commit; git stash pop restores your changes"; }
	$(BIN)/dvc exp run --force --name $@ $(patsubst %,-S %,$(shell cat setups/$@) $(SET))

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile
	@echo 'make SETUP    the experiment of that name in setups/: $(SETUPS)'
