aws lambda get-account-settings --query AccountLimit
