cd infra/sam
sed -i -e 's#"infrastructure"#"trial/infrastructure"#' -e 's#"deployments"#"trial/deployments"#' policy.yaml
sam build
sam deploy --stack-name ecr-warden-trial --s3-prefix ecr-warden-trial --parameter-overrides \
  InfrastructureRepositoryName=trial/infrastructure DeploymentsRepositoryName=trial/deployments \
  'EnforceRepositories="trial/infrastructure,trial/deployments"' \
  AlertEmail=you@example.com
