queue_url() { # QUEUE
  aws cloudformation describe-stack-resource --stack-name ecr-warden \
    --logical-resource-id "$1" --query StackResourceDetail.PhysicalResourceId --output text
}
waiting() { # QUEUE: prints up to ten messages, and leaves them in the queue
  aws sqs receive-message --queue-url "$(queue_url "$1")" --max-number-of-messages 10 \
    --visibility-timeout 0 --message-attribute-names All --output json
}
purge() { # QUEUE: deletes every message
  aws sqs purge-queue --queue-url "$(queue_url "$1")"
}
