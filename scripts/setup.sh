#!/usr/bin/env bash
# Installs what the build needs and this machine lacks; does nothing, in a second, where all is there.
#   scripts/setup.sh --build    what building needs: wasm target, wasm-bindgen, npm packages
#   scripts/setup.sh --fuzz     cargo-fuzz alone
#   scripts/setup.sh --audit    cargo-deny alone
#   scripts/setup.sh            and what the tests need: lint components, wasm-pack, Chromium and Firefox, their drivers
#                               (the browsers from Debian, as root; elsewhere it says what is missing)
# Tools that are missing or of another version go to .tools/ in the repository, never elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly WASM_PACK=0.15.1
readonly GECKODRIVER=0.37.1 # Firefox's driver, which Debian does not have
readonly CARGO_FUZZ=0.13.2
readonly CARGO_DENY=0.20.2
readonly WASM_BINDGEN=0.2.130 # the same as wasm-bindgen in Cargo.toml

PATH="$PWD/.tools/bin:$PATH"

fail() {
    echo "setup: $*" >&2
    exit 1
}

mode=${1:-all}
case $mode in
    all | --build | --fuzz | --audit) ;;
    *) fail "no option '$mode'" ;;
esac

command -v rustup >/dev/null || fail "rustup is missing: see https://rustup.rs"

# tool <crate> <version> <optimisation> [flags]: `cargo install`: these run for seconds and compile for minutes.
tool() {
    local crate=$1 version=$2 level=$3 command=${1%-cli}
    shift 3
    # Some say more after the version.
    if [[ "$("$command" --version 2>/dev/null) " == "$command $version"[[:space:]]* ]]; then return; fi
    echo "setup: building $crate $version into .tools/"
    env -u CARGO_TARGET_DIR \
        CARGO_PROFILE_RELEASE_OPT_LEVEL="$level" CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=64 \
        cargo install "$crate" --version "$version" --root .tools --target-dir .tools/target --force --quiet "$@"
}

alone() {
    tool "$@" 1 --locked
    rm -rf .tools/target
    exit
}

case $mode in
    --fuzz) alone cargo-fuzz "$CARGO_FUZZ" ;;
    --audit) alone cargo-deny "$CARGO_DENY" ;;
esac

command -v node >/dev/null || fail "Node.js 20.19 or newer is missing"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    fail "Node.js 20.19 or newer is needed, this is $(node --version)"

# --- fetched while cargo compiles the tools: npm packages, browsers --------------------------------------------------

# npm ci takes seconds, so it runs only when the lockfile differs from what was installed.
npm_packages() {
    local stamp=node_modules/.installed-lockfile
    if ! cmp --silent package-lock.json "$stamp"; then
        npm ci --no-progress
        cp package-lock.json "$stamp"
    fi
}

browsers() {
    if command -v chromium && command -v chromedriver && command -v firefox-esr; then
        return
    fi
    local packages=(chromium chromium-driver firefox-esr)
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}"
    else
        echo "setup: the tests need the commands 'chromium' and 'chromedriver' (of one version) and 'firefox-esr' in PATH;" >&2
        echo "setup: on Debian: sudo apt-get install ${packages[*]}" >&2
        return 1
    fi
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
    npm_packages
    if [ "$mode" = all ]; then browsers; fi
} >"$log" 2>&1 &
fetching=$!

# --- Rust ------------------------------------------------------------------------------------------------------------

grep -qx wasm32-unknown-unknown <<<"$(rustup target list --installed)" || rustup target add wasm32-unknown-unknown
if [ "$mode" = all ]; then
    for component in clippy rustfmt; do
        grep -q "^$component" <<<"$(rustup component list --installed)" || rustup component add "$component"
    done
fi

if [ "$mode" = all ]; then
    tool wasm-pack "$WASM_PACK" 0 --locked
    tool geckodriver "$GECKODRIVER" 0 --locked
fi
tool wasm-bindgen-cli "$WASM_BINDGEN" 1 # without --locked: its lockfile names a crate version that was withdrawn
rm -rf .tools/target

if ! wait "$fetching"; then
    cat "$log" >&2
    fail "npm packages or browsers could not be installed"
fi
