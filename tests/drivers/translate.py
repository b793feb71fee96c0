"""Prints a SAM template as CloudFormation gets it, the transform applied, as YAML.

cfn-lint finds cycles and missing attributes only there.
"""

import sys

import boto3
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse

with open(sys.argv[1], encoding="utf-8") as template:
    validator = SamTemplateValidator(
        # No managed policy is named in the template, so none has to be looked up.
        yaml_parse(template.read()),
        managed_policy_loader=None,
        region="us-east-1",
    )
print(validator.get_translated_template_if_valid())
