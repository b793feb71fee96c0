cargo run -p ecr-warden -- check infrastructure:litellm-1.80.5
