ecr-warden restore-lifecycle infrastructure --apply 0123456789abcdef
