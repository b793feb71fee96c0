printf '{"Parameters": %s}' "$(aws lambda get-function-configuration --output json \
  --query Environment.Variables --function-name "$(aws cloudformation describe-stack-resource \
    --stack-name ecr-warden --logical-resource-id ImagePushFunction \
    --query StackResourceDetail.PhysicalResourceId --output text)")" > env.json
sam local invoke ImagePushFunction --env-vars env.json --event ../../events/image-push/conforming.json
