ecr-warden plan --rule platform
