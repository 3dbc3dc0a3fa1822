#!/bin/sh
# Coverage-guided fuzzing with clang's libFuzzer: run.sh [SECONDS [FREESTONE_CONF]]. Needs clang and its runtime (Debian: clang
# libclang-rt-14-dev). The library is instrumented by a flag of stable rustc; what is built lies apart from every other build.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
target=${CARGO_TARGET_DIR:-target}/fuzz
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on" \
    CARGO_PROFILE_RELEASE_LTO=off cargo build --quiet --release -p freestone-malloc \
    --target x86_64-unknown-linux-gnu --target-dir "$target"
clang -g -O1 -fno-builtin -fsanitize=fuzzer -o "$target/sequences" fuzz/sequences.c \
    "$target/x86_64-unknown-linux-gnu/release/libfreestone_malloc.a"
mkdir -p "$target/corpus"
FREESTONE_CONF=${2:-check:1} "$target/sequences" -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 \
    "$target/corpus" fuzz/corpus
