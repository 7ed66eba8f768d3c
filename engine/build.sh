#!/bin/sh
# Builds the Rust part of the engine once and keeps it.
#
#   sh engine/build.sh --check      is there a Rust that can build it? (quick; else exit 1)
#   sh engine/build.sh BUILDDIR     put BUILDDIR/lib/libprop_engine.a and BUILDDIR/include/ there
#
# The archive and Wasmtime's headers lie in ${XDG_CACHE_HOME:-~/.cache}/prop/engine-<hash>/, where
# the hash covers everything that goes in; BUILDDIR gets links to them. Cargo's own target folder
# stays in the cache too, so that a change of src/*.rs compiles nothing but this crate.
# WASMTIME_PREFIX=DIR takes Wasmtime's C API (include/ and lib/libwasmtime.a) from DIR instead of
# compiling it.
set -eu

need_minor=95 # of Rust 1.x: wasmtime-c-api-impl 48 states it
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "engine: $*" >&2; }

new_enough() { # "rustc 1.95.0 (...)" on stdin
    read -r _ version _ || return 1
    case $version in
        1.*) minor=${version#1.}; minor=${minor%%.*}; [ "$minor" -ge "$need_minor" ] ;;
        [2-9]*) true ;;
        *) false ;;
    esac
}

# Sets `cargo` and `rustc` to commands that work, or fails.
find_rust() {
    cargo=cargo rustc=rustc
    if command -v cargo >/dev/null 2>&1 && rustc --version 2>/dev/null | new_enough; then
        return 0
    fi
    for bin in "${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin"; do
        if [ -x "$bin/cargo" ] && "$bin/rustc" --version 2>/dev/null | new_enough; then
            PATH=$bin:$PATH
            return 0
        fi
        PATH=$PATH:$bin
    done
    command -v rustup >/dev/null 2>&1 || return 1
    toolchain=1.$need_minor
    cargo="rustup run $toolchain cargo" rustc="rustup run $toolchain rustc"
    if $rustc --version 2>/dev/null | new_enough; then
        return 0
    fi
    say "installing Rust $toolchain through rustup"
    rustup toolchain install "$toolchain" --profile minimal >&2 &&
        $rustc --version 2>/dev/null | new_enough
}

require_rust() {
    if ! find_rust; then
        found=$(rustc --version 2>/dev/null || echo none)
        say "Rust >= 1.$need_minor is needed to build the engine (found: $found); install it with" \
            "rustup, or run 'make no-engine' for the tools that do without"
        exit 1
    fi
}

case ${1:-} in
    --check) require_rust; exit 0 ;;
    '' | -*) echo "usage: sh engine/build.sh --check | BUILDDIR" >&2; exit 2 ;;
esac
require_rust

mkdir -p "$1"
builddir=$(cd "$1" && pwd)
prefix=${WASMTIME_PREFIX:-}
if [ -n "$prefix" ]; then
    prefix=$(cd "$prefix" && pwd)
    for f in include/wasmtime.h lib/libwasmtime.a; do
        [ -e "$prefix/$f" ] || { say "WASMTIME_PREFIX has no $f: '$prefix'"; exit 1; }
    done
fi
flags=${prefix:+--no-default-features}
cache=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/prop
hash=$({
    echo "layout 2 flags=$flags rustflags=${RUSTFLAGS:-}"
    $rustc -vV
    cd "$here" && cat Cargo.toml Cargo.lock src/*.rs
} | sha256sum | cut -c1-16)
kept=$cache/engine-$hash

# Wasmtime's headers as its own build installs them; conf.h says what was built in.
install_headers() { # DEST
    manifest=$($cargo metadata --format-version 1 --locked --manifest-path "$here/Cargo.toml" |
        grep -o '"manifest_path":"[^"]*/wasmtime-c-api-impl-[^"]*"' | head -n 1 | cut -d'"' -f4)
    cp -R "$(dirname "$manifest")/include" "$1"
    features=$(sed -n '/^\[dependencies.wasmtime-c-api-impl\]/,$s/^features = \[\(.*\)\]/\1/p' \
        "$here/Cargo.toml" | tr -d '" ' | tr 'a-z,-' 'A-Z _')
    script='s/^\(#cmakedefine\) \(WASMTIME_FEATURE_[A-Z0-9_]*\)$/\/\* \2 is not built in *\//'
    for f in $features; do
        script="s/^#cmakedefine \(WASMTIME_FEATURE_$f\)\$/#define \1/;$script"
    done
    sed "$script" "$1/wasmtime/conf.h.in" >"$1/wasmtime/conf.h"
    find "$1" \( -name '*.hh' -o -name '*.in' \) -exec rm -f {} +
}

build() {
    part=$cache/engine-$hash.part.$$
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$part/lib"
    say "building the Rust part (minutes the first time; kept in $kept)"
    # shellcheck disable=SC2086
    $cargo build --release --locked $flags --manifest-path "$here/Cargo.toml" \
        --target-dir "$cache/engine-target"
    # Copied, not linked: cargo rewrites its own file at the next build.
    cp "$cache/engine-target/release/libprop_engine.a" "$part/lib/"
    if [ -n "$prefix" ]; then mkdir "$part/include"; else install_headers "$part/include"; fi
    mv "$part" "$kept"
    trap - EXIT INT TERM
}

mkdir -p "$cache"
if [ ! -e "$kept/lib/libprop_engine.a" ]; then
    exec 9>"$cache/engine.lock"
    flock 9 # another make may be at it: wait, then look again
    [ -e "$kept/lib/libprop_engine.a" ] || build
    exec 9>&-
fi

archive=$kept/lib/libprop_engine.a
mkdir -p "$builddir/lib" "$builddir/include"
ln -sfn "$archive" "$builddir/lib/libprop_engine.a"
rm -f "$builddir/lib/libwasmtime.a"
[ -z "$prefix" ] || ln -sfn "$prefix/lib/libwasmtime.a" "$builddir/lib/libwasmtime.a"
for h in "${prefix:-$kept}"/include/*; do
    ln -sfn "$h" "$builddir/include/${h##*/}"
done
