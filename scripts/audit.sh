#!/usr/bin/env bash
# Audits what Pontoon is built of: licences, sources, bans and advisories of crates (deny.toml), advisories of npm packages.
# Advisories come over the network; where GitHub is not reached, git can be told of a copy of the database:
#   GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url.file:///PATH/TO/advisory-db.insteadOf \
#   GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db make audit
# What was found is in docs/decisions/038-audits.md.
set -uo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh --audit || exit 1
PATH="$PWD/.tools/bin:$PATH"
failed=()
cargo deny --offline --log-level error check licenses bans sources || failed+=("licences, bans and sources of crates")
cargo deny --log-level error check advisories || failed+=("advisories of crates")
npm audit --package-lock-only || failed+=("advisories of npm packages")
for what in "${failed[@]}"; do echo "audit: failed, or not done: $what" >&2; done
[ ${#failed[@]} = 0 ]
