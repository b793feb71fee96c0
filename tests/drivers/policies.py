"""Decides requests by policy documents with ministack's evaluator, for a comparison.

The argument is a file with a list of objects: a document, an action, a resource, and a context
with the values of each condition key. Printed is one decision each: Allow, Deny or ImplicitDeny.
"""

import json
import sys
from pathlib import Path

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

CALLER = "arn:aws:iam::123456789012:role/ecr-warden/caller"


def decide(request):
    # ministack takes a list for several values only.
    several = {key: found if len(found) > 1 else found[0] for key, found in request["context"].items()}
    if "aws:tagkeys" in request["context"]:
        several["aws:tagkeys"] = request["context"]["aws:tagkeys"]
    context = EvalContext(
        principal_arn=CALLER,
        principal_type="AssumedRole",
        principal_account="123456789012",
        action=request["action"],
        resource_arn=request["resource"],
        region="us-east-1",
        source_ip="192.0.2.1",
        secure_transport=True,
        tag_keys=None,
        service_context=several,
    )
    return evaluate(context, [parse_policy_document(request["document"])]).decision


requests = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps([decide(request) for request in requests]))
