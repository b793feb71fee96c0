replay() {
  queue="$(aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id FailedEvents --query StackResourceDetail.PhysicalResourceId --output text)"
  while true; do
    message="$(aws sqs receive-message --queue-url "$queue" --wait-time-seconds 5 --output json)" || return
    [ -n "$message" ] || break
    printf '%s' "$message" | python3 -c '
import json, sys
message = json.load(sys.stdin)["Messages"][0]
failed = json.loads(message["Body"])
json.dump(failed["requestPayload"], open("event.json", "w"))
reason = failed.get("responsePayload") or {}
print(reason.get("errorMessage", failed["requestContext"]["condition"]), file=sys.stderr)
print(failed["requestContext"]["functionArn"], message["ReceiptHandle"])' > message.txt &&
    read -r function receipt < message.txt &&
    aws lambda invoke --invocation-type Event --function-name "$function" \
      --payload fileb://event.json answer.json &&
    aws sqs delete-message --queue-url "$queue" --receipt-handle "$receipt" || return
  done
}
