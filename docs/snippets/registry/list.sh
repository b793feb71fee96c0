aws ecr describe-repositories --query 'repositories[].[repositoryName]' --output text |
  sed 's#/.*#/*#' | sort | uniq -c
