aws ecr describe-images --repository-name infrastructure \
  --query "imageDetails[].imageTags[] | [?starts_with(@, 'quarantine-')]"
