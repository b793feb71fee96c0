aws ecr describe-repositories --repository-names infrastructure --query 'repositories[0].imageTagMutability'
aws ecr get-lifecycle-policy --repository-name infrastructure --query lifecyclePolicyText --output text
aws ecr batch-get-repository-scanning-configuration --repository-names infrastructure
aws ecr get-registry-scanning-configuration
