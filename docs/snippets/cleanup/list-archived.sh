aws ecr describe-images --repository-name deployments --filter imageStatus=ARCHIVED \
  --query 'imageDetails[].[lastArchivedAt, imageDigest, imageTags[0]]' --output text
