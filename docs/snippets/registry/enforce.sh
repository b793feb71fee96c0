sam deploy --parameter-overrides CreateEcrRepositories=false \
  'EnforceRepositories="payments/*"' AlertEmail=you@example.com
