cd infra/sam
sam build
sam deploy --parameter-overrides \
  InfrastructureRepositoryName=platform-images DeploymentsRepositoryName=application-images \
  InfrastructureTagMutability=MUTABLE DeploymentsTagMutability=MUTABLE \
  EnableEncryption=false AlertEmail=you@example.com \
  OnExistingRepository=adopt LifecycleImpactLimit=0 \
  InfrastructureTagEnforcement=report DeploymentsTagEnforcement=report \
  CleanupEnforcement=report
