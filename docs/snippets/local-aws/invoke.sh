aws lambda invoke --function-name ecr-warden-ImageSweepFunction \
  --payload fileb://events/image-sweep/explain.json answer.json && cat answer.json
