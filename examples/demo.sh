#!/bin/sh
# The main job from end to end on this machine: a development KBS, Debian's docker-registry (or a
# layout folder with DEMO_REGISTRY=oci), an encrypted module, a policy, and a runner that attests.
# Every step shows the command a user would type. Starts its servers on free loopback ports and
# stops them at the end. usage: demo.sh BIN-DIR
set -eu

bin=$(cd "${1:-build/bin}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$bin:$PATH
demo=demo
. "$here/demo-lib.sh"

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
