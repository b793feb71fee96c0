ecr-warden outputs AlertTopicArn
