#!/bin/sh
# The VM from end to end on this machine: a guest image, its launch measurement before it ever ran, a
# policy pinned to that measurement, and a boot that attests and prints a result. Every step shows the
# command a user would type. Starts its servers on free loopback ports and stops them at the end.
# usage: demo-vm.sh BIN-DIR [--firmware FILE]     a firmware that measures the kernel (SNP)
set -eu

bin=$(cd "${1:-build/bin}" && pwd)
[ $# -gt 0 ] && shift
here=$(cd "$(dirname "$0")" && pwd)
firmware=
[ "${1:-}" = --firmware ] && firmware=$(realpath "$2")
kernel=$("$here/../packaging/fetch-kernel") || exit 9
PATH=$bin:$PATH
demo=demo-vm
. "$here/demo-lib.sh"

# One member of a JSON object, a text.
member() { sed -n "s/.*\"$2\": *\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1; }

cd "$work"
cp "$here"/modules/add.wasm .

step "a key broker with TLS, and a registry (development only: it believes sample evidence)"
propkbs serve --listen 127.0.0.1:0 --tls --state kbs >kbs.out 2>kbs.log &
kbs_pid=$!
kbs=$(await kbs.out 'listening on ')
export PROP_ADMIN_KEY="$work/kbs/admin.key"
cat >registry.yml <<YML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/blobs}}
http: {addr: "127.0.0.1:0"}
YML
docker-registry serve registry.yml >registry.log 2>&1 &
registry_pid=$!
port=$(await registry.log 'listening on 127.0.0.1:' | tr -dc '0-9 ' | cut -d' ' -f1)
echo "propkbs serve: $kbs   docker-registry: 127.0.0.1:$port   (both are 10.0.2.2 for the guest)"
kbs_args="--kbs $kbs --ca-cert kbs/ca.pem"

step "a key in the broker, an encrypted module in the registry"
run propkey gen kek.bin
# shellcheck disable=SC2086
run propkey set default/key/addition kek.bin $kbs_args
run propenc encrypt add.wasm oci:image:encrypted \
    -r provider:attestation-agent:keypath=kek.bin::keyid=kbs:///default/key/addition::algorithm=A256GCM
run proppush push oci:image:encrypted "docker://127.0.0.1:$port/demo/addition:encrypted"

step "build the guest: Debian's cloud kernel (not installed, only read), propcvm, and nothing else"
run propcvm vm build -o guest --kernel "$kernel" --tee sample --console-result \
    --kbs "https://10.0.2.2:${kbs##*:}" --ca-cert kbs/ca.pem -- \
    run "docker://10.0.2.2:$port/demo/addition:encrypted" --insecure-registry "10.0.2.2:$port" \
    --invoke add -- 10 20

step "measure it for SEV-SNP, before it ever ran"
if [ -z "$firmware" ]; then
    cp "$here/../tests/vectors/measure/fw-kernel-hashes.bin" synthetic-firmware.bin
    firmware=synthetic-firmware.bin
    echo "No firmware of Debian 12 measures a kernel. This one is synthetic: made for tests, it has the"
    echo "tables that count and boots nothing. With a real one: make demo-vm FIRMWARE=OVMF.amdsev.fd"
fi
run propcvm vm measure guest --mode snp --firmware "$firmware"
propcvm vm measure guest --mode snp --firmware "$firmware" --json --quiet >measured.json

step "its reference values and a rule for it go to the key broker"
# shellcheck disable=SC2086
run propkey reference-value import measured.json $kbs_args
cat >policy.toml <<TOML
version = 1

[[rule]]
comment = "this guest, as it was measured, on SEV-SNP hardware"
resource = "default/key/addition"
tee = "snp"
measured = true
TOML
cat policy.toml
run propkey policy build policy.toml --measured measured.json -o policy.rego
# shellcheck disable=SC2086
run propkey policy set policy.rego $kbs_args --allow-wider

step "an image with one byte changed measures to something else"
cp guest/initrd.img changed.img
printf 'X' | dd of=changed.img bs=1 seek=200000 conv=notrunc 2>/dev/null
set -- propcvm vm measure --mode snp --firmware "$firmware" --kernel guest/vmlinuz --initrd changed.img \
    --append "$(member guest/vm.json append)" --init-data guest/initdata.toml --json
show "$@"
"$@" >changed.json
good=$(member measured.json launch_digest)
changed=$(member changed.json launch_digest)
init_data=$(member measured.json host_data)
echo "built:   $good"
echo "changed: $changed"

step "the policy, asked with made tokens: this guest, the changed one, any other"
{
    echo 'version = 1'
    echo 'default.resource = "default/key/addition"'
    for guest in "built $good" "changed $changed" "other $(printf '%096d' 0)"; do
        cat <<TOML

[guest.${guest% *}]
status = "affirming"
evidence.init_data = "$init_data"
[guest.${guest% *}.evidence.snp]
measurement = "${guest#* }"
policy_debug_allowed = false
policy_migrate_ma = false
TOML
    done
    for want in "built allow" "changed deny" "other deny"; do
        printf '\n[[case]]\nname = "the %s guest: %s"\nguest = "%s"\nexpect = "%s"\n' \
            "${want% *}" "${want#* }" "${want% *}" "${want#* }"
    done
} >cases.toml
run propkey policy test policy.rego cases.toml -v

step "boot it here: without SNP hardware it has sample evidence only, and the broker denies"
refused 105 propcvm vm run guest --mode none --accel tcg --quiet

step "FOR THIS DEMO ONLY: a separate rule lets sample evidence in"
cat >>policy.toml <<TOML

[[rule]]
comment = "the demo's laptop: proves nothing, never in production"
resource = "default/key/addition"
tee = "sample"
TOML
run propkey policy build policy.toml --measured measured.json -o policy.rego --force
# shellcheck disable=SC2086
run propkey policy set policy.rego $kbs_args --allow-wider

step "boot it again: network, attestation over TLS with the pinned certificate, pull, run"
run propcvm vm run guest --mode none --accel tcg --console console.txt
tr -d '\r' <console.txt | grep -a -x 30 || { echo "demo-vm: no 30 on the console" >&2; exit 1; }

step "done"
