restore() { # REPOSITORY QUARANTINE_TAG TAG
  type="$(aws ecr describe-images --repository-name "$1" --image-ids imageTag="$2" \
    --query 'imageDetails[0].imageManifestMediaType' --output text)" &&
  manifest="$(aws ecr batch-get-image --repository-name "$1" --image-ids imageTag="$2" \
    --accepted-media-types "$type" --query 'images[0].imageManifest' --output text && printf x)" &&
  aws ecr put-image --repository-name "$1" --image-tag "$3" --image-manifest "${manifest%??}" \
    --image-manifest-media-type "$type" --query image.imageId &&
  aws ecr batch-delete-image --repository-name "$1" --image-ids imageTag="$2" --query imageIds
}
