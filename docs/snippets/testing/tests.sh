cargo test --workspace                      # UPDATE_EXPECT=1 rewrites snapshots and generated pages
cargo clippy --workspace --all-targets
.ci/run                                     # everything that CI runs
