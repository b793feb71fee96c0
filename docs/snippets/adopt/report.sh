sam deploy --parameter-overrides \
  OnExistingRepository=adopt LifecycleImpactLimit=0 \
  InfrastructureTagEnforcement=report DeploymentsTagEnforcement=report \
  CleanupEnforcement=report
