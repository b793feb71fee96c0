cd infra/sam
sam build
sam deploy --stack-name ecr-warden-trial --s3-prefix ecr-warden-trial --parameter-overrides \
  InfrastructureRepositoryName=trial/infrastructure DeploymentsRepositoryName=trial/deployments \
  AlertEmail=you@example.com
