cargo install --locked cargo-mutants
cargo mutants --package warden-core
