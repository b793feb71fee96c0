cd infra/sam && sam build && sam deploy --parameter-overrides LifecycleImpactLimit=51
