cp infra/sam/policy.yaml policy.yaml
${EDITOR:-vi} policy.yaml
aws ecr list-images --repository-name deployments --filter tagStatus=TAGGED \
  --query 'imageIds[].[imageTag]' --output text | sed 's/^/deployments:/' |
  xargs cargo run --quiet --package ecr-warden -- check --policy policy.yaml
