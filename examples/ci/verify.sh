#!/bin/sh
# The release gate: is everything in the published image encrypted, does its key open it, and does the
# policy let in whom it should? The exit status is proppush verify's.
# usage: verify.sh HOST/NAME@DIGEST [OPTIONS of proppush verify]
set -eu
[ $# -ge 1 ] || { echo "usage: verify.sh HOST/NAME@DIGEST [OPTIONS]" >&2; exit 2; }
here=$(dirname "$0")
ref=$1
shift
: "${PROP_KBS_URL:?the URL of the key broker}"

. "$here/login.sh"
[ -z "${KBS_CA:-}" ] || set -- "$@" --ca-cert "$KBS_CA"
proppush verify "$ref" "$@"
