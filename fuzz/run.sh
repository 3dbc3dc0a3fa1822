#!/bin/sh
# Coverage-guided fuzzing with clang's libFuzzer: run.sh TARGET [SECONDS [FREESTONE_CONF]], where TARGET is sequences, options,
# traces or profiles. Needs clang and its runtime (Debian: clang libclang-rt-14-dev). The code under test is instrumented by a flag of stable
# rustc; what is built lies apart from every other build, and what is found in TARGET's folder there.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
what=${1:-sequences}
seconds=${2:-60}
conf=${3:-check:1}
target=${CARGO_TARGET_DIR:-target}/fuzz
triple=x86_64-unknown-linux-gnu
case $what in
sequences | options) package="--package freestone-malloc" archive=libfreestone_malloc.a ;;
traces | profiles) package="--manifest-path fuzz/$what/Cargo.toml" archive=libfuzz_$what.a ;;
*)
    echo "there is no target $what: it may be sequences, options, traces or profiles" >&2
    exit 2
    ;;
esac
# shellcheck disable=SC2086
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on" \
    CARGO_PROFILE_RELEASE_LTO=off cargo build --quiet --release $package --target $triple --target-dir "$target"
target=$(cd "$target" && pwd)
archive=$target/$triple/release/$archive
corpus=$root/fuzz/corpus/$what
work=$target/$what
mkdir -p "$work/corpus"
case $what in
sequences)
    clang -g -O1 -fno-builtin -fsanitize=fuzzer -o "$work/fuzzer" fuzz/sequences.c "$archive"
    export FREESTONE_CONF="$conf"
    set -- -max_len=2048
    ;;
options)
    clang -g -O1 -fno-builtin -o "$work/child" fuzz/options_child.c "$archive" -lpthread
    clang -g -O1 -fsanitize=fuzzer -o "$work/fuzzer" fuzz/options.c
    export OPTIONS_CHILD="$work/child"
    set -- -max_len=400 -only_ascii=1 -dict="$root/fuzz/options.dict"
    ;;
traces | profiles)
    clang -g -O1 -fsanitize=fuzzer -o "$work/fuzzer" "$archive"
    set -- -max_len=4096 -rss_limit_mb=4096
    ;;
esac
cd "$work"
./fuzzer -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$work/" "$@" "$work/corpus" "$corpus"
