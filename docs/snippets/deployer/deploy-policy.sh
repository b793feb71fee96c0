aws cloudformation deploy --template-file infra/sam/deployer-policy.yaml \
  --stack-name deploy-ecr-warden --capabilities CAPABILITY_IAM
