ecr-warden confirm --rule payments --plan 0123456789abcdef
