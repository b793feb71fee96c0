sam remote invoke ImagePushFunction --stack-name ecr-warden --event-file event.json
