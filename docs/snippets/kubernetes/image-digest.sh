aws ecr describe-images --repository-name infrastructure --image-ids imageTag=litellm-v1.80.5 \
  --query 'imageDetails[0].imageDigest' --output text
