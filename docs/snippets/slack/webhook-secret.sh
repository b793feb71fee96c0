${EDITOR:-vi} webhook.txt   # https://hooks.slack.com/services/… and nothing else
aws secretsmanager create-secret --name ecr-warden/slack \
  --secret-string file://webhook.txt --query ARN --output text
rm webhook.txt
cd infra/sam && sam build && sam deploy --parameter-overrides SlackWebhookSecretArn=THE_ARN
