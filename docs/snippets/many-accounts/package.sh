sam package --resolve-s3 --region us-east-1 --output-template-file packaged.yaml
