aws ecr put-image-tag-mutability --repository-name infrastructure \
  --image-tag-mutability IMMUTABLE
