ecr-warden replay
