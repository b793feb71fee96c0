ecr-warden restore-lifecycle infrastructure --apply
