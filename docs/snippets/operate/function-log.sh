aws logs filter-log-events --query 'events[].message' --output text \
  --log-group-name "$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id CustomResourceLogGroup \
    --query StackResourceDetail.PhysicalResourceId --output text)"
