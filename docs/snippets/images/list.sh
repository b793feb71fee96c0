aws ecr list-images --repository-name infrastructure
