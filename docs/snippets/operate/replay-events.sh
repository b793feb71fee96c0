ecr-warden replay --apply
