sed -i 's/Enforcement: .*/Enforcement: report/' infra/sam/policy.yaml
