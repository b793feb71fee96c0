"""Prints Amazon ECR's service model, as the botocore on the path has it, for a comparison.

The operations that the embedded ECR serves are given as arguments. Their inputs are printed
in the form of `local_aws::ecr::model::published`, with the names of all other operations.
"""

import json
import sys

from botocore.loaders import Loader

MODEL = Loader().load_service_model("ecr", "service-2", "2015-09-21")
TYPES = {"integer": "number", "long": "number"}


def shape_of(name):
    shape = MODEL["shapes"][name]
    limits = {key: shape[key] for key in ("min", "max", "pattern", "enum") if key in shape}
    found = {"type": TYPES.get(shape["type"], shape["type"])} | limits
    if shape["type"] == "list":
        found["member"] = shape_of(shape["member"]["shape"])
    if shape["type"] == "structure":
        found["members"] = members_of(shape)
    return found


def members_of(shape):
    required = shape.get("required", [])
    members = shape["members"].items()
    return {key: shape_of(it["shape"]) | {"required": key in required} for key, it in members}


served = sys.argv[1:]
operations = MODEL["operations"]
inputs = {name: members_of(MODEL["shapes"][operations[name]["input"]["shape"]]) for name in served}
others = sorted(set(operations) - set(served))
print(json.dumps({"served": inputs, "not served": others}, indent=1, sort_keys=True))
