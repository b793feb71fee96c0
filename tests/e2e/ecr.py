"""Serves ECR, by moto, on the port that is given.

moto's check of lifecycle policies is older than ECR's archive storage class. The two words
that it lacks are added here, by the names in
https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html.
"""

import sys

from moto.ecr import policy_validation
from moto.server import main

policy_validation.VALID_SELECTION_PROPERTIES.add("storageClass")
policy_validation.VALID_SELECTION_COUNT_TYPE_VALUES.add("sinceImageTransitioned")
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
