//! The document of the push/pull policy, which allows the guide's eight actions and no other.

use serde_json::{Value, json};

use crate::arn::RepositoryArn;

/// IAM's limit for a managed policy, in characters without white space.
const LONGEST: usize = 6_144;

/// The policy document for these repositories.
#[must_use]
pub fn document(repositories: &[RepositoryArn]) -> Value {
    let arns: Vec<String> = repositories.iter().map(ToString::to_string).collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Login",
                "Effect": "Allow",
                "Action": "ecr:GetAuthorizationToken",
                // A token is valid for the whole registry, and the action supports no ARN.
                "Resource": "*",
            },
            {
                "Sid": "PushAndPull",
                "Effect": "Allow",
                "Action": [
                    "ecr:BatchCheckLayerAvailability",
                    "ecr:BatchGetImage",
                    "ecr:CompleteLayerUpload",
                    "ecr:GetDownloadUrlForLayer",
                    "ecr:InitiateLayerUpload",
                    "ecr:PutImage",
                    "ecr:UploadLayerPart",
                ],
                "Resource": arns,
            },
        ],
    })
}

/// The problem with a document that is longer than IAM accepts.
#[must_use]
pub fn too_long(document: &Value) -> Option<String> {
    let length = document.to_string().chars().count();
    (length > LONGEST)
        .then(|| format!("the policy would have {length} characters, and IAM accepts {LONGEST}"))
}
