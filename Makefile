# Pontoon's commands: `make` alone lists them. The tools that they need, `make setup` installs into .tools/ and
# node_modules/; nothing is changed outside the repository but the Rust target and, for tests on Debian, Chromium and
# Firefox.

export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/node_modules/.bin:$(PATH)
LISTEN ?= 127.0.0.1:8080
DATA ?= target/demo-data
BENCH ?= cargo run --release --locked --quiet -p pontoon-tests --bin bench --

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo page docs test check bench conformance soak fuzz audit nat-lab image clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install what is missing: wasm target, wasm-bindgen, wasm-pack, geckodriver, npm packages, browsers (Debian as root)
	@scripts/setup.sh

demo: ## build everything, start a supernode on 127.0.0.1:8080 and say which page to open
	@scripts/setup.sh --build
	@$(MAKE) --no-print-directory page
	@cargo build --release --locked -p pontoon-supernode
	@mkdir -p $(DATA)
	@exec cargo run --release --locked --quiet -p pontoon-supernode -- --listen $(LISTEN) --data $(DATA) --log warn

# The wasm modules, the npm package and the demo page, each only if its sources changed.
page: web-demo/dist/index.html ; @:

SOURCES = $(shell find $(1) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/pkg/*')

wasm/dist/index.js: $(call SOURCES,core wasm) Cargo.toml Cargo.lock package-lock.json
	npm run build --workspace pontoon-db
	@touch $@

web-demo/dist/index.html: wasm/dist/index.js $(call SOURCES,web-demo) package-lock.json
	npm run build --workspace pontoon-demo
	@touch $@

docs: page ## the API reference of the npm package, in docs/api/html
	npm run build --workspace pontoon-api-reference

test: ## run every test, real browsers included, with the minutes of each stage (installs browsers on Debian as root)
	@node scripts/test.mjs $(STAGES)

check: ## format, lints with warnings as errors, types, and the unit tests of core and parser: the quick look
	cargo fmt --all --check
	@scripts/setup.sh --build
	cargo clippy --quiet --locked --all-targets -- -D warnings
	cargo clippy --quiet --locked --all-targets --target wasm32-unknown-unknown -p pontoon-wasm -p pontoon-wasm-parser -p pontoon-wasm-sql -- -D warnings
	@$(MAKE) --no-print-directory page
	npm run check --workspaces --if-present
	node scripts/test.mjs units

bench: ## the short set of figures, one JSON object a line
	@scripts/setup.sh --build
	@$(MAKE) --no-print-directory page >&2
	$(BENCH) short
	$(BENCH) size
	cargo bench --locked --quiet -p pontoon-supernode --bench traffic -- relay

conformance: ## SQLite's sqllogictest in $SQLLOGICTEST_DIR by script, TPC-H, 100,000 random statements: on one node and on many
	CONFORMANCE=1 cargo test --locked -p pontoon-tests --test sql -- logic:: tpch:: --nocapture
	FUZZ_STATEMENTS=100000 cargo test --locked -p pontoon-tests --test sql -- fuzz:: --nocapture

soak: ## the long runs: a thousand nodes over 50 seeds, the mixed faults over 1000
	SOAK_SEEDS=1000 cargo test --release --locked -p pontoon-tests --test faults -- --nocapture
	SOAK_SEEDS=50 cargo test --release --locked -p pontoon-tests --test scale -- --nocapture

fuzz: ## libFuzzer over what strangers hand over, 10,000,000 executions of each target (RUNS=, TARGET=, SECONDS_MAX=)
	@node scripts/fuzz.mjs

audit: ## licences, bans, sources and advisories of crates, advisories of npm packages (over the network)
	@scripts/audit.sh

nat-lab: ## browsers behind NATs, in network namespaces (Linux, as root, with iproute2 and nftables)
	@scripts/setup.sh --build
	@$(MAKE) --no-print-directory page
	cargo build --locked -p pontoon-supernode
	node tests/nat/lab.mjs $(CASE) $(if $(BROWSER),--browser $(BROWSER))

image: ## the supernode's container image, with docker, podman or buildah, and musl-gcc; fetches no image
	@scripts/image.sh

clean: ## remove what was built (not the installed tools)
	cargo clean
	rm -rf wasm/dist wasm/pkg wasm/parser/pkg wasm/sql/pkg web-demo/dist web-demo/test-results web-demo/playwright-report
