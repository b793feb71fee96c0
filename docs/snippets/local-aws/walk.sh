cargo ecr-warden plan infrastructure
cargo ecr-warden explain infrastructure:gateway-v1.0.0
cargo ecr-warden confirm infrastructure --plan HASH
printf '%s' '{"repository": "infrastructure"}' > sweep.json
aws lambda invoke --function-name ecr-warden-ImageSweepFunction \
  --payload fileb://sweep.json answer.json
cargo ecr-warden explain infrastructure:gateway-v1.0.0
cargo ecr-warden restore infrastructure:gateway-v1.0.0
sleep 6
cargo ecr-warden explain infrastructure:gateway-v1.0.0
cargo ecr-warden explain infrastructure:litellm-1.80.5
