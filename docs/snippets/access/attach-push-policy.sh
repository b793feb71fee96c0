aws iam attach-role-policy --role-name your-cicd-role --policy-arn "$(output EcrPushPullPolicyArn)"
