errors() { # LOG_GROUP, such as ImageSweepLogGroup: the errors of the last day
  aws logs filter-log-events --filter-pattern ERROR --query 'events[].message' --output text \
    --start-time "$(($(date +%s) - 86400))000" \
    --log-group-name "$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
      --logical-resource-id "$1" --query StackResourceDetail.PhysicalResourceId --output text)"
}
