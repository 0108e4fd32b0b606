# Thin on purpose: what a target does is written in tools/.
#   VENV=DIR       another virtual environment          PYTHON=python3.12  another interpreter for it
#   TORCH=VERSION  another torch than constraints.txt   ARGS='...'         passed on (test, demo, bench)
VENV ?= .venv
TORCH ?=
ARGS ?=
SITE ?= $(or $(TMPDIR),/tmp)/hpcdl-site
BIN = $(VENV)/bin
TOOLS = VENV="$(VENV)" TORCH="$(TORCH)" $(if $(PYTHON),PYTHON="$(PYTHON)")
SOURCES = pyproject.toml constraints.txt
DEMO_READY = $(VENV)/.ready-demo-$(or $(TORCH),pinned)
DEV_READY = $(VENV)/.ready-dev-$(or $(TORCH),pinned)

.DEFAULT_GOAL := help
.PHONY: help demo setup packages test check bench campaign docs horovod cluster-up cluster-down clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(DEMO_READY)  ## train LeNet on real digits here, two ranks, and print the report
	@$(BIN)/hpcdl run lenet-digits --ranks 2 --device cpu $(ARGS)

setup: packages $(DEV_READY)  ## everything for tests: packages (as root), Python, Horovod
	@$(BIN)/python tools/install-horovod --if-possible

test: setup  ## all tests, those on a Slurm cluster on this machine included
	@$(BIN)/python -m pytest $(ARGS)

check: $(DEV_READY)  ## style, types, layers, shell
	@tools/check "$(VENV)"

bench: setup  ## the toolkit's own speed
	@$(BIN)/python benchmarks/self/run.py $(ARGS)

campaign: setup  ## what needs counting; can be resumed
	@$(BIN)/python -m tests.campaign $(ARGS)

docs: $(DEV_READY)  ## the documentation as a site, in SITE
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict -f docs/mkdocs.yml -d "$(SITE)"
	@echo "$(SITE)/index.html"

horovod: $(DEV_READY)  ## build Horovod against the torch that is installed; NCCL=1 for GPUs
	@$(BIN)/python tools/install-horovod $(if $(filter-out 0,$(NCCL)),--nccl)

cluster-up: packages $(DEV_READY)  ## a Slurm cluster of four nodes on this machine, to try things out (root)
	@$(BIN)/python -m tests.cluster up

cluster-down:  ## take that cluster away
	@$(or $(wildcard $(BIN)/python),python3) -m tests.cluster down

clean: ## remove what was made here, the virtual environment too; runs/ stays
	@rm -rf "$(VENV)" dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

packages:
	@tools/install-packages

$(DEMO_READY): $(SOURCES)
	@$(TOOLS) tools/install-python demo "$(VENV)"
	@touch $@

$(DEV_READY): $(SOURCES)
	@$(TOOLS) tools/install-python dev "$(VENV)"
	@touch $@ $(DEMO_READY)
