aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=PutImage \
  --query 'Events[].CloudTrailEvent' --output text
