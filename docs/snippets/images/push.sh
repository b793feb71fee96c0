eval "$(output EcrLoginCommand)"
docker tag litellm:v1.80.5 "$(output InfrastructureRepositoryUri):litellm-v1.80.5"
docker push "$(output InfrastructureRepositoryUri):litellm-v1.80.5"
