sed "s#https://[^/]*#$AWS_ENDPOINT_URL#" events/custom-resource/create-misspelt.json > event.json
aws lambda invoke --function-name ecr-warden-CustomResourceFunction \
  --payload fileb://event.json answer.json
