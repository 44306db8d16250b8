# The one entry. `make help` lists what there is; CI runs the same targets as a person does.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := target/release/groundbreak
VENV := .venv
DEMO := demo

.PHONY: help demo cluster build test lint fmt bench bench-peers bench-scale kernels chaos gate clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Simulates a small province, surveys it, shows the county table, leaves demo/report.html.
	@echo "==> simulating a small province with two dates of scenes (demo/world)"
	@rm -rf $(DEMO)
	@$(BIN) simulate --out $(DEMO)/world --seed 7
	@echo "==> surveying it"
	@$(BIN) run $(DEMO)/world/survey.toml --out $(DEMO)/out
	@cp $(DEMO)/out/results/report.html $(DEMO)/report.html
	@echo "==> done: open $(DEMO)/report.html in a browser; tables are in $(DEMO)/out/results"

build: ## Builds the one binary, target/release/groundbreak.
	@echo "==> building groundbreak (the first build takes some minutes on 2 cores)"
	@cargo build --release --locked --bins

test: build $(VENV)/ready ## Passes the tests.
	@echo "==> testing"
	@GROUNDBREAK_PYTHON=$(CURDIR)/$(VENV)/bin/python cargo test --release --locked --workspace --no-fail-fast

# rasterio, geopandas, DuckDB and ogrinfo check our files from outside. Where they cannot be had, the tests that need
# them say so and are skipped.
$(VENV)/ready: tests/requirements.txt
	@echo "==> installing the programs that check our files from outside ($(VENV))"
	@python3 -m venv $(VENV) && $(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt \
	  && touch $@ || { echo "    not installed: the tests that need them are skipped"; mkdir -p $(VENV); }

lint: ## Checks format, lints and documentation.
	@echo "==> formatting"
	@cargo fmt --all --check
	@echo "==> clippy"
	@cargo clippy --release --locked --workspace --all-targets -- -D warnings
	@echo "==> docs"
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --release --locked --workspace --no-deps --quiet

fmt: ## Formats the code.
	@cargo fmt --all

cluster: build ## A whole cluster on this machine: S3 server, coordinator, three workers, the demo survey in a bucket.
	@deploy/local/cluster

gate: $(VENV)/ready ## Reproduces the peers' IR-MAD gate (658 objects); makes an 8192 x 8192 pair first, 10 minutes.
	@GROUNDBREAK_PYTHON=$(CURDIR)/$(VENV)/bin/python .ci/gate

chaos: build ## Kills, cuts and stops at random for long: GROUNDBREAK_STEPS, GROUNDBREAK_SEEDS, GROUNDBREAK_SECONDS.
	@.ci/chaos

kernels: build ## Counts the instructions of the kernels (valgrind) and holds them to .ci/kernels.json.
	@echo "==> counting the instructions of the kernels"
	@.ci/kernels

bench: build ## Measures the demo survey and the cluster; writes the cluster's figures into docs/performance.md.
	@.ci/bench
	@.ci/figures

bench-peers: build ## Runs the compared pipelines and Groundbreak in turn over one pair; prints the ratios. 20 minutes.
	@.ci/bench-peers

bench-scale: build ## After bench-peers: the pair from S3 near and far, and of 4, 16 and 25 times the area. 5 minutes.
	@.ci/bench-scale

clean: ## Removes what the targets made.
	@rm -rf target $(DEMO) $(VENV)
