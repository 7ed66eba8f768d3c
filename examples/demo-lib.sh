# What the demos share; sourced by them with $demo set to the demo's name: a home of its own in $work,
# commands shown as they are run, and servers (kbs_pid, registry_pid) stopped at the end.
# shellcheck shell=sh
work=$(mktemp -d "${TMPDIR:-/tmp}/prop-$demo.XXXXXX")
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
    [ "$status" = 0 ] || echo "$demo: failed (status $status)" >&2
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
    [ "$got" = "$want" ] || { echo "$demo: status $got where $want was expected" >&2; exit 1; }
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
    echo "$demo: no answer from the server; its log:" >&2; cat "$1" >&2; return 1
}
