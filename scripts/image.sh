#!/bin/sh
# The image of deploy/Dockerfile from a program that is built here: no registry is asked for anything. With docker,
# podman or buildah, whichever is there.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "image: $1" >&2
  exit 1
}

for engine in docker podman buildah ""; do
  [ -z "$engine" ] && fail "neither docker nor podman nor buildah is here (Debian: apt-get install buildah)"
  command -v "$engine" >/dev/null && break
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
"$engine" build --build-arg FILES=prebuilt -f deploy/Dockerfile -t pontoon-supernode .
