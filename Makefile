# Every target does its own set-up from a bare Debian with python3.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
PEER_STAMP := .venv-peers/.ready
FRAMEWORKS := others sinabs superneuromat step_orders rockpool xylo
WORKERS ?= 2

.PHONY: demo test setup peers conformance figures prove mutation lint types unit clean

demo: $(STAMP)
	$(BIN)/spikefab demo

test: $(STAMP) lint types unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

types: $(STAMP)
	$(BIN)/mypy compiler emulator rtl boards cli bench

unit: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) -m "not prove"

# What takes longer than `make test` may.
prove: $(STAMP)
	$(BIN)/pytest -n $(WORKERS) -m prove

# Every spike of random networks of each framework whose files have a profile: docs/networks.md.
conformance: $(STAMP) $(FRAMEWORKS:%=.venv-conformance/%/.ready)
	tools/conformance others snntorch norse spikingjelly
	tools/conformance sinabs sinabs
	tools/conformance superneuromat superneuromat
	tools/conformance step_orders brian2 bindsnet
	tools/conformance rockpool rockpool
	tools/conformance xylo xylo

# How many small faults in the gateware the co-simulation finds.
mutation: $(STAMP)
	$(BIN)/python tests/rtl/mutation.py

# Synthesis, place and route of a core on three FPGAs: docs/gateware.md.
figures: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fpga]'
	$(BIN)/python -m spikefab.bench.gateware

setup: $(STAMP)

peers: $(PEER_STAMP)

$(STAMP): pyproject.toml tools/ensure-venv
	tools/ensure-venv $(PYTHON) .venv --simulator
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

# The benchmark's peers, and what the example was trained with; never needed to use Spikefab.
$(PEER_STAMP): bench/peers/requirements.txt tools/ensure-venv
	tools/ensure-venv $(PYTHON) .venv-peers --compiler
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
	touch $@

.venv-conformance/%/.ready: tests/conformance/requirements-%.txt tools/ensure-venv
	tools/ensure-venv $(PYTHON) .venv-conformance/$* --compiler
	.venv-conformance/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf .venv .venv-peers .venv-conformance demo-out
