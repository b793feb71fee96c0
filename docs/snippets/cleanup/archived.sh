ecr-warden archived
