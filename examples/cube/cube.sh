#!/bin/sh
# Cube's HAL commands for a guest that is measured as a whole (README.md here).
# usage: cube.sh [--dry-run] build|measure|check|start|start_cvm|start_sev|start_tdx
set -eu

dir=${CUBE_DIR:-/etc/cube}
dry=
[ "${1:-}" != --dry-run ] || { dry=--dry-run; shift; }
[ $# = 1 ] || { echo "usage: cube.sh [--dry-run] build|measure|check|start|start_cvm|start_sev|start_tdx" >&2; exit 2; }

kernel=${CUBE_KERNEL:-}
[ -n "$kernel" ] || [ ! -e /etc/cube/bzImage ] || kernel=/etc/cube/bzImage

run() { # MODE CID MEMORY CPUS [more]
    mode=$1 cid=$2 memory=$3 cpus=$4
    shift 4
    set -- --mode "$mode" --name cube-ai-vm --memory "${CUBE_MEMORY:-$memory}" --cpus "${CUBE_CPUS:-$cpus}" \
        --forward 6190:22 --forward 6193:7001 --dns 8.8.8.8 "$@"
    [ -z "${CUBE_FIRMWARE:-}" ] || set -- "$@" --firmware "$CUBE_FIRMWARE"
    [ -z "${CUBE_VSOCK:-}" ] || set -- "$@" --vsock-cid "$cid"
    [ -z "${CUBE_ASSUME_QEMU:-}" ] || [ -z "$dry" ] || set -- "$@" --assume-qemu "$CUBE_ASSUME_QEMU"
    exec propcvm vm run "$dir" "$@" $dry
}

case $1 in
build)
    set -- --name cube-ai-vm -o "$dir"
    [ -z "$kernel" ] || set -- "$@" --kernel "$kernel"
    [ -z "${CUBE_MODULES:-}" ] || set -- "$@" --modules "$CUBE_MODULES"
    [ -z "${CUBE_KBS:-}" ] || set -- "$@" --kbs "$CUBE_KBS"
    [ -z "${CUBE_CA:-}" ] || set -- "$@" --ca-cert "$CUBE_CA"
    [ -z "${CUBE_TEE:-}" ] || set -- "$@" --tee "$CUBE_TEE"
    [ -z "${CUBE_AGENT_ENV:-}" ] || set -- "$@" --file agent.env="$CUBE_AGENT_ENV"
    # shellcheck disable=SC2086  # words are meant
    exec propcvm vm build "$@" -- ${CUBE_RUN:-serve}
    ;;
measure)
    exec propcvm vm measure "$dir" --mode snp --vcpus "${CUBE_CPUS:-4}" --vcpu-type EPYC-v4 \
        --firmware "${CUBE_FIRMWARE:?names the firmware}" --json
    ;;
check) # as HAL's: are the files there (and, here, the ones that were built)?
    dry=--dry-run
    run none 3 10240M 4 --accel tcg >/dev/null
    ;;
start) run none 198 10240M 4 --cpu "${CUBE_CPU:-max}" ;;
start_cvm | start_sev) run snp 198 10240M 4 --cpu EPYC-v4 ;;
start_tdx) run tdx 6 20G 16 ;;
*) echo "cube.sh: there is no command '$1'" >&2; exit 2 ;;
esac
