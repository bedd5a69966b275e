# Two commands are enough: `make run` and `make test`. The rest is for those who change something.
# Everything runs in .venv, which .ci/make-venv makes from requirements.lock; ARGS passes options on.
BIN := .venv/bin
READY := .venv/.ready
PARALLEL := --numprocesses=logical --dist=worksteal
# `test_tls.py` is about certificates, and no table changes them.
FAULTS := tests/faults --ignore=tests/faults/test_tls.py

.PHONY: help run test test-partitions check lint format docs docs-fresh openapi bench fuzz lock clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

run: $(READY) ## Start the API on port 8000 (ARGS="--port 8001": another), with its own PostgreSQL unless DATABASE_URL is set
	@$(BIN)/litestar run $(ARGS)

test: $(READY) ## Run every test
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-partitions: $(READY) ## Run what drives the database once more, on tables that are partitioned by user
	@$(BIN)/python -m pytest $(PARALLEL) --partitions tests/api $(FAULTS) $(ARGS)

check: lint ## Check style, types and what the quick tests cover, after every change
	@$(BIN)/python -m pytest --quiet $(PARALLEL) -m "not slow and not timing and not browser and not twin" $(ARGS)

lint: $(READY) ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## Put the code into the one format
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

docs: $(READY) ## Write the generated pages anew
	$(BIN)/python docs/generate.py
	$(BIN)/python -m pytest --quiet tests/specs --conformance

docs-fresh: ## Follow the pages with the newest packages that they allow, once a week
	@.ci/docs-fresh

openapi: $(READY) ## Write the API's description, docs/openapi.json
	$(BIN)/python docs/generate.py docs/openapi.json

bench: $(READY) ## Measure speed on this machine
	$(BIN)/python -m bench $(ARGS)

fuzz: $(READY) ## Search for inputs that surprise the service, with fresh seeds (takes hours; ARGS=--seconds=60 is shorter)
	test -x .venv-fuzz/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python .venv-fuzz
	$(BIN)/uv pip install --quiet --python .venv-fuzz/bin/python --requirement requirements.lock --group fuzz
	$(BIN)/uv pip install --quiet --python .venv-fuzz/bin/python --no-deps --editable .
	.venv-fuzz/bin/python -m tests.fuzz.nightly $(ARGS)
	SCHEMATHESIS_EXAMPLES=400 SCHEMATHESIS_SEED=$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ') \
		$(BIN)/python -m pytest --quiet --override-ini=faulthandler_timeout=0 tests/openapi/test_schemathesis.py

lock: $(READY) ## Resolve pyproject.toml into requirements.lock (ARGS=--upgrade for newer versions)
	$(BIN)/uv pip compile pyproject.toml --extra embedded --extra otel --group dev --universal --generate-hashes \
		--no-header --no-emit-index-url --quiet --output-file requirements.lock $(ARGS) >/dev/null

clean: ## Remove what make and the tools made; the data in .data/ stays
	rm -rf .venv .venv-fuzz .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): requirements.lock pyproject.toml .ci/make-venv
	@.ci/make-venv
	@touch $@
