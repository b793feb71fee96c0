aws ecr describe-images --repository-name infrastructure
