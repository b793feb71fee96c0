aws ecr create-repository --repository-name demo --image-tag-mutability IMMUTABLE
aws ecr get-login-password | skopeo login --tls-verify=false --username AWS --password-stdin 127.0.0.1:4566
skopeo copy --dest-tls-verify=false oci:app docker://127.0.0.1:4566/demo:app-v1.0.0
skopeo copy --dest-tls-verify=false oci:app docker://127.0.0.1:4566/demo:app-v1.0.1
skopeo copy --src-tls-verify=false docker://127.0.0.1:4566/demo:app-v1.0.1 oci:back
aws ecr describe-images --repository-name demo
aws ecr list-images --repository-name demo --page-size 1
aws ecr batch-delete-image --repository-name demo --image-ids imageTag=app-v1.0.1
aws ecr start-lifecycle-policy-preview --repository-name demo --lifecycle-policy-text \
  '{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":1},"action":{"type":"expire"}}]}'
aws ecr wait lifecycle-policy-preview-complete --repository-name demo
aws ecr get-lifecycle-policy-preview --repository-name demo
