#!/bin/sh
# The whole pipeline where there is only a shell: build, publish, verify, and the command that runs what
# was published, pinned to its digest, as the last line.
# usage: pipeline.sh HOST/NAME:TAG        (in the folder with add.wat and policy.toml)
set -eu
[ $# = 1 ] || { echo "usage: pipeline.sh HOST/NAME:TAG" >&2; exit 2; }
here=$(dirname "$0")

wat2wasm add.wat -o add.wasm
"$here/publish.sh" add.wasm "$1"
pinned=$(sed -n 's/^PINNED=//p' published.env)
"$here/verify.sh" "$pinned" --policy policy.toml
sed -n 's/^RUN=//p' published.env
