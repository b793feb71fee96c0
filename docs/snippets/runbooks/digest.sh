printf '%s' '{"digest": "now"}' > digest.json
aws lambda invoke --cli-read-timeout 300 --payload fileb://digest.json answer.json \
  --function-name "$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id SweepDispatchFunction --query StackResourceDetail.PhysicalResourceId --output text)" &&
  cat answer.json
