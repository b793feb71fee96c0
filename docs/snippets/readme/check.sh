cargo ecr-warden check --policy infra/sam/policy.yaml infrastructure:litellm-1.80.5
