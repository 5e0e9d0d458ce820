# Every script sources this file: paths, versions, and the Rust toolchain for server and browser.
# HOLDFAST_TOOLCHAIN=debian forces Debian's own toolchain.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Tools that are built or fetched once for each machine, not for each clone.
tools="${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/tools"

# Absolute, so that cargo and the scripts use the same directory.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
[[ $CARGO_TARGET_DIR = /* ]] || CARGO_TARGET_DIR="$root/$CARGO_TARGET_DIR"

wasm=wasm32-unknown-unknown
wasm_linker=wasm-ld-22

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Prints the version of a package in Cargo.lock.
locked_version() {
    awk -v name="name = \"$1\"" '$0 == name { getline; gsub(/version = |"/, ""); print; exit }' Cargo.lock
}

# Sets up for `run`, `check`, `test` or `bench`, unless a script that called this one has done it already.
set_up() {
    case "${HOLDFAST_SETUP_DONE:-}:$1" in
        "$1:$1" | test:check | check:run | test:run | bench:run) return ;;
    esac
    scripts/setup "$1"
    export HOLDFAST_SETUP_DONE=$1
}

# Tests that passed only when they were tried again, a line each: `scripts/test` writes it, the full torture run fails
# where it is not empty.
flaky=$CARGO_TARGET_DIR/flaky

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Succeeds if this rustc is recent enough and has a standard library for WebAssembly.
rustc_serves() {
    local version lib
    version=$("$1" -V 2>/dev/null) || return 1
    [[ $(printf '%s\n' "$rust_needed" "$(cut -d' ' -f2 <<<"$version")" | sort -V | head -n 1) == "$rust_needed" ]] || return 1
    lib=$("$1" --print sysroot)/lib/rustlib/$wasm
    compgen -G "$lib/lib/libstd-*.rlib" >/dev/null || return 1
    # A library that set-up built works only with the compiler that built it.
    [[ ! -f $lib/built-by || $(<"$lib/built-by") == "$version" ]]
}

# Chooses the toolchain for this shell. Fails and changes nothing if set-up has to install one.
use_toolchain() {
    case "${HOLDFAST_TOOLCHAIN:-any}" in
        any) rustc_serves rustc && toolchain_rustc=rustc || toolchain_rustc=/usr/bin/rustc ;;
        debian) toolchain_rustc=/usr/bin/rustc ;;
        *) die "HOLDFAST_TOOLCHAIN is '$HOLDFAST_TOOLCHAIN'; it may be 'debian', or not set" ;;
    esac
    if [[ $toolchain_rustc == /usr/bin/rustc ]]; then
        rustc_serves /usr/bin/rustc && [[ -x /usr/bin/cargo ]] || return 1
        PATH=/usr/bin:$PATH
    fi
    # The compilers of distributions come without rust-lld.
    if [[ $(command -v rustc) == /usr/bin/rustc ]] && have "$wasm_linker"; then
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$wasm_linker
    fi
}

# cargo-deny, fetched in exactly this version if none is installed.
cargo_deny_version=0.20.2
cargo_deny="$tools/cargo-deny-$cargo_deny_version/cargo-deny"
deny() { if [[ -x $cargo_deny ]]; then "$cargo_deny" "$@"; else cargo deny "$@"; fi; }
can_deny() { [[ -x $cargo_deny ]] || have cargo-deny; }

# PostgreSQL 17 for the tests, from a package of built programs.
postgres_17="$tools/postgres-17.10.0"
export HOLDFAST_TEST_POSTGRES_17="$postgres_17"

# The npm build tools, in a directory named after the hash of their lock file.
site_tools="$tools/site-$(sha256sum scripts/site-tools/package-lock.json | cut -c1-12)"
wasm_opt() { node "$site_tools/node_modules/binaryen/bin/wasm-opt" "$@"; }
# Not the link in .bin: without install scripts it is a placeholder.
lightningcss() {
    local program
    for program in "$site_tools"/node_modules/lightningcss-cli-*/lightningcss; do
        "$program" --version >/dev/null 2>&1 && { "$program" "$@"; return; }
    done
    die "lightningcss has no build for this machine"
}

# The WebAssembly and the generated JavaScript need exactly the same version.
wasm_bindgen_version=$(locked_version wasm-bindgen)
wasm_bindgen="$tools/bindgen-$wasm_bindgen_version-$(sha256sum scripts/bindgen/main.rs | cut -c1-12)/bindgen"
