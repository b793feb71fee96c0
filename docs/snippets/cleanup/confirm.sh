ecr-warden confirm deployments --plan 0123456789abcdef
