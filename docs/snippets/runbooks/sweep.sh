printf '%s' '{"repository": "infrastructure"}' > sweep.json
aws lambda invoke --cli-read-timeout 900 --payload fileb://sweep.json answer.json \
  --function-name "$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id ImageSweepFunction --query StackResourceDetail.PhysicalResourceId --output text)" &&
  cat answer.json
