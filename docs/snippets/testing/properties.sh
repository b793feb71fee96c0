# Each AWS call of each function, in each scenario of events/, fails in nine ways. Without
# FAULTS=all, as in `cargo test --workspace`: one case of each operation and kind of fault.
FAULTS=all cargo test --workspace --test it faults -- --nocapture | grep -a cases
# The same for sequences of Create, Update, roll-back, Delete and late copies of them.
FAULTS=all cargo test --workspace --test it matrix -- --nocapture | grep -a cases
# The rights that each role has beside the calls of its function, and why.
cargo test --workspace --test it privileges -- --nocapture | grep -a granted
# A mistake in each statement of the template's policies: removed, or with a wrong resource.
cargo test --workspace --test it mistake -- --nocapture | grep -a mutants
# The evaluation of policies, compared with another emulator.
cargo e2e --policies
# Marked secrets appear in no log line, alert, answer or dead letter.
cargo test --workspace --test it secrets
# Licences, banned crates, duplicate versions, sources.
cargo install --locked cargo-deny && cargo deny check licenses bans sources
