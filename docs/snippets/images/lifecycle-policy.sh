aws ecr get-lifecycle-policy --repository-name infrastructure
