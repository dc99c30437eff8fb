# Everything a person types here. Needs make and Python 3.11 or newer; the rest is installed into .venv.

# The first of these that is new enough; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
RUN := exec .venv/bin/python -u -m
export PYTHONUNBUFFERED := 1
# A process of ours that starts again and again has its compiled files: a third of its start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test long lint api-fuzz api-bench picture bench export-size export-bucket oidc parquet node node-lint node-bench storms cluster kills failover odd fuzz soak twin mutants speedups redis-versions image rows pacing packed packed-log golden lock sbom audit clean clean-data venv

help: ## this list
	@echo "make what?"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1#\2/p' Makefile | awk -F'#' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: venv ## everything, with sample brands and simulated bidders; Ctrl-C stops it, data is kept
	@$(RUN) engine up --demo

up: venv ## the same without samples and traffic
	@$(RUN) engine up

# Half of what a test takes it waits, for a server or a process: four at once keep two cores busy.
test: parquet oidc ## the tests, on embedded servers of their own
	@$(RUN) pytest -n 4 --dist worksteal $(ARGS)

long: parquet oidc ## the long tests: procedures of docs/operations.md, outages under load, sizes
	@$(RUN) pytest -n 2 --dist worksteal -m long $(ARGS)

lint: venv ## ruff and mypy
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@$(RUN) mypy

node: node-lint ## the Node client in clients/node: install, build, lint, and its tests on embedded servers
	@$(RUN) pytest tests/clients $(ARGS)

node-lint: venv ## install, build and lint the Node client
	@.venv/bin/python -m tools.node_client

node-bench: node-lint ## the Node client beside its own library's INCRBY; ARGS="--rounds 3 --floors"
	@$(RUN) benchmarks.node_client $(ARGS)

bench: venv ## how fast it is, beside plain Redis, a rate limiter and a Django ORM; ARGS="--rounds 3 --brands 100", or --floors as CI does
	@.venv/bin/python -c "import django, limits" 2>/dev/null || PIP_CONSTRAINT= .venv/bin/python -m pip install --quiet --require-hashes --no-build-isolation -r locks/bench.txt
	@$(RUN) benchmarks $(ARGS)

ROWS ?= 1000000
export-size: parquet ## how long a day of ROWS=n rows takes to export as Parquet, and in how many bytes a row; ARGS=--events
	@$(RUN) benchmarks.export_size --rows $(ROWS) $(ARGS)

export-bucket: parquet ## the export to an S3 server from the package index
	@$(RUN) pytest tests/export_s3.py $(ARGS)

storms: venv ## eight processes race for the last money and for a new day, ten times in a row
	@TEST_ROUNDS=10 $(RUN) pytest tests/faults/test_fault_01_02_storms.py $(ARGS)

LONG ?= 10
cluster: venv ## slots moved, primaries killed, frozen and replaced under load, ten times as long; LONG=n
	@TEST_CLUSTER_LONG=$(LONG) TEST_CLUSTER_CROWD=3 $(RUN) pytest -m "long or not long" tests/cluster $(ARGS)

KILLS ?= 100
SPENDS ?= 1000000
kills: venv ## the persisting worker killed 100 times over 1,000,000 spends; KILLS=n SPENDS=n
	@TEST_KILLS=$(KILLS) TEST_KILLS_SPENDS=$(SPENDS) $(RUN) pytest tests/faults/test_fault_04_kills.py $(ARGS)

BEHIND_S ?= 2
KEPT ?= 600000
ROWS ?= 1000000
failover: venv ## a replica that is behind becomes the primary, at a size: how long each shard is out of use; KEPT=n ROWS=n BEHIND_S=n
	@TEST_FAILOVER_ENTRIES=$(KEPT) TEST_FAILOVER_ROWS=$(ROWS) TEST_FAILOVER_BEHIND_S=$(BEHIND_S) $(RUN) pytest -s -m long tests/faults/test_fault_12_behind.py $(ARGS)

odd: venv ## every odd value in every field of every key in Redis, under load: no budget opens, each shard heals
	@TEST_ODD_EVERY=1 $(RUN) pytest -m "long or not long" tests/faults/test_odd_values.py tests/faults/test_odd_controls.py $(ARGS)

ENTRIES ?= 1000000
fuzz: venv ## a million journal entries with changed bytes: none stops persist, rebuild or verify; ENTRIES=n ARGS="--seed n"
	@$(RUN) tests.fuzz --entries $(ENTRIES) $(ARGS)

MINUTES ?= 10
soak: venv ## load while parts are killed and stopped at random, then every invariant; MINUTES=n ARGS="--node --cluster --seed n --write"
	@$(RUN) tests.soak --minutes $(MINUTES) $(ARGS)

twin: venv ## the rules' twin beside real servers, at random and long; prints its seed (ARGS="--examples 5000 --seed N")
	@$(RUN) tests.twin $(ARGS)

mutants: parquet oidc ## small faults planted in a copy of the program, each killed by a test (ARGS="--list", "--only NAME", "--sample 6 --seed N")
	@$(RUN) tests.mutants $(ARGS)

packed-log: venv ## what persist costs in both forms of SPEND_LOG, and bytes a spend in PostgreSQL; SPENDS=n
	@$(RUN) benchmarks.packed_log --spends $(SPENDS)

pacing: venv ## how exact pacing is, beside published controllers, over seeded days; ARGS="--short", "--write", "--data DIR"
	@$(RUN) benchmarks.pacing $(ARGS)

packed: venv ## the tests of the ledger and its flows with SPEND_LOG=packed
	@TEST_SPEND_LOG=packed $(RUN) pytest tests/flows tests/faults/test_fault_04_kills.py tests/faults/test_fault_06_redis.py tests/faults/test_fault_10_restored.py $(ARGS)

ROWS ?= 10000000
rows: venv ## verify on a spend log of many rows, with a check and a close beside it, and each query's plan; ROWS=100000000
	@$(RUN) benchmarks.large_log $(ROWS) $(ARGS)

api-fuzz: venv ## requests at random from the OpenAPI document on real servers: none gets a 5xx; ARGS="--examples 1000 --seed n"
	@$(RUN) tests.api.fuzz $(ARGS)

picture: venv ## README's picture of the first page, anew from a real Chromium; every page's are in build/pictures after `make long`
	@BUDGET_REQUIRE_BROWSER=1 $(RUN) pytest -q -m long tests/web/test_pictures.py -k readme
	@cp build/pictures/readme.png docs/images/budgets.png

api-bench: venv ## spends a second over HTTP, beside the same server's empty route; ARGS="--rounds 3 --seconds 5"
	@$(RUN) benchmarks.http_api $(ARGS)

speedups: venv ## the compiled speedups beside Python with odd input, long, under the sanitizers of gcc; ARGS="--examples 20000"
	@$(RUN) tests.speedups $(ARGS)

redis-versions: venv ## the client with the oldest and the newest redis-py that it takes, and with older ones, from the package index
	@$(RUN) pytest tests/redis_py_range.py $(ARGS)

image: venv ## the steps of the Dockerfile, run in a folder, and the page from their result, read-only
	@$(RUN) pytest tests/ops/image_build.py $(ARGS)

golden: venv ## write lua/golden.json anew, after a change of the scripts' answers
	@$(RUN) tools.golden

lock: venv ## write constraints.txt and locks/ anew with every file's digest; ARGS=--upgrade takes the newest releases that pyproject.toml allows
	@$(RUN) tools.lock $(ARGS)

sbom: venv ## what is installed to run it, as CycloneDX: sbom.json
	@$(RUN) tools.sbom $(ARGS)

audit: venv ## known vulnerabilities of what is locked, where an advisory source can be reached
	@$(RUN) tools.audit $(ARGS)

oidc: venv
	@.venv/bin/python -c "import authlib" 2>/dev/null || PIP_CONSTRAINT= .venv/bin/python -m pip install --quiet --require-hashes --no-build-isolation -r locks/oidc.txt

parquet: venv
	@.venv/bin/python -c "import pyarrow" 2>/dev/null || PIP_CONSTRAINT= .venv/bin/python -m pip install --quiet --require-hashes --no-build-isolation -r locks/export.txt

clean: ## take away .venv and caches; the data of `make up` stays
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: venv ## delete the embedded servers' data, for good
	@$(RUN) engine.local.remove

venv:
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 or newer is needed, and no python3 is on the PATH" >&2; exit 1; }
	@$(PYTHON) tools/ensure_venv.py
