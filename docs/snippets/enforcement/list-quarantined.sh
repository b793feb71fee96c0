aws ecr list-images --repository-name infrastructure \
  --query "imageIds[?starts_with(imageTag || '', 'quarantine-')]"
