cargo install --locked cargo-fuzz
mkdir -p target/corpus/grammar
cargo fuzz run --sanitizer none --fuzz-dir tests/fuzz/libfuzzer --target-dir target/fuzz grammar target/corpus/grammar tests/fuzz/corpus/grammar events -- -runs=100000 -max_len=400 -timeout=10
