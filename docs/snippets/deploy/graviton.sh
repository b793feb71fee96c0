rustup target add aarch64-unknown-linux-gnu
sam build --parameter-overrides Architecture=arm64
sam deploy --parameter-overrides Architecture=arm64
