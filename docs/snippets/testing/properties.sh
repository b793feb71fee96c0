# Every AWS call of every function in every scenario of events/, going wrong in nine ways:
# throttled, out of order, denied, broken off, too slow, killed. In the end all is as if nothing had.
# Without FAULTS=all, and in `cargo test --workspace`: one case of each operation and kind of fault.
FAULTS=all cargo test --workspace --test it faults -- --nocapture | grep -a cases
# The same of sequences of Create, Update, roll-back, Delete and late copies of them.
FAULTS=all cargo test --workspace --test it matrix -- --nocapture | grep -a cases
# What each role grants beside what its function calls, and what those calls depend on.
cargo test --workspace --test it privileges -- --nocapture | grep -a granted
# A mistake in any statement of the template's policies: left out, or with a wrong resource.
cargo test --workspace --test it mistake -- --nocapture | grep -a mutants
# The evaluation of policies, compared with the evaluator of ministack.
cargo e2e --policies
# Marked secrets, in no log line of any level, no alert, no answer and no letter.
cargo test --workspace --test it secrets
# Licences, bans, versions that are there twice, sources.
cargo install --locked cargo-deny && cargo deny check licenses bans sources
