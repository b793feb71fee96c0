aws s3 cp packaged.yaml s3://YOUR-BUCKET/ecr-warden.yaml # the template is too large for --template-body
aws cloudformation create-stack-set --region us-east-1 --stack-set-name ecr-warden \
  --template-url https://YOUR-BUCKET.s3.us-east-1.amazonaws.com/ecr-warden.yaml \
  --permission-model SELF_MANAGED --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
  --parameters ParameterKey=AlertEmail,ParameterValue=you@example.com \
  ParameterKey=EnforceRepositories,ParameterValue=
aws cloudformation create-stack-instances --region us-east-1 --stack-set-name ecr-warden \
  --regions us-east-1 --accounts 111111111111 222222222222
