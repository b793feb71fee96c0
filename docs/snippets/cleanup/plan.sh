ecr-warden plan deployments
