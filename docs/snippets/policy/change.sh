output Governance > policy.json
${EDITOR:-vi} policy.json
aws ecr list-images --repository-name deployments --filter tagStatus=TAGGED \
  --query 'imageIds[].[imageTag]' --output text | sed 's/^/deployments:/' |
  xargs cargo run --quiet --package ecr-warden -- check --policy policy.json
