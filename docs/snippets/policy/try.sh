cp docs/snippets/check/policy.json policy.json
${EDITOR:-vi} policy.json
cargo ecr-warden check --policy policy.json infrastructure:litellm-1.80.5
