ecr-warden restore-lifecycle infrastructure
