sam deploy --stack-name ecr-warden-trial --parameter-overrides \
  InfrastructureRepositoryName=trial/infrastructure DeploymentsRepositoryName=trial/deployments
