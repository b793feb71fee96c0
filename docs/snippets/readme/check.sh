cargo ecr-warden check --policy docs/snippets/check/policy.json infrastructure:litellm-1.80.5
