# Everything is set up in the project's own folder: target/, dist/, .tools/, run/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Some targets build the same file with other features.
.NOTPARALLEL:
.PHONY: help build demo up down test check bench fuzz corpus soak chaos deny lint schema clean worst mutants envoy redis nginx wasm hooks noop wrk cli tools fuzzers

CARGO ?= cargo
PYTHON ?= python3
export CARGO_TARGET_DIR ?= $(CURDIR)/target
INSTALLED := .tools/envoy/envoy/_bin/envoy
# An Envoy named by ENVOY= is used as it is.
ENVOY ?= $(CURDIR)/$(INSTALLED)
export ENVOY
TARGET := wasm32-wasip1
# The file names sources of libraries where they may panic, not the folder of this machine.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/=
# Takes callbacks that the filter does not use out of its file.
TRIM := $(CARGO) run --quiet --locked -p caracal-trim --

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: wasm cli ## dist/caracal_filter.wasm and dist/caracal-edge

demo: build envoy ## a real Envoy admits and refuses real mandates
	dist/caracal-edge demo --run-dir run/demo

up: build envoy ## leave the demo's servers running; prints curl lines
	@mkdir -p run; rm -f run/ready
	@if [ -f run/pid ] && kill -0 "$$(cat run/pid)" 2>/dev/null; then echo 'already running: make down'; exit 1; fi
	@nohup dist/caracal-edge up >run/up.log 2>&1 & echo $$! >run/pid
	@for _ in $$(seq 300); do \
	  [ -f run/ready ] && { cat run/ready; echo; exit 0; }; \
	  kill -0 "$$(cat run/pid)" 2>/dev/null || { cat run/up.log; exit 1; }; \
	  sleep 0.1; done; cat run/up.log; exit 1

down: ## stop what `make up` started
	@[ -f run/pid ] || exit 0; pid=$$(cat run/pid); rm -f run/pid run/ready; \
	if [ -d /proc ] && ! grep -qs caracal-edge "/proc/$$pid/cmdline"; then exit 0; fi; \
	kill "$$pid" 2>/dev/null || exit 0; \
	for _ in $$(seq 100); do kill -0 "$$pid" 2>/dev/null || exit 0; sleep 0.1; done; \
	echo "process $$pid does not stop"; exit 1

# In one call of cargo: by itself each would build its libraries again for its features.
PACKAGES := -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-fuzz -p caracal-tests --features caracal-mandate/schema

test: deny hooks build envoy redis nginx ## every test: unit, in-process host, real Envoy and Redis, conformance
	$(CARGO) test --locked $(PACKAGES)
	@# A sixth of the checks' mutants, another one with each commit.
	@CARGO_PROFILE_DEV_DEBUG=true $(MAKE) --no-print-directory mutants MUTANTS="--re decision/checks --re decision/verifier --shard $$(( $$(git rev-list --count HEAD 2>/dev/null || echo 0) % 6 ))/6"
	@code=0; $(PYTHON) tests/conformance/oracle/run.py check || code=$$?; \
	if [ $$code = 3 ] && [ -z "$${REQUIRE_ORACLE:-}" ]; then echo 'conformance oracle: skipped, there is no Python 3.12 or later'; \
	elif [ $$code != 0 ]; then exit $$code; fi

# What neither waits nor starts a server.
check: hooks wasm ## before each commit, in two minutes: format, lints, the core, the in-process host
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-trim --all-targets --features caracal-mandate/schema -- -D warnings
	$(CARGO) test --locked $(PACKAGES) --lib --bins $(addprefix --test ,conformance_native conformance_in_process counts in_process nginx_hosts nginx_in_process resources_in_process rules wasm_file)

bench: hooks build noop envoy redis wrk ## throughput side by side; start and memory; how soon a revocation bites, what a million of them cost, a burst with companions killed; exchanges a second; what a flood of the dearest requests leaves; the core's parts; exact counts in each host
	$(CARGO) bench --locked -p caracal-tests --bench throughput
	$(CARGO) bench --locked -p caracal-tests --bench start
	$(CARGO) bench --locked -p caracal-tests --bench revocation
	$(CARGO) bench --locked -p caracal-tests --bench burst
	$(CARGO) bench --locked -p caracal-tests --bench exchange
	$(CARGO) bench --locked -p caracal-tests --bench flood
	$(CARGO) bench --locked -p caracal-mandate --bench core
	$(CARGO) test --locked -p caracal-tests --test counts -- --nocapture

soak: build envoy redis ## a million good and hostile requests; memory must come to a plateau
	$(CARGO) bench --locked -p caracal-tests --bench soak

worst: wasm ## searches for requests and documents that are dear; WORST_SECONDS=120
	$(CARGO) test --locked -p caracal-tests --bench worst

# CHAOS_SEED repeats what a failure printed.
chaos: build envoy redis ## kills, pauses, splits and failovers at random, of Sentinels and of a Cluster at a time; CHAOS_SECONDS=3600
	CHAOS_SECONDS=$${CHAOS_SECONDS:-3600} $(CARGO) test --locked -p caracal-tests --test chaos -- --nocapture

# What is left out, and why, is in .cargo/mutants.toml.
mutants: ## changes what decides, one change at a time, and names those that no test of the core notices; MUTANTS="--shard 1/40" for a part
	@[ -x .tools/bin/cargo-mutants ] || $(CARGO) install --quiet --debug --locked --root .tools cargo-mutants --version 27.1.0
	@mkdir -p run
	CARGO_PROFILE_DEV_DEBUG=$${CARGO_PROFILE_DEV_DEBUG:-0} PATH="$(CURDIR)/.tools/bin:$$PATH" $(CARGO) mutants --no-shuffle --package caracal-mandate --output run $(MUTANTS)

# Each target for FUZZ_SECONDS, FUZZ_JOBS of them at a time. What is found is left in
# run/fuzz/found, and new inputs in run/fuzz/TARGET.
FUZZ_SECONDS ?= 3600
FUZZ_JOBS ?= $(shell nproc)
FUZZ_TARGETS ?= configuration event headers key_set page paths reply shared_data token
FUZZERS := $(CARGO_TARGET_DIR)/fuzz/x86_64-unknown-linux-gnu/release

fuzz: fuzzers ## looks for inputs that break a guarantee; FUZZ_SECONDS=3600 for each target
	@mkdir -p run/fuzz/found $(addprefix run/fuzz/,$(FUZZ_TARGETS))
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P $(FUZZ_JOBS) -I TARGET sh -c '\
	  "$(FUZZERS)/TARGET" run/fuzz/TARGET tests/fuzz/corpus/TARGET -dict=tests/fuzz/dictionary.txt -max_len=4096 \
	    -timeout=20 -rss_limit_mb=2048 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	    -artifact_prefix=run/fuzz/found/TARGET- >run/fuzz/TARGET.log 2>&1 || echo "TARGET: found something, see run/fuzz/TARGET.log"; \
	  echo "TARGET: $$(sed -n "s/^stat::number_of_executed_units: *//p" run/fuzz/TARGET.log) executions"'
	@[ -z "$$(ls run/fuzz/found)" ]

corpus: fuzzers ## takes what `make fuzz` found worth keeping into tests/fuzz/corpus
	@for target in $(FUZZ_TARGETS); do mkdir -p run/fuzz/$$target run/fuzz/merged/$$target; \
	  "$(FUZZERS)/$$target" -set_cover_merge=1 -use_counters=0 -max_len=2048 run/fuzz/merged/$$target tests/fuzz/corpus/$$target run/fuzz/$$target >/dev/null 2>&1; \
	  rm -rf tests/fuzz/corpus/$$target; mv run/fuzz/merged/$$target tests/fuzz/corpus/; \
	  echo "$$target: $$(ls tests/fuzz/corpus/$$target | wc -l) inputs"; done

# Without the link-time optimisation of releases: there are nine programs to link.
fuzzers:
	@rustup run nightly rustc --version >/dev/null 2>&1 || { echo 'make fuzz needs a nightly toolchain: rustup toolchain install nightly'; exit 1; }
	@[ -x .tools/bin/cargo-fuzz ] || $(CARGO) install --quiet --locked --root .tools cargo-fuzz --version 0.13.2
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 PATH="$(CURDIR)/.tools/bin:$$PATH" \
	  rustup run nightly cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none --features libfuzzer --target-dir "$(CARGO_TARGET_DIR)/fuzz"

deny: ## licences, sources, banned and doubled crates; advisories where they can be fetched
	@[ -x .tools/bin/cargo-deny ] || $(CARGO) install --quiet --debug --locked --root .tools cargo-deny --version 0.20.2
	$(CARGO) fetch --locked --quiet
	.tools/bin/cargo-deny --offline check --hide-inclusion-graph licenses bans sources
	@if .tools/bin/cargo-deny fetch db >/dev/null 2>&1; then .tools/bin/cargo-deny check --disable-fetch advisories; \
	else echo 'advisories skipped: the database cannot be fetched from here'; fi

lint: tools ## formatting and lints, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-trim --all-targets --features caracal-mandate/schema -- -D warnings
	$(CARGO) clippy --locked --profile filter --target $(TARGET) -p caracal-filter -- -D warnings

schema: ## regenerate src/mandate/config.schema.json from the types, and Kong's from it
	UPDATE_SCHEMA=1 $(CARGO) test --locked -p caracal-mandate --features schema schema
	UPDATE_SCHEMA=1 $(CARGO) test --locked -p caracal-tests --test deploy kong_s_schema

clean: down ## remove everything that was built or installed here
	rm -rf target dist .tools run

wasm: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-filter
	@mkdir -p dist
	$(TRIM) "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_filter.wasm" dist/caracal_filter.wasm

# The filter with headers that trap it and that ask its primitives. Never to deploy, so
# it is not in dist/.
hooks: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-filter --features test-hooks
	@mkdir -p run/hooks; rm -f dist/caracal_filter_hooks.wasm
	$(TRIM) "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_filter.wasm" run/hooks/caracal_filter_hooks.wasm

# A filter that does nothing, to measure against.
noop: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-noop
	@mkdir -p dist
	cp "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_noop.wasm" dist/noop.wasm

cli: tools
	$(CARGO) build --locked --release -p caracal-edge
	@mkdir -p dist
	cp "$(CARGO_TARGET_DIR)/release/caracal-edge" dist/

tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust with rustup'; exit 1; }
	@[ -d "$$($(CARGO:cargo=rustc) --print sysroot)/lib/rustlib/$(TARGET)" ] || \
	  { command -v rustup >/dev/null || { echo 'the Rust target $(TARGET) is missing, and there is no rustup to add it'; exit 1; }; \
	    rustup target add $(TARGET); }

envoy: $(if $(filter $(CURDIR)/$(INSTALLED),$(ENVOY)),$(INSTALLED))
	@[ -x "$(ENVOY)" ] || { echo 'ENVOY=$(ENVOY) is no program'; exit 1; }

# RUNLEVEL=1 keeps the package from starting a server of its own.
redis:
	@command -v redis-server >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null; \
	else echo 'redis-server is missing: install it (Debian: redis-server)'; exit 1; fi

# To read deploy/kong/gate.conf. As with redis, no server is started.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx >/dev/null; \
	else echo 'nginx is missing: install it (Debian: nginx)'; exit 1; fi

wrk:
	@command -v wrk >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk >/dev/null; \
	else echo 'wrk is missing: install it (Debian: wrk)'; exit 1; fi

$(INSTALLED): deploy/envoy-requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo 'python3 is missing: install it, or name an Envoy with ENVOY='; exit 1; }
	@mkdir -p .tools
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then pip='$(PYTHON) -m pip'; \
	elif $(PYTHON) -m venv .tools/pip >/dev/null 2>&1; then pip=.tools/pip/bin/pip; \
	else echo 'pip is missing (Debian: python3-venv): install it, or name an Envoy with ENVOY='; exit 1; fi; \
	rm -rf .tools/envoy; \
	$$pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target .tools/envoy -r deploy/envoy-requirements.txt
	@chmod +x $(INSTALLED); touch $(INSTALLED)
