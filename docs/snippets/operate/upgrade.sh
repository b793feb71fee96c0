git pull
cd infra/sam
sam build
sam deploy
