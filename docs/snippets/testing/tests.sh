cargo test --workspace                      # UPDATE_EXPECT=1 rewrites the inline snapshots
cargo clippy --workspace --all-targets
.ci/run                                     # all of it, as CI does
