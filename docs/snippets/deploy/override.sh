sam deploy --parameter-overrides InfrastructureLifecycleTagCount=30
