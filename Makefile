# Everything a user or a contributor runs. `make demo` and `make test` need Python >= 3.11, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
TORCH_STAMP := $(VENV)/.set-up-torch

.PHONY: help setup demo test check lint types coverage format promise-mutants mutation fuzz bench-market bench-embedded bench-chaincode bench-scale bench-store bench-gas bench-network bench-gateway bench-attestation bench stubs lock clean torch bench-enclave

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## install what the demo and the tests need into .venv/

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

torch: $(TORCH_STAMP) ## install the torch engine as well: 3 GB, some minutes; `make check` does it

$(TORCH_STAMP): requirements-torch.lock $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-torch.lock
	@touch $@

demo: setup ## a whole market on the embedded network
	$(BIN)/goldengrain demo

test: setup lint types ## what a contributor runs, under 6 minutes
	$(BIN)/pytest -m "not check and not fabric" --numprocesses 2 --dist loadfile

check: setup torch coverage ## the rest: other languages' clients, the torch engine, long random runs, packaging, coverage
	$(BIN)/pytest -m "check or fabric" --numprocesses 2 --dist loadfile --durations 10

coverage: setup ## branch coverage of what `make test` runs, child processes included
	$(BIN)/coverage erase
	$(BIN)/pytest -m "not check and not fabric" --numprocesses 2 --dist loadfile --cov --cov-report=term:skip-covered

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

format: setup ## write ruff's format and its safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

promise-mutants: setup ## break each promise once; exactly its test has to fail
	$(BIN)/python tools/promise_mutants.py

mutation: setup ## change what decides about money, one fault at a time; a test has to notice
	$(BIN)/python tools/mutation.py

fuzz: setup ## look for input that is not refused by name: make fuzz TARGET=calls SECONDS=600
	@mkdir -p .goldengrain/fuzz/$(or $(TARGET),parsers)
	$(BIN)/python -m tests.fuzz $(or $(TARGET),parsers) -max_total_time=$(or $(SECONDS),60) -max_len=32768 .goldengrain/fuzz/$(or $(TARGET),parsers) tests/fuzz/corpus/$(or $(TARGET),parsers)

parity: setup ## random commands on chaincode and EVM: make parity SEQUENCES=50000 SEED=7000
	$(BIN)/python -m tests.parity.differential --sequences $(or $(SEQUENCES),5000) --seed $(or $(SEED),0)

bench-market: setup ## a whole swap's commands against no-op writes
	$(BIN)/python -m benchmarks market

bench-embedded: setup ## the embedded network: bring-up, throughput against Fabric's (FABRIC_BIN), memory
	$(BIN)/python -m benchmarks bring_up throughput memory --seconds 4

bench-chaincode: setup ## contract operations on our shim against the same in Go chaincode
	$(BIN)/python -m benchmarks chaincode --seconds 4

bench-scale: setup ## commands and query pages with 10³ to 10⁶ offers; fails where something grows
	$(BIN)/python -m benchmarks scale

bench-store: setup ## verified streaming of a large blob; fails below 500 MB/s or where memory grows
	$(BIN)/python -m benchmarks store

bench-gateway: setup ## our Gateway client against Go's, Node's and moe-fabric-gateway
	$(BIN)/python -m benchmarks gateway

bench-gas: setup ## gas of the market's contract on the EVM, per command and per swap
	$(BIN)/python -m benchmarks gas

bench-network: setup ## from nothing to the first swap on Fabric's own programs, beside plain scripts
	$(BIN)/python -m benchmarks network

bench-attestation: setup ## a quote's verification and a report's check in the contract; fails above 1.5 and 0.2 ms
	$(BIN)/python -m benchmarks attestation

bench-enclave: setup ## the enclave against bare ONNX Runtime; fails below 0.95, or where memory is over
	$(BIN)/python -m benchmarks enclave

bench: setup ## every figure that README and docs quote
	$(BIN)/python -m benchmarks

stubs: setup ## type stubs of Fabric's messages, from their descriptors
	$(BIN)/python tools/make_stubs.py

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/pip-compile --quiet --extra enclave --extra models --extra dev --strip-extras --allow-unsafe --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml
	sed -E 's/ *\\$$//; /^ +--hash/d; /^ *#/d' requirements.lock > .lock-constraints.txt
	$(BIN)/pip-compile --quiet --extra torch --strip-extras --allow-unsafe --generate-hashes --constraint .lock-constraints.txt \
	  --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements-torch.lock pyproject.toml
	rm .lock-constraints.txt

clean: ## remove what was built, not the virtual environment
	rm -rf build dist *.egg-info src/*.egg-info .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache
