cd infra/sam
sam build
sam deploy --parameter-overrides CreateEcrRepositories=false \
  'EnforceRepositories=""' AlertEmail=you@example.com
