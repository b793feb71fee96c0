aws ecr put-lifecycle-policy --repository-name infrastructure \
  --lifecycle-policy-text file://lifecycle-policy.json
