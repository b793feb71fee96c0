parameter="$(output AcceptedRisksParameter)"
aws ssm get-parameter --name "$parameter" --query Parameter.Value --output text > accepted-risks.json
${EDITOR:-vi} accepted-risks.json
aws ssm put-parameter --name "$parameter" --overwrite --tier Intelligent-Tiering \
  --value file://accepted-risks.json
