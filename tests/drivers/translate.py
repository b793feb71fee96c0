"""Prints a SAM template as CloudFormation gets it, the transform of SAM applied, as YAML.

cfn-lint finds cycles and missing attributes only there. With a policy file as second argument, the policy stands in
place of the transform AWS::Include, so the printed template has no transform.
"""

import sys

import boto3
from samcli.lib.translate.sam_template_validator import SamTemplateValidator
from samcli.yamlhelper import yaml_parse


def include(node, policy):
    """The template with the policy in place of each AWS::Include."""
    if isinstance(node, dict):
        if node.get("Fn::Transform", {}).get("Name") == "AWS::Include":
            return policy
        return {name: include(value, policy) for name, value in node.items()}
    if isinstance(node, list):
        return [include(value, policy) for value in node]
    return node


def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml_parse(file.read())


template = read(sys.argv[1])
if len(sys.argv) > 2:
    template = include(template, read(sys.argv[2]))
# No managed policy is named in the template, so none has to be looked up.
validator = SamTemplateValidator(template, managed_policy_loader=None, region="us-east-1")
print(validator.get_translated_template_if_valid())
