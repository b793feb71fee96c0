aws cloudformation deploy --template-file infra/sam/deployer-policy.yaml \
  --stack-name deploy-ecr-warden-trial --capabilities CAPABILITY_IAM \
  --parameter-overrides StackName=ecr-warden-trial
