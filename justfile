# Recipes for https://just.systems. What CI checks is in .ci/run, one function a step.

# What a change has to pass before it is committed.
default: fmt lint doc test

# Everything that CI checks.
ci:
    .ci/run

fmt:
    cargo fmt --all
    cargo fmt --manifest-path tests/bench/Cargo.toml

lint:
    .ci/run format lints features

doc:
    .ci/run docs public-api

# The public interface, as a list that CI compares: after a change that is meant. Pages of what is gone would be read too.
public-api:
    rm -rf target/doc
    .ci/run docs
    cargo run -p p2prpc-tests --bin public-api -- --write

test *filter:
    cargo test --workspace --all-features --locked {{filter}}

bench *options:
    cargo bench --manifest-path tests/bench/Cargo.toml --locked --bench rpc -- {{options}}

# The names of what can be fuzzed.
fuzzers:
    cargo test -p p2prpc --all-features --lib --quiet -- --list fuzz | sed -n 's/: test$//p'

# Random inputs for all of them, so many seconds each.
fuzz-all seconds="60":
    BOLERO_RANDOM_TEST_TIME_MS={{seconds}}000 BOLERO_RANDOM_ITERATIONS=1000000000 cargo test -p p2prpc --all-features --lib -- fuzz

# One of them under libFuzzer, for so many seconds. `cargo bolero` would build every test, of which most have nothing to link a fuzzer with.
fuzz name seconds="1200":
    #!/usr/bin/env bash
    set -euo pipefail
    target=$(rustc -vV | sed -n 's/^host: //p')
    corpus="$PWD/target/fuzz/corpus/{{replace(name, "::", "-")}}"
    mkdir -p "$corpus"
    coverage="-Cllvm-args=-sanitizer-coverage"
    export RUSTFLAGS="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module $coverage-level=4 $coverage-inline-8bit-counters $coverage-pc-table $coverage-trace-compares $coverage-stack-depth"
    export BOLERO_FUZZER=libfuzzer BOLERO_TEST_NAME={{name}} BOLERO_LIBTEST_HARNESS=1
    export BOLERO_LIBFUZZER_ARGS="$corpus -timeout=20 -max_total_time={{seconds}}"
    cargo test -p p2prpc --all-features --lib --profile fuzz --target "$target" --target-dir target/fuzz -- {{name}} --exact --nocapture --test-threads 1

# What each way to do harm costs those beside it, each for so many seconds.
attacks seconds="20":
    P2PRPC_ROWS_SECONDS={{seconds}} cargo test -p p2prpc-tests --all-features --locked --test hostile_rows -- --nocapture

# The soak test for ten minutes.
soak seconds="600":
    SOAK_SECONDS={{seconds}} cargo test -p p2prpc-tests --all-features --locked --test soak -- --nocapture

# Licences, bans, sources and advisories; needs cargo-deny.
deny:
    cargo deny check
