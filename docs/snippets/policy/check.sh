cargo ecr-warden policy check infra/sam/policy.yaml --enforce-repositories infrastructure,deployments
