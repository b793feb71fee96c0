//! The properties of `Custom::EcrRepository`, which describe the desired repository.

use std::collections::BTreeMap;

use serde_json::Value;
use warden_aws::registry::repository::{Encryption, EncryptionType};
use warden_core::image::RepositoryName;
use warden_core::keywords;
use warden_core::lifecycle;
use warden_core::node::Node;
use warden_core::policy::{CleanupEnforcement, Policy, PolicyVersion, ProvisionedRepository};
use warden_core::properties::{Invalid, Reader};

use super::pull::PullPrincipal;
use crate::arn::{KeyArn, OWNER_TAG, Stack};

keywords!(
    /// The action on a repository that exists already and that this resource did not create.
    OnExisting {
        /// The creation fails, and the repository is not changed.
        Fail = "fail",
        /// The resource governs the repository from now on, and never deletes the repository.
        Adopt = "adopt",
    }
);

keywords!(
    /// The outcome for an owned repository whose resource is deleted.
    OnDelete {
        /// Keeps a repository that has images, and deletes an empty repository.
        Retain = "retain",
        /// The same as `Retain`, with a name that says so.
        DeleteIfEmpty = "delete-if-empty",
        /// Deletes the repository and its images.
        DeleteWithImages = "delete-with-images",
    }
);

/// The repository that the properties describe. All values are valid.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The name, the tag mutability and the settings of the lifecycle policy.
    pub settings: ProvisionedRepository,
    /// The version of the policy that the repository follows.
    pub policy_version: PolicyVersion,
    /// The native lifecycle policy, derived from the settings and the rule of the repository.
    pub lifecycle: String,
    /// Whether an adopted repository keeps the lifecycle policy that it has, because its rule only reports.
    pub keeps_adopted_lifecycle: bool,
    /// Whether ECR scans each image at its push.
    pub scan_on_push: bool,
    /// The encryption of the repository.
    pub encryption: Encryption,
    /// The most images that a changed lifecycle policy may expire.
    pub lifecycle_impact_limit: u32,
    /// The action on a repository that this resource did not create.
    pub on_existing: OnExisting,
    /// The outcome for the repository when its resource is deleted.
    pub on_delete: OnDelete,
    /// The principals that may pull, beside those that IAM lets pull.
    pub pull_principals: Vec<PullPrincipal>,
    /// The resource tags of the repository, without the tags of ECR Warden.
    pub tags: BTreeMap<String, String>,
    /// The value of the owner tag.
    pub owner: String,
    /// The stack, for the ARNs of principals.
    pub stack: Stack,
}

/// The prefix of the keys of ECR Warden's own resource tags.
pub const RESERVED: &str = "ecr-warden:";

/// ECR's limits for resource tags: the number of tags, less three for ECR Warden's own tags, and the
/// characters of a key and of a value.
const MOST_TAGS: usize = 47;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

impl Desired {
    /// Reads the properties. The error names every mistake.
    pub fn read(properties: &Value, stack: &Stack, owner: String) -> Result<Self, Invalid> {
        let node = Node::from(properties);
        let mut reader = Reader::new(&node);
        for name in ["ServiceToken", "ServiceTimeout"] {
            reader.ignore(name);
        }
        let settings = ProvisionedRepository::read(&mut reader);
        let policy_version: Option<PolicyVersion> = reader.required("PolicyVersion");
        let scan_on_push = reader.flag("ScanOnPush", false);
        let encryption = encryption(&mut reader, stack);
        let lifecycle_impact_limit = reader.number("LifecycleImpactLimit", 0..=100_000, Some(50));
        let on_existing = reader.optional("OnExisting").unwrap_or(OnExisting::Fail);
        let on_delete = reader.optional("OnDelete").unwrap_or(OnDelete::Retain);
        let pull_principals = reader.words("PullPrincipals");
        let tags = tags(&mut reader);
        if owner.chars().count() > LONGEST_VALUE {
            let message = format!(
                "the stack's ID and the logical ID are the value of the tag {OWNER_TAG}, which would have {} \
                 characters of at most {LONGEST_VALUE}; choose a shorter stack name",
                owner.chars().count()
            );
            reader.problem("StackId", message);
        }

        match (settings, policy_version, reader.finish()) {
            (Some(settings), Some(policy_version), problems) if problems.is_empty() => Ok(Self {
                lifecycle: lifecycle::document_of_provisioned(&settings, None),
                settings,
                policy_version,
                keeps_adopted_lifecycle: true,
                scan_on_push,
                encryption,
                lifecycle_impact_limit,
                on_existing,
                on_delete,
                pull_principals,
                tags,
                owner,
                stack: stack.clone(),
            }),
            (_, _, problems) => Err(Invalid(problems)),
        }
    }

    /// The repository with the lifecycle policy that its rule needs. Without a rule, nothing is removed.
    #[must_use]
    pub fn following(self, rule: Option<&Policy>) -> Self {
        let cleanup = rule.map_or(CleanupEnforcement::Report, Policy::cleanup);
        Self {
            lifecycle: lifecycle::document_of_provisioned(&self.settings, rule),
            keeps_adopted_lifecycle: cleanup == CleanupEnforcement::Report,
            ..self
        }
    }
}

fn encryption(reader: &mut Reader<'_>, stack: &Stack) -> Encryption {
    let kind = reader.optional("EncryptionType").unwrap_or(EncryptionType::Aes256);
    let key: Option<KeyArn> = reader.optional("KmsKey");
    if let Some(key) = &key {
        if kind == EncryptionType::Aes256 {
            reader.problem("KmsKey", "EncryptionType is AES256, which uses no key; leave KmsKey empty, or set EncryptionType to KMS");
        }
        if key.region != stack.region {
            let message =
                format!("the key is in {}; expected a key in {}", key.region, stack.region);
            reader.problem("KmsKey", message);
        }
    }
    Encryption { kind, key: key.map(|key| key.arn) }
}

fn tags(reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    const NAME: &str = "Tags";
    let tags: BTreeMap<String, String> = reader.map(NAME).into_iter().collect();
    if tags.len() > MOST_TAGS {
        reader.problem(NAME, format!("expected at most {MOST_TAGS} tags, got {}", tags.len()));
    }
    for (key, value) in &tags {
        if !(1..=LONGEST_KEY).contains(&key.chars().count())
            || value.chars().count() > LONGEST_VALUE
        {
            let message = format!(
                "expected a key of 1 to {LONGEST_KEY} and a value of at most {LONGEST_VALUE} characters at {key:?}"
            );
            reader.problem(NAME, message);
        }
        if key.starts_with(RESERVED) || key.starts_with("aws:") {
            reader.problem(NAME, format!("the key {key:?} is reserved"));
        }
    }
    tags
}

/// The old properties of an Update, as far as the plan needs them. The old properties may have been refused
/// themselves, so properties that cannot be read count as absent.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    /// The old name of the repository.
    pub repository_name: Option<RepositoryName>,
    /// The old KMS key.
    pub kms_key: Option<String>,
    /// The keys of the resource tags that the old properties set.
    pub tag_keys: Vec<String>,
}

impl Previous {
    /// Reads the old properties.
    #[must_use]
    pub fn read(properties: &Value) -> Self {
        let text = |name: &str| properties.get(name).and_then(Value::as_str);
        let tags = properties.get("Tags").and_then(Value::as_object);
        Self {
            repository_name: text("RepositoryName").and_then(|name| name.parse().ok()),
            kms_key: text("KmsKey").map(str::to_owned),
            tag_keys: tags.into_iter().flat_map(|tags| tags.keys().cloned()).collect(),
        }
    }

    /// The old properties, if they describe the repository `name`. The default otherwise, because the
    /// properties of another repository do not concern this repository.
    #[must_use]
    pub fn for_repository(&self, name: &RepositoryName) -> Self {
        if self.repository_name.as_ref() == Some(name) { self.clone() } else { Self::default() }
    }
}
