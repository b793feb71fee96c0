sam deploy --parameter-overrides 'EnforceRepositories="infrastructure,deployments,payments/ledger"'
