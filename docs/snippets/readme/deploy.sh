cd infra/sam
sam build
sam deploy --guided
