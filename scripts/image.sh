#!/bin/sh
# The image of deploy/Dockerfile from a program that is built here: no image is fetched. With docker,
# podman or buildah, whichever is there.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "image: $1" >&2
  exit 1
}

# Docker may be here without its daemon.
for engine in docker podman buildah ""; do
  [ -z "$engine" ] && fail "neither docker nor podman nor buildah answers here (Debian: apt-get install buildah)"
  "$engine" info >/dev/null 2>&1 && break
done
command -v musl-gcc >/dev/null || fail "musl-gcc is missing (Debian: apt-get install musl-tools)"
certificates=/etc/ssl/certs/ca-certificates.crt
[ -f "$certificates" ] || fail "$certificates is missing (Debian: apt-get install ca-certificates)"

target="$(uname -m)-unknown-linux-musl"
rustup target add "$target"
cargo build --release --locked -p pontoon-supernode --target "$target"

files=target/image
rm -rf "$files"
install -D "${CARGO_TARGET_DIR:-target}/$target/release/pontoon-supernode" "$files/pontoon-supernode"
install -D -m 0644 "$certificates" "$files/etc/ssl/certs/ca-certificates.crt"
install -d -m 0700 "$files/data"
# OCI's format has no health check.
format=""
[ "$engine" = docker ] || format="--format=docker"
DOCKER_BUILDKIT=1 "$engine" build $format --build-arg FILES=prebuilt -f deploy/Dockerfile -t pontoon-supernode .
