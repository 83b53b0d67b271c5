#!/bin/sh
# Asks a supernode whatever its OpenAPI document allows, and what it does not allow (schemathesis, a Python program), and
# fails on a 5xx that says of itself that it is a fault, and on any status or content that is not documented.
# Needs a built pontoon-supernode (SUPERNODE names another one) and schemathesis 4, or uvx, which fetches it.
set -eu
supernode=${SUPERNODE:-target/debug/pontoon-supernode}
if command -v schemathesis > /dev/null; then
  run=schemathesis
elif command -v uvx > /dev/null; then
  run="uvx --from schemathesis==4.32.5 schemathesis"
else
  echo "skipped: neither schemathesis nor uvx is here (pip install schemathesis==4.32.5)" >&2
  exit 0
fi
data=$(mktemp -d)
"$supernode" --listen 127.0.0.1:0 --data "$data" --open --log warn > "$data/ready" &
pid=$!
trap 'kill $pid; rm -rf "$data"' EXIT
until address=$(sed -n 's#.*open http://\([^/]*\)/.*#\1#p' "$data/ready") && [ -n "$address" ]; do
  kill -0 $pid
  sleep 0.2
done
# A supernode that founds a network answers when it has waited for others.
until curl -fs "http://$address/healthz" | grep -q '"joined":true'; do sleep 0.2; done
# It keeps notes where it runs. A stream of events has no end that could be waited for.
cd "$data"
$run run "http://$address/v1/openapi.json" --exclude-path /v1/live --max-examples "${EXAMPLES:-100}" --seed 1 \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
