aws ecr describe-image-scan-findings --repository-name infrastructure \
  --image-id imageTag=litellm-v1.80.5
