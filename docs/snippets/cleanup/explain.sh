ecr-warden explain deployments:myapp-v1.0.0
