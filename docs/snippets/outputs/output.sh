output() {
  aws cloudformation describe-stacks --stack-name ecr-warden --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
}
