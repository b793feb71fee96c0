target/e2e/venv/bin/python tests/drivers/translate.py infra/sam/packaged.yaml infra/sam/policy.yaml >translated.yaml
