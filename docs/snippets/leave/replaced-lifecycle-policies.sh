aws logs filter-log-events --query 'events[].[message]' --output text \
  --log-group-name "$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id CustomResourceLogGroup \
    --query StackResourceDetail.PhysicalResourceId --output text)" |
  grep 'the lifecycle policy that is replaced' | python3 -c '
import json, sys
for line in sys.stdin:
    log = json.loads(line)
    print(log["timestamp"], log["repository.name"], log["message"].split(": ", 1)[1])'
