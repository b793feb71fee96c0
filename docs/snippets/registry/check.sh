cargo ecr-warden policy check infra/sam/policy.yaml
