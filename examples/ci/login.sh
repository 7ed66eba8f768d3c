# Sourced by publish.sh and verify.sh: a private folder that is gone at the end, and a login to the
# registry of $ref in it, when REGISTRY_PASSWORD is set. No secret is in argv, in a log, or kept.
umask 077
private=$(mktemp -d "${TMPDIR:-/tmp}/prop-ci.XXXXXX")
trap 'rm -rf "$private"' EXIT
trap 'exit 130' INT TERM
REGISTRY_AUTH_FILE=$private/auth.json
export REGISTRY_AUTH_FILE
printf '{}' >"$REGISTRY_AUTH_FILE"
registry=${ref#docker://}
if [ -n "${REGISTRY_PASSWORD:-}" ]; then
    printf '%s' "$REGISTRY_PASSWORD" |
        proppush login --quiet --username "${REGISTRY_USER:?the registry user}" --password-stdin "${registry%%/*}" >&2
    unset REGISTRY_PASSWORD
fi
