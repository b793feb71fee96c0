cp infra/sam/policy.yaml policy.yaml
${EDITOR:-vi} policy.yaml
cargo ecr-warden check --policy policy.yaml infrastructure:litellm-1.80.5
