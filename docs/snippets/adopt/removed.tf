removed {
  from = aws_ecr_repository.infrastructure
  lifecycle {
    destroy = false
  }
}
