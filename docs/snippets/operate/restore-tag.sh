ecr-warden restore infrastructure:quarantine-20261124-43e3fabe409e-litellm-1.80.5 --tag litellm-v1.80.5
