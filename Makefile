# What one types. Everything happens in .venv; Debian packages are installed only where a program is missing, and said.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PYTHON ?= python3
PY := .venv/bin/python
PYTEST := $(PY) -m pytest $(PYTEST_ARGS)
INSTALLED := .venv/installed
TOOLS := .venv/tools

# program:package+package ... that the tests run; the lab itself installs what it lacks (`orchestrate lab up`).
PROGRAMS := sshd:openssh-server ssh:openssh-client gcc:gcc+libc6-dev ip:iproute2 mke2fs:e2fsprogs \
	mmdebstrap:mmdebstrap+debian-archive-keyring linux.uml:user-mode-linux named:bind9
# program:service that its package starts: the tests start servers of their own.
SERVICES := sshd:ssh named:named

# shell: as_root COMMAND..., and apt_install WHAT-FOR PACKAGE...
define SHELL_HELPERS
if [ -t 0 ]; then sudo=(sudo); else sudo=(sudo -n); fi # nobody there who could type a password
as_root() {
	if [ "$$(id -u)" = 0 ]; then "$$@"
	elif ! command -v sudo >/dev/null; then echo "make: this needs root, and sudo is not installed: $$*" >&2; return 1
	else "$${sudo[@]}" "$$@"; fi
}
apt_install() {
	what=$$1; shift
	if ! command -v apt-get >/dev/null; then echo "make: install these yourself ($$what), there is no apt-get here: $$*" >&2; return 1; fi
	echo "make: installing with apt-get, $$what: $$*"
	set -- env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "$$@"
	as_root "$$@" >/dev/null 2>&1 </dev/null && return
	as_root apt-get update -qq </dev/null # a fresh machine has no package lists
	as_root "$$@" >/dev/null </dev/null
}
endef
export SHELL_HELPERS

# For the rules and queries that docs/ offers to Prometheus.
PROGRAMS += promtool:prometheus
SERVICES += promtool:prometheus

.PHONY: help demo test check lab-test lab-counts sim search crash mutants conformance ssh-matrix bench docs clean

SEEDS ?= 200
STATE ?=
LAB ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

demo: $(INSTALLED) ## two real kernels, blank disks, and `orchestrate up` on them (kept in ./lab)
	$(PY) -m orchestrator demo

test: check $(TOOLS) ## check, then every test, the lab's real kernels included (told at the end: they run beside the others)
	$(PYTEST) --durations=12 -m 'lab and not long' --ignore-glob='*/lab/test_stack*' >.venv/pairs.txt 2>&1 & pairs=$$!
	$(PYTEST) --durations=12 -m 'lab and not long' tests/lab/test_stack*.py >.venv/stack.txt 2>&1 & stack=$$! # mostly waiting, as pairs do
	trap 'kill $$pairs $$stack' INT TERM
	code=0
	$(PYTEST) --durations=12 -m 'not lab and not long' || code=$$?
	for part in pairs stack; do
		wait $${!part} || code=$$?
		cat .venv/$$part.txt
	done
	exit $$code

check: $(INSTALLED) ## ruff, mypy --strict, and which room may import which
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PYTEST) -q tests/unit/test_architecture.py

lab-test: $(INSTALLED) $(TOOLS) ## only the tests on the lab's real kernels, those that take long as well (two hours)
	$(PYTEST) tests/lab

lab-counts: $(INSTALLED) $(TOOLS) ## 20 times `up` killed, 20 times the cable cut; STATE=FILE makes it resumable (an hour or more)
	$(PY) -m tests.lab.counts $(if $(STATE),--state $(STATE))

sim: $(INSTALLED) ## SEEDS=10000: seeds with faults on every core; STATE=FILE makes a long run resumable
	$(PY) -m fixtures.sim --seeds $(SEEDS) $(if $(STATE),--state $(STATE))

search: $(INSTALLED) ## every joint state of two nodes and the orchestrator, to a fixed point
	$(PY) -m fixtures.search

crash: $(INSTALLED) ## the orchestrator killed at every step of every golden situation
	$(PY) -m fixtures.sim.crash

mutants: $(INSTALLED) ## each guard taken away in turn: a disaster has to be found
	$(PY) -m fixtures.search.mutants

conformance: $(INSTALLED) ## the lab's recorded scenarios on the simulator; LAB=1: on the lab
	$(PY) -m fixtures.conformance $(if $(LAB),,--sim)

ssh-matrix: $(INSTALLED) $(TOOLS) ## every fault of real sshds at every moment, 20 times over
	$(PY) -m tests.ssh.matrix --times 20

bench: $(INSTALLED) $(TOOLS) ## how near `up` comes to its critical path; beside it Ansible and a shell script; how long `status` takes
	$(PY) -m fixtures.bench_pairs
	$(PY) -m fixtures.bench_events
	$(PY) -m fixtures.bench_day
	$(PY) -m fixtures.bench_watchers
	$(PY) -m fixtures.bench
	$(PY) -m tests.bench

docs: $(INSTALLED) ## draw docs/machines.md and the README's picture from the tables
	$(PY) -m orchestrator.graph >docs/machines.md
	$(PY) -m tests.unit.test_docs
	$(PY) -m tests.telling.test_pages

clean: ## take down the lab in ./lab, remove .venv and caches
	@if [ -e lab/lab.json ] && [ -x $(PY) ]; then $(PY) -m orchestrator lab down; fi
	rm -rf lab/simulated
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@eval "$$SHELL_HELPERS"
	if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then apt_install 'to make .venv' python3 python3-venv; fi
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "make: Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); name another: make PYTHON=python3.11" >&2; exit 2; }
	echo "make: installing into .venv"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install -q -e '.[lab,test,dev]' </dev/null
	touch $@

$(TOOLS): Makefile | $(INSTALLED)
	@eval "$$SHELL_HELPERS"
	missing=() started=()
	for line in $(PROGRAMS); do
		if ! command -v "$${line%%:*}" >/dev/null; then
			names=$${line#*:}; missing+=($${names//+/ })
			for pair in $(SERVICES); do
				if [ "$${pair%%:*}" = "$${line%%:*}" ]; then started+=("$${pair#*:}.service"); fi
			done
		fi
	done
	if [ $${#missing[@]} -gt 0 ]; then apt_install 'for the tests' "$${missing[@]}"; fi
	for service in "$${started[@]}"; do
		if [ ! -d /run/systemd/system ]; then break; fi # no systemd: nothing was started
		echo "make: switching $$service off again: the tests start a server of their own"
		as_root systemctl disable --now -q "$$service" || echo "make: it could not be switched off: look at $$service yourself" >&2
	done
	touch $@

# A recipe is one script, not a shell per line.
.ONESHELL:
