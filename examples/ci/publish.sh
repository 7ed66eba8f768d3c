#!/bin/sh
# Encrypt a module, push it, and hand its key to the key broker, as one transaction.
# usage: publish.sh MODULE HOST/NAME:TAG [OPTIONS of proppush publish]
#
# Needs   PROP_KBS_URL      the key broker
#         KBS_ADMIN_TOKEN   an admin token that may upload keys (README.md)
# Takes   REGISTRY_USER, REGISTRY_PASSWORD; KBS_CA (PEM file); ESCROW_KEY (public key, PEM file)
# Leaves  published.json    all of the result
#         published.env     PINNED= and RUN=, for what comes next
set -eu
[ $# -ge 2 ] || { echo "usage: publish.sh MODULE HOST/NAME:TAG [OPTIONS]" >&2; exit 2; }
here=$(dirname "$0")
module=$1 ref=$2
shift 2
: "${PROP_KBS_URL:?the URL of the key broker}" "${KBS_ADMIN_TOKEN:?an admin token}"

. "$here/login.sh"
printf '%s\n' "$KBS_ADMIN_TOKEN" >"$private/admin.token"
unset KBS_ADMIN_TOKEN

set -- --admin-token "$private/admin.token" "$@"
[ -z "${KBS_CA:-}" ] || set -- "$@" --ca-cert "$KBS_CA"
[ -z "${ESCROW_KEY:-}" ] || set -- "$@" --recipient "jwe:$ESCROW_KEY"
proppush publish "$module" "$ref" "$@" --json >"$private/published.json"

umask 022
cp "$private/published.json" published.json
member() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p" published.json; }
pinned=$(member pinned)
[ -n "$pinned" ] || { echo "publish.sh: no pinned reference in published.json" >&2; exit 1; }
printf 'PINNED=%s\nRUN=%s\n' "$pinned" "$(member run)" >published.env
cat published.env
