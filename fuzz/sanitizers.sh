#!/bin/sh
# The tests with sanitizers: sanitizers.sh address [PACKAGE...], undefined [CASE...], or sequences [SECONDS]. Stable rustc brings the runtimes
# of its sanitizers but not the option that turns them on; RUSTC_BOOTSTRAP has it take the option, in this command and nowhere
# else. The standard library is not instrumented. `undefined` compiles the C and C++ programs of the conformance suite with
# gcc's sanitizer of undefined behaviour; `sequences` fuzzes with the harness under both, linked with the library. Needs clang (Debian: clang libclang-rt-14-dev). What is built lies apart from every
# other build.
set -eu
cd "$(dirname "$0")/.."
what=${1:-address}
[ $# -gt 0 ] && shift
target=${CARGO_TARGET_DIR:-target}/sanitizers/$what
triple=x86_64-unknown-linux-gnu

# Library tests under a sanitizer of rustc's.
rust() {
    flags=$1
    shift
    [ $# -gt 0 ] || set -- freestone-base freestone-sys freestone freestone-trace freestone-profile freestone-testkit
    for package in "$@"; do
        echo "== $package"
        RUSTC_BOOTSTRAP=1 RUSTFLAGS="$flags" cargo test --quiet --lib --package "$package" --target $triple \
            --target-dir "$target" -- --skip residency::tests::addresses_that_are_not_mapped
    done
}

case $what in
address)
    export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
    rust "-Zsanitizer=address" "$@"
    ;;
undefined)
    mkdir -p "$target"
    target=$(cd "$target" && pwd)
    for language in c c++; do
        compiler=gcc
        [ $language = c++ ] && compiler=g++
        # Trapping: its runtime would be one more thing that allocates.
        printf '#!/bin/sh\nexec %s -fsanitize=undefined -fsanitize-undefined-trap-on-error "$@"\n' $compiler >"$target/$language"
        chmod +x "$target/$language"
    done
    CC="$target/c" CXX="$target/c++" cargo test --target-dir "$target" --package freestone-conformance --test conformance -- "$@"
    ;;
sequences)
    cargo build --quiet --release --package freestone-malloc --target-dir "$target"
    clang -g -O1 -fno-builtin -fsanitize=fuzzer,address,undefined -o "$target/fuzzer" fuzz/sequences.c \
        "$target/release/libfreestone_malloc.a"
    mkdir -p "$target/corpus"
    # Not debug:1: it sets a handler of signals before the sanitizer is ready to pass that on.
    for conf in check:1 harden:1,harden_faults:0 guard:1; do
        echo "== $conf"
        # The leak checker would look for blocks of its own allocator, of which there are none.
        FREESTONE_CONF=$conf ASAN_OPTIONS=detect_leaks=0 "$target/fuzzer" -max_total_time="${1:-60}" -max_len=2048 -verbosity=0 \
            -print_final_stats=1 -artifact_prefix="$target/" "$target/corpus" fuzz/corpus/sequences
    done
    ;;
*)
    echo "there is no sanitizer $what: it may be address, undefined or sequences" >&2
    exit 2
    ;;
esac
