ecr-warden policy test infra/sam/policy.yaml --against deployed
