sam deploy --parameter-overrides \
  'DeploymentsTagGrammar="{component}-{channel} re:(?<component>[a-z0-9]+(?:-[a-z0-9]+)*)-(?<number>20[0-9]{2}[.][0-9]{2}[.][0-9]{2})-(?<sha>[0-9a-f]{7,64})"'
