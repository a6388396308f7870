# The ways into this project. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
# Files of tests that run at a time: most wait for something, so more than there are cores pays.
WORKERS ?= 3
# The packages of everything, and those of the local start alone.
INSTALLED := $(VENV)/.installed
STARTABLE := $(VENV)/.installed-start
# Installs what few targets need beside the environment.
TOOLS = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.txt
PYTEST = $(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist loadfile

# Tools that some tests need, if a folder beside the repository has them.
ifeq ($(TOOLS_REQUIRED)$(wildcard ../shared/bin),../shared/bin)
export PATH := $(abspath ../shared/bin):$(PATH)
endif

# A wheel that was built already, for the tests of the command line.
ifdef WHEEL
export WHEEL
endif

.DEFAULT_GOAL := help
.PHONY: help start host demo test unit prove cover mutate bench bench-isolation check lock docs snapshots clean

help: ## List what can be made
	@$(PYTHON) -c 'import re; print(*(f"make {name:15} {what}" for name, what in \
		re.findall(r"(?m)^([a-z-]+):.*?## (.*)", open("Makefile").read())), sep="\n")'

start: $(STARTABLE) ## Run everything on this machine, until Ctrl-C
	@$(VENV)/bin/python -m local start

host: $(INSTALLED) ## Run the same in Microsoft's function host, if PATH has it
	@$(VENV)/bin/python -m local host

demo: $(STARTABLE) ## Show the whole job once, in under a minute
	@$(VENV)/bin/python -m local demo

test: $(INSTALLED) ## Run the tests, starting whatever they need
	@$(PYTEST) $(TESTS)

unit: $(INSTALLED) ## Run the unit tests alone: no emulator, no socket, no process; a minute or two
	@$(PYTEST) -m unit tests/api tests/domain tests/learnt tests/services tests/storage tests/test_*.py

prove: $(INSTALLED) ## Prove at length that nothing is lost; PROVE_SEED= repeats a run
	@$(VENV)/bin/python -m tests.proof

cover: $(INSTALLED) ## Say which lines and branches of bridge/ no test goes through, and fail if they are many
	@$(TOOLS)
	@$(VENV)/bin/python -m coverage run -m pytest -q $(COVERED)
	@$(VENV)/bin/python -m coverage report

mutate: $(INSTALLED) ## Change bridge/ in thousands of ways, and see which no test notices; an hour or two
	@$(TOOLS)
	@nice $(VENV)/bin/python -m mutmut run --max-children 1 $(MUTANTS)
	@$(VENV)/bin/python -m mutmut results

bench: $(INSTALLED) ## Measure speed, cost and what the schedule is worth; writes bench/RESULTS.md
	@$(VENV)/bin/python -m bench

bench-isolation: $(INSTALLED) ## Measure what others notice of one fault; merged into bench/RESULTS.md
	@$(VENV)/bin/python -m bench.isolation

check: $(INSTALLED) ## Check format, lint, types and spelling, and run the tests
	@$(VENV)/bin/python -m ruff format --check .
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/python -m codespell_lib
	@for each in examples/fastapi examples/azure-function; do MYPYPATH=$$each $(VENV)/bin/python -m mypy $$each || exit 1; done
	@$(PYTEST) $(TESTS)

lock: $(INSTALLED) ## Write the locks of all packages anew; UPGRADE=--upgrade takes newer versions
	@$(TOOLS)
	@$(VENV)/bin/python -m local.locks $(UPGRADE)

docs: $(INSTALLED) ## Write the generated parts of documents, and the samples and schemas of events
	@$(VENV)/bin/python -m tests.support.documents
	@$(VENV)/bin/python -m tests.events

snapshots: $(INSTALLED) ## Evaluate the deployments of infra/snapshots anew, after a change on purpose; needs bicep
	@$(VENV)/bin/python -m tests.infra.bicep

clean: ## Remove what was installed, and what the local start keeps
	@! [ -e .local/lock ] || $(PYTHON) -c 'import fcntl; fcntl.flock(open(".local/lock"), fcntl.LOCK_EX | fcntl.LOCK_NB)' \
		2>/dev/null || { echo '`make start` is running here: stop it first' >&2; exit 1; }
	@rm -rf $(VENV) .local local/azurite/node_modules examples/express/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis mutants .coverage build *.egg-info

$(INSTALLED): requirements-local.txt requirements-dev.txt
$(STARTABLE): requirements-local.txt
$(INSTALLED) $(STARTABLE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer: say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m local.environment "$(VENV)" $(if $(filter $(STARTABLE),$@),--for-start)
