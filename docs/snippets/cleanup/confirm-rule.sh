ecr-warden confirm --rule platform --plan 01234567fedcba98
