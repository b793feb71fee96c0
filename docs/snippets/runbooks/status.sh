ecr-warden status
