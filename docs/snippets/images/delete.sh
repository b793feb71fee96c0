aws ecr batch-delete-image --repository-name infrastructure --image-ids imageTag=old-tag
