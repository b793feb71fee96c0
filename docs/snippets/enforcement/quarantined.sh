ecr-warden quarantined
