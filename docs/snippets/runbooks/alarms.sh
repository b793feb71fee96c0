aws cloudwatch describe-alarms --alarm-name-prefix ecr-warden- --state-value ALARM \
  --query 'MetricAlarms[].[AlarmName, StateReason]' --output text
