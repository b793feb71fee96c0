cargo install --locked --path crates/ecr-warden
