ecr-warden plan --rule payments
