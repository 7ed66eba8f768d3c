#!/bin/sh
# The main job from end to end on this machine: a development KBS, Debian's docker-registry (or a
# layout folder with DEMO_REGISTRY=oci), an encrypted module, a policy, and a runner that attests.
# Every step shows the command a user would type. Starts its servers on free loopback ports and
# stops them at the end. usage: demo.sh BIN-DIR
set -eu

bin=$(cd "${1:-build/bin}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$bin:$PATH
work=$(mktemp -d "${TMPDIR:-/tmp}/prop-demo.XXXXXX")
export HOME="$work/home" XDG_DATA_HOME="$work/data" XDG_STATE_HOME="$work/state" \
    XDG_CONFIG_HOME="$work/config" XDG_CACHE_HOME="$work/cache"
mkdir -p "$HOME"
kbs_pid= registry_pid=

stop() {
    status=$?
    trap - EXIT INT TERM
    for pid in $kbs_pid $registry_pid; do
        kill "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    rm -rf "$work"
    [ "$status" = 0 ] || echo "demo: failed (status $status)" >&2
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }
# Show a command as it would be typed.
show() {
    line='$'
    for word; do
        case $word in
        *[!A-Za-z0-9_./:=@%+,-]*|'') line="$line '$word'" ;;
        *) line="$line $word" ;;
        esac
    done
    printf '%s\n' "$line"
}
run() { show "$@"; "$@"; }
# Run a command that has to fail with this status.
refused() {
    want=$1; shift
    show "$@"
    got=0; "$@" || got=$?
    [ "$got" = "$want" ] || { echo "demo: status $got where $want was expected" >&2; exit 1; }
    echo "(refused, as it should be: status $got)"
}
# Wait for a line in a server's log; prints the rest of that line.
await() {
    i=0
    while [ $i -lt 300 ]; do
        line=$(sed -n "s|.*$2||p" "$1" 2>/dev/null | head -n 1)
        [ -n "$line" ] && { echo "$line"; return 0; }
        sleep 0.1; i=$((i + 1))
    done
    echo "demo: no answer from the server; its log:" >&2; cat "$1" >&2; return 1
}

cd "$work"
cp "$here"/modules/add.wasm "$here"/modules/greet.wasm "$here"/modules/wc.wasm .

step "a key broker for this laptop (development only: it believes sample evidence)"
propkbs serve --listen 127.0.0.1:0 --state kbs >kbs.out 2>kbs.log &
kbs_pid=$!
PROP_KBS_URL=$(await kbs.out 'listening on '); export PROP_KBS_URL
export PROP_ADMIN_KEY="$work/kbs/admin.key"
echo "propkbs serve: $PROP_KBS_URL"

if [ "${DEMO_REGISTRY:-docker}" = oci ]; then
    ref=oci:registry:encrypted
    wasi=oci:registry:wc
    echo "registry: the layout folder 'registry'"
else
    step "a registry: Debian's docker-registry"
    cat >registry.yml <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/blobs}}
http: {addr: "127.0.0.1:0"}
YML
    docker-registry serve registry.yml >registry.log 2>&1 &
    registry_pid=$!
    port=$(await registry.log 'listening on 127.0.0.1:' | tr -dc '0-9 ' | cut -d' ' -f1)
    echo "docker-registry: 127.0.0.1:$port"
    ref=docker://127.0.0.1:$port/demo/addition:encrypted
    wasi=docker://127.0.0.1:$port/demo/wc:encrypted
fi

step "a key, and where it lives in the key broker"
run propkey gen kek.bin
run propkey set default/key/addition kek.bin

step "encrypt the module and push it"
run propenc encrypt add.wasm oci:image:encrypted \
    -r provider:attestation-agent:keypath=kek.bin::keyid=kbs:///default/key/addition::algorithm=A256GCM
run proppush push oci:image:encrypted "$ref"
run propenc inspect "$ref"

step "run it: the broker's default policy denies sample evidence"
refused 105 propcvm run "$ref" --tee sample --invoke add -- 10 20

step "a policy that lets sample evidence have this one key (tests only)"
cat >policy.toml <<TOML
version = 1

[[rule]]
comment = "the demo's laptop"
resource = "default/key/addition"
tee = "sample"
TOML
run propkey policy build policy.toml -o policy.rego
run propkey policy set policy.rego --allow-wider

step "run it again: attest, get the key, decrypt in memory, run"
run propcvm run "$ref" --tee sample --invoke add -- 10 20

step "publish does all of that as one transaction (a WASI command this time)"
run proppush publish wc.wasm "$wasi" --kid kbs:///default/key/wc \
    --policy-doc policy.toml --allow tee=sample --tee sample
printf 'to be or not to be\n' >words.txt
run propcvm run "$wasi" --tee sample --stdin words.txt

step "a component, with WAVE values"
run propcvm run greet.wasm --allow-plain --invoke greet -- '"Ada"'

step "a tampered layer is refused, and nothing of it runs"
cp -r image tampered
layer=$(find tampered/blobs/sha256 -type f -size -2 ! -name '44136fa3*' -exec ls -S {} + | tail -n 1)
printf 'X' | dd of="$layer" bs=1 seek=8 conv=notrunc 2>/dev/null
refused 104 propcvm run oci:tampered:encrypted --tee sample --invoke add -- 10 20

step "done"
