sam delete --stack-name ecr-warden
