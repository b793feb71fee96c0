cd infra/sam
sed -i -e 's/Enforcement: .*/Enforcement: report/' \
  -e 's/"infrastructure"/"platform-images"/' -e 's/"deployments"/"application-images"/' policy.yaml
sam build
sam deploy --parameter-overrides \
  InfrastructureRepositoryName=platform-images DeploymentsRepositoryName=application-images \
  InfrastructureTagMutability=MUTABLE DeploymentsTagMutability=MUTABLE \
  EnableEncryption=false AlertEmail=you@example.com \
  OnExistingRepository=adopt LifecycleImpactLimit=0 \
  'EnforceRepositories=""'
