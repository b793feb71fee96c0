cargo run --package drivers --bin local-aws -- 4566
