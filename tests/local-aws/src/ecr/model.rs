//! The input shapes of ECR's service model of version 2015-09-21, as botocore 1.44.5 publishes it. An
//! operation without an entry here is not served.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::{Error, error};

/// The shape of a value in the model.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A string with a minimum and a maximum length, which the pattern matches as a whole.
    Text(Option<usize>, Option<usize>, Option<&'static str>),
    /// A string out of these.
    Word(&'static [&'static str]),
    /// An integer between two bounds.
    Number(i64, Option<i64>),
    /// A boolean.
    Flag,
    /// Base64 of at most so many bytes.
    Blob(usize),
    /// A list with a minimum and a maximum length, and the shape of its elements.
    List(Option<usize>, Option<usize>, &'static Shape),
    /// A structure.
    Object(&'static [Member]),
}

/// A member of an object: whether it is required, its name and its shape.
type Member = (bool, &'static str, Shape);

const fn must(name: &'static str, shape: Shape) -> Member {
    (true, name, shape)
}

const fn may(name: &'static str, shape: Shape) -> Member {
    (false, name, shape)
}

const STRING: Shape = Shape::Text(None, None, None);
const ACCOUNT: Shape = Shape::Text(None, None, Some("[0-9]{12}"));
const REPOSITORY: Shape = Shape::Text(
    Some(2),
    Some(256),
    Some(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"),
);
const LAYER: Shape = Shape::Text(None, None, Some("[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+"));
const UPLOAD: Shape = Shape::Text(
    None,
    None,
    Some("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"),
);
const IMAGE: Shape = Shape::Object(&[may("imageDigest", STRING), may("imageTag", IMAGE_TAG)]);
const IMAGE_TAG: Shape = Shape::Text(Some(1), Some(300), None);
const IMAGES: Shape = Shape::List(Some(1), Some(100), &IMAGE);
const PRINCIPAL: Shape = Shape::Text(
    None,
    Some(200),
    Some(r"^arn:aws(-[a-z]+)*:iam::[0-9]{12}:(role|user)/[\w+=,.@-]+(/[\w+=,.@-]+)*$"),
);
const POLICY: Shape = Shape::Text(Some(0), Some(10_240), None);
const LIFECYCLE: Shape = Shape::Text(Some(100), Some(30_720), None);
const SETTING: Shape = Shape::Text(Some(1), Some(64), None);
const PAGE: Shape = Shape::Number(1, Some(1_000));
const TAGS: Shape =
    Shape::List(None, None, &Shape::Object(&[must("Key", STRING), must("Value", STRING)]));
const TAG_STATUS: Shape = Shape::Word(&["TAGGED", "UNTAGGED", "ANY"]);
const IMAGE_STATUS: Shape = Shape::Word(&["ACTIVE", "ARCHIVED", "ACTIVATING", "ANY"]);
const IMAGE_FILTER: Shape =
    Shape::Object(&[may("tagStatus", TAG_STATUS), may("imageStatus", IMAGE_STATUS)]);
const SCAN_ON_PUSH: Shape = Shape::Object(&[may("scanOnPush", Shape::Flag)]);
const MUTABILITY: Shape =
    Shape::Word(&["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"]);
const EXCLUSIONS: Shape = Shape::List(
    Some(1),
    Some(5),
    &Shape::Object(&[
        must("filterType", Shape::Word(&["WILDCARD"])),
        must("filter", Shape::Text(Some(1), Some(128), Some(r"^[0-9a-zA-Z._*-]{1,128}$"))),
    ]),
);
const SCAN_FILTER: Shape = Shape::Object(&[
    must(
        "filter",
        Shape::Text(Some(1), Some(255), Some(r"^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$")),
    ),
    must("filterType", Shape::Word(&["WILDCARD"])),
]);
const SCAN_RULE: Shape = Shape::Object(&[
    must("scanFrequency", Shape::Word(&["SCAN_ON_PUSH", "CONTINUOUS_SCAN", "MANUAL"])),
    must("repositoryFilters", Shape::List(Some(0), Some(100), &SCAN_FILTER)),
]);

const PREFIX: Shape = Shape::Text(
    Some(1),
    Some(256),
    Some(r"^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\/?|ROOT)$"),
);
const CACHE_PREFIX: Shape = Shape::Text(
    Some(2),
    Some(30),
    Some(r"^([a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\/?|ROOT)$"),
);
const UPSTREAMS: &[&str] = &[
    "ecr",
    "ecr-public",
    "quay",
    "k8s",
    "docker-hub",
    "github-container-registry",
    "azure-container-registry",
    "gitlab-container-registry",
    "chainguard",
];
const CREDENTIAL: &str = r"^arn:aws(-\w+)*:secretsmanager:[a-zA-Z0-9-:]+:secret:ecr\-pullthroughcache\/[a-zA-Z0-9\/_+=.@-]+$";
const TEMPLATE_KEY: &str = r"^$|arn:aws[a-z0-9-]*:kms:[a-z0-9-]+:[0-9]{12}:key\/[a-z0-9-]+";
const REPLICATION_RULE: Shape = Shape::Object(&[
    must(
        "destinations",
        Shape::List(
            Some(0),
            Some(100),
            &Shape::Object(&[
                must("region", Shape::Text(Some(2), Some(25), Some("[0-9a-z-]{2,25}"))),
                must("registryId", ACCOUNT),
            ]),
        ),
    ),
    may(
        "repositoryFilters",
        Shape::List(
            Some(1),
            Some(100),
            &Shape::Object(&[
                must("filter", Shape::Text(Some(2), Some(256), Some(REPLICATED_PREFIX))),
                must("filterType", Shape::Word(&["PREFIX_MATCH"])),
            ]),
        ),
    ),
    may("deleteReplication", Shape::Object(&[must("enabled", Shape::Flag)])),
]);
const REPLICATED_PREFIX: &str = "^(?:[a-z0-9]+(?:[._-][a-z0-9]*)*/)*[a-z0-9]*(?:[._-][a-z0-9]*)*$";

const REGISTRY_ID: Member = may("registryId", ACCOUNT);
const NAME: Member = must("repositoryName", REPOSITORY);
const TOKEN: Member = may("nextToken", STRING);
const MAX: Member = may("maxResults", PAGE);

/// The served operations, each with its input.
pub const OPERATIONS: &[(&str, &[Member])] = &[
    (
        "BatchCheckLayerAvailability",
        &[
            REGISTRY_ID,
            NAME,
            must(
                "layerDigests",
                Shape::List(Some(1), Some(100), &Shape::Text(Some(0), Some(1_000), None)),
            ),
        ],
    ),
    ("BatchDeleteImage", &[REGISTRY_ID, NAME, must("imageIds", IMAGES)]),
    (
        "BatchGetImage",
        &[
            REGISTRY_ID,
            NAME,
            must("imageIds", IMAGES),
            may("acceptedMediaTypes", Shape::List(Some(1), Some(100), &STRING)),
        ],
    ),
    (
        "BatchGetRepositoryScanningConfiguration",
        &[must("repositoryNames", Shape::List(Some(1), Some(25), &REPOSITORY))],
    ),
    (
        "CompleteLayerUpload",
        &[
            REGISTRY_ID,
            NAME,
            must("uploadId", UPLOAD),
            must("layerDigests", Shape::List(Some(1), Some(100), &LAYER)),
        ],
    ),
    (
        "CreatePullThroughCacheRule",
        &[
            REGISTRY_ID,
            must("ecrRepositoryPrefix", CACHE_PREFIX),
            must("upstreamRegistryUrl", STRING),
            may("upstreamRegistry", Shape::Word(UPSTREAMS)),
            may("credentialArn", Shape::Text(Some(50), Some(612), Some(CREDENTIAL))),
            may("customRoleArn", Shape::Text(None, Some(2_048), None)),
            may("upstreamRepositoryPrefix", CACHE_PREFIX),
        ],
    ),
    (
        "CreateRepository",
        &[
            REGISTRY_ID,
            NAME,
            may("tags", TAGS),
            may("imageTagMutability", MUTABILITY),
            may("imageTagMutabilityExclusionFilters", EXCLUSIONS),
            may("imageScanningConfiguration", SCAN_ON_PUSH),
            may(
                "encryptionConfiguration",
                Shape::Object(&[
                    must("encryptionType", Shape::Word(&["AES256", "KMS", "KMS_DSSE"])),
                    may("kmsKey", Shape::Text(Some(1), Some(2_048), None)),
                ]),
            ),
        ],
    ),
    (
        "CreateRepositoryCreationTemplate",
        &[
            must("prefix", PREFIX),
            may("description", Shape::Text(None, Some(256), None)),
            may(
                "encryptionConfiguration",
                Shape::Object(&[
                    must("encryptionType", Shape::Word(&["AES256", "KMS", "KMS_DSSE"])),
                    may("kmsKey", Shape::Text(Some(0), Some(2_048), Some(TEMPLATE_KEY))),
                ]),
            ),
            may("resourceTags", TAGS),
            may("imageTagMutability", MUTABILITY),
            may("imageTagMutabilityExclusionFilters", EXCLUSIONS),
            may("repositoryPolicy", POLICY),
            may("lifecyclePolicy", Shape::Text(Some(0), Some(30_720), None)),
            must(
                "appliedFor",
                Shape::List(
                    None,
                    None,
                    &Shape::Word(&["REPLICATION", "PULL_THROUGH_CACHE", "CREATE_ON_PUSH"]),
                ),
            ),
            may("customRoleArn", Shape::Text(None, Some(2_048), None)),
        ],
    ),
    ("DeleteLifecyclePolicy", &[REGISTRY_ID, NAME]),
    ("DeleteRegistryPolicy", &[]),
    ("DeleteRepository", &[REGISTRY_ID, NAME, may("force", Shape::Flag)]),
    ("DeleteRepositoryPolicy", &[REGISTRY_ID, NAME]),
    ("DeregisterPullTimeUpdateExclusion", &[must("principalArn", PRINCIPAL)]),
    ("DescribeImageScanFindings", &[REGISTRY_ID, NAME, must("imageId", IMAGE), TOKEN, MAX]),
    (
        "DescribeImages",
        &[REGISTRY_ID, NAME, may("imageIds", IMAGES), TOKEN, MAX, may("filter", IMAGE_FILTER)],
    ),
    (
        "DescribePullThroughCacheRules",
        &[
            REGISTRY_ID,
            may("ecrRepositoryPrefixes", Shape::List(Some(1), Some(100), &CACHE_PREFIX)),
            TOKEN,
            MAX,
        ],
    ),
    ("DescribeRegistry", &[]),
    (
        "DescribeRepositories",
        &[
            REGISTRY_ID,
            may("repositoryNames", Shape::List(Some(1), Some(100), &REPOSITORY)),
            TOKEN,
            MAX,
        ],
    ),
    (
        "DescribeRepositoryCreationTemplates",
        &[may("prefixes", Shape::List(None, None, &PREFIX)), TOKEN, MAX],
    ),
    ("GetAccountSetting", &[must("name", SETTING)]),
    ("GetAuthorizationToken", &[may("registryIds", Shape::List(Some(1), Some(10), &ACCOUNT))]),
    ("GetDownloadUrlForLayer", &[REGISTRY_ID, NAME, must("layerDigest", LAYER)]),
    ("GetLifecyclePolicy", &[REGISTRY_ID, NAME]),
    (
        "GetLifecyclePolicyPreview",
        &[
            REGISTRY_ID,
            NAME,
            may("imageIds", IMAGES),
            TOKEN,
            may("maxResults", Shape::Number(1, Some(100))),
            may("filter", Shape::Object(&[may("tagStatus", TAG_STATUS)])),
        ],
    ),
    ("GetRegistryPolicy", &[]),
    ("GetRegistryScanningConfiguration", &[]),
    ("GetRepositoryPolicy", &[REGISTRY_ID, NAME]),
    ("InitiateLayerUpload", &[REGISTRY_ID, NAME]),
    (
        "ListImageReferrers",
        &[
            REGISTRY_ID,
            NAME,
            must("subjectId", Shape::Object(&[must("imageDigest", STRING)])),
            may(
                "filter",
                Shape::Object(&[
                    may(
                        "artifactTypes",
                        Shape::List(Some(0), Some(5), &Shape::Text(Some(1), Some(255), None)),
                    ),
                    may("artifactStatus", IMAGE_STATUS),
                ]),
            ),
            TOKEN,
            may("maxResults", Shape::Number(1, Some(50))),
        ],
    ),
    ("ListImages", &[REGISTRY_ID, NAME, TOKEN, MAX, may("filter", IMAGE_FILTER)]),
    ("ListPullTimeUpdateExclusions", &[MAX, TOKEN]),
    ("ListTagsForResource", &[must("resourceArn", STRING)]),
    ("PutAccountSetting", &[must("name", SETTING), must("value", STRING)]),
    (
        "PutImage",
        &[
            REGISTRY_ID,
            NAME,
            must("imageManifest", Shape::Text(Some(1), Some(4_194_304), None)),
            may("imageManifestMediaType", STRING),
            may("imageTag", IMAGE_TAG),
            may("imageDigest", STRING),
        ],
    ),
    (
        "PutImageScanningConfiguration",
        &[REGISTRY_ID, NAME, must("imageScanningConfiguration", SCAN_ON_PUSH)],
    ),
    (
        "PutImageTagMutability",
        &[
            REGISTRY_ID,
            NAME,
            must("imageTagMutability", MUTABILITY),
            may("imageTagMutabilityExclusionFilters", EXCLUSIONS),
        ],
    ),
    ("PutLifecyclePolicy", &[REGISTRY_ID, NAME, must("lifecyclePolicyText", LIFECYCLE)]),
    ("PutRegistryPolicy", &[must("policyText", POLICY)]),
    (
        "PutRegistryScanningConfiguration",
        &[
            may("scanType", Shape::Word(&["BASIC", "ENHANCED"])),
            may("rules", Shape::List(Some(0), Some(2), &SCAN_RULE)),
        ],
    ),
    (
        "PutReplicationConfiguration",
        &[must(
            "replicationConfiguration",
            Shape::Object(&[must("rules", Shape::List(Some(0), Some(25), &REPLICATION_RULE))]),
        )],
    ),
    ("RegisterPullTimeUpdateExclusion", &[must("principalArn", PRINCIPAL)]),
    (
        "SetRepositoryPolicy",
        &[REGISTRY_ID, NAME, must("policyText", POLICY), may("force", Shape::Flag)],
    ),
    ("StartImageScan", &[REGISTRY_ID, NAME, must("imageId", IMAGE)]),
    ("StartLifecyclePolicyPreview", &[REGISTRY_ID, NAME, may("lifecyclePolicyText", LIFECYCLE)]),
    ("TagResource", &[must("resourceArn", STRING), must("tags", TAGS)]),
    (
        "UntagResource",
        &[must("resourceArn", STRING), must("tagKeys", Shape::List(None, None, &STRING))],
    ),
    (
        "UpdateImageStorageClass",
        &[
            REGISTRY_ID,
            NAME,
            must("imageId", IMAGE),
            must("targetStorageClass", Shape::Word(&["STANDARD", "ARCHIVE"])),
        ],
    ),
    (
        "UploadLayerPart",
        &[
            REGISTRY_ID,
            NAME,
            must("uploadId", UPLOAD),
            must("partFirstByte", Shape::Number(0, None)),
            must("partLastByte", Shape::Number(0, None)),
            must("layerPartBlob", Shape::Blob(20_971_520)),
        ],
    ),
];

/// Checks that the operation is served and that the model allows the input. Unknown members are
/// ignored, as ECR does.
pub fn check(operation: &str, input: &Value) -> Result<(), Error> {
    let Some((_, members)) = OPERATIONS.iter().find(|(name, _)| *name == operation) else {
        return Err(error("UnknownOperationException", format!("{operation} is not served")));
    };
    object(members, input, "")
}

fn object(members: &[Member], value: &Value, path: &str) -> Result<(), Error> {
    let object = value.as_object().ok_or_else(|| wrong_type(path, "a structure"))?;
    for (required, name, shape) in members {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        match object.get(*name) {
            None | Some(Value::Null) if *required => {
                return Err(unsatisfied(&path, "must not be null"));
            }
            None | Some(Value::Null) => {}
            Some(value) => check_value(*shape, value, &path)?,
        }
    }
    Ok(())
}

fn check_value(shape: Shape, value: &Value, path: &str) -> Result<(), Error> {
    match (shape, value) {
        (Shape::Text(min, max, pattern), Value::String(text)) => {
            let length = text.chars().count();
            within(min, max, length, path, "length")?;
            match pattern {
                Some(pattern) if !matches(pattern, text) => {
                    let constraint = format!("must satisfy regular expression '{pattern}'");
                    Err(unsatisfied(path, &constraint))
                }
                _ => Ok(()),
            }
        }
        (Shape::Word(words), Value::String(text)) => {
            if words.contains(&text.as_str()) {
                return Ok(());
            }
            let constraint = format!("Member must satisfy enum value set: [{}]", words.join(", "));
            Err(unsatisfied(path, &constraint))
        }
        (Shape::Number(min, max), Value::Number(number)) => {
            let number = number.as_i64().ok_or_else(|| wrong_type(path, "an integer"))?;
            if number < min {
                let constraint = format!("must have value greater than or equal to {min}");
                return Err(unsatisfied(path, &constraint));
            }
            match max {
                Some(max) if number > max => {
                    let constraint = format!("must have value less than or equal to {max}");
                    Err(unsatisfied(path, &constraint))
                }
                _ => Ok(()),
            }
        }
        (Shape::Flag, Value::Bool(_)) => Ok(()),
        (Shape::Blob(max), Value::String(text)) => {
            let bytes = aws_smithy_types::base64::decode(text)
                .map_err(|_| wrong_type(path, "a blob in base64"))?;
            within(None, Some(max), bytes.len(), path, "length")
        }
        (Shape::List(min, max, member), Value::Array(values)) => {
            within(min, max, values.len(), path, "length")?;
            let each = values.iter().enumerate();
            each.map(|(n, value)| (format!("{path}.{}.member", n + 1), value))
                .try_for_each(|(path, value)| check_value(*member, value, &path))
        }
        (Shape::Object(members), value) => object(members, value, path),
        (Shape::Text(..) | Shape::Word(_), _) => Err(wrong_type(path, "a string")),
        (Shape::Number(..), _) => Err(wrong_type(path, "a number")),
        (Shape::Flag, _) => Err(wrong_type(path, "a boolean")),
        (Shape::Blob(_), _) => Err(wrong_type(path, "a blob in base64")),
        (Shape::List(..), _) => Err(wrong_type(path, "a list")),
    }
}

/// Whether the pattern, which the model anchors at both ends, matches.
#[must_use]
pub fn matches(pattern: &'static str, text: &str) -> bool {
    thread_local! {
        /// Compiling a pattern takes longer than the rest of a call.
        static COMPILED: RefCell<BTreeMap<&'static str, Option<Regex>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let anchored = || Regex::new(&format!("^(?:{pattern})$")).ok();
        let regex = compiled.entry(pattern).or_insert_with(anchored);
        regex.as_ref().is_some_and(|regex| regex.is_match(text))
    })
}

fn within(
    min: Option<usize>,
    max: Option<usize>,
    found: usize,
    path: &str,
    what: &str,
) -> Result<(), Error> {
    match (min, max) {
        (Some(min), _) if found < min => {
            let constraint = format!("must have {what} greater than or equal to {min}");
            Err(unsatisfied(path, &constraint))
        }
        (_, Some(max)) if found > max => {
            Err(unsatisfied(path, &format!("must have {what} less than or equal to {max}")))
        }
        _ => Ok(()),
    }
}

/// The error for a parameter, in the words of ECR.
#[must_use]
pub fn unsatisfied(path: &str, constraint: &str) -> Error {
    let message =
        format!("Invalid parameter at '{path}' failed to satisfy constraint: '{constraint}'");
    error("InvalidParameterException", message)
}

fn wrong_type(path: &str, expected: &str) -> Error {
    error("SerializationException", format!("{path} is not {expected}"))
}

/// The model as data, for a comparison with the published model: the members of each operation, each
/// with its type and its limits.
#[must_use]
pub fn published() -> Value {
    let operations = OPERATIONS.iter();
    let members = operations.map(|(name, members)| ((*name).to_owned(), publish(members)));
    Value::Object(members.collect())
}

fn publish(members: &[Member]) -> Value {
    let member = |(required, name, shape): &Member| {
        let mut found = publish_shape(*shape);
        found.insert("required".to_owned(), (*required).into());
        ((*name).to_owned(), Value::Object(found))
    };
    Value::Object(members.iter().map(member).collect())
}

fn publish_shape(shape: Shape) -> Map<String, Value> {
    let value = match shape {
        Shape::Text(min, max, pattern) => {
            json!({"type": "string", "min": min, "max": max, "pattern": pattern})
        }
        Shape::Word(words) => json!({"type": "string", "enum": words}),
        Shape::Number(min, max) => json!({"type": "number", "min": min, "max": max}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Blob(max) => json!({"type": "blob", "min": 0, "max": max}),
        Shape::List(min, max, member) => {
            json!({"type": "list", "min": min, "max": max, "member": publish_shape(*member)})
        }
        Shape::Object(members) => json!({"type": "structure", "members": publish(members)}),
    };
    let Value::Object(found) = value else { return Map::new() };
    found.into_iter().filter(|(_, value)| !value.is_null()).collect()
}
