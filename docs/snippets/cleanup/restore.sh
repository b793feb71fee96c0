ecr-warden restore deployments:myapp-v0.8.0
