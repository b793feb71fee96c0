//! The properties of `Custom::EcrRepository`: what is wanted.

use std::collections::BTreeMap;

use serde_json::Value;
use warden_aws::registry::repository::{Encryption, EncryptionType};
use warden_core::image::{RepositoryName, Wildcard};
use warden_core::keywords;
use warden_core::lifecycle;
use warden_core::policy::{Policy, TagMutability};
use warden_core::properties::{Invalid, Reader};

use super::pull::PullPrincipal;
use crate::arn::{KeyArn, OWNER_TAG, Stack};

keywords!(
    /// What is done about a repository that is there already and not ours.
    OnExisting {
        /// It is left alone and the creation fails.
        Fail = "fail",
        /// It is governed from now on, and never removed.
        Adopt = "adopt",
    }
);

keywords!(
    /// The outcome for an owned repository whose resource is deleted.
    OnDelete {
        /// It stays if it has images.
        Retain = "retain",
        /// It stays if it has images: said by name.
        DeleteIfEmpty = "delete-if-empty",
        /// It goes with its images.
        DeleteWithImages = "delete-with-images",
    }
);

/// What the properties ask for, valid as a whole.
#[derive(Clone, Debug)]
pub struct Desired {
    /// What governs the repository, its name and mutability included.
    pub policy: Policy,
    /// The native lifecycle policy that follows from it.
    pub lifecycle: String,
    /// The filters of a mutability with exclusions.
    pub exclusion_filters: Vec<Wildcard>,
    /// Whether each push is scanned.
    pub scan_on_push: bool,
    /// How it is encrypted.
    pub encryption: Encryption,
    /// The most images that a changed lifecycle policy may expire.
    pub lifecycle_impact_limit: u32,
    /// What is done about a repository that is not ours.
    pub on_existing: OnExisting,
    /// The outcome for the repository when its resource is deleted.
    pub on_delete: OnDelete,
    /// Who else may pull.
    pub pull_principals: Vec<PullPrincipal>,
    /// The repository's resource tags, without the owner's.
    pub tags: BTreeMap<String, String>,
    /// The value of the owner tag.
    pub owner: String,
    /// The partition, for the ARNs of principals.
    pub partition: String,
}

/// What the keys of our own resource tags begin with.
pub const RESERVED: &str = "ecr-warden:";

/// ECR's limits of tags on a resource, less our three: the number, and the characters of
/// a key and of a value.
const MOST_TAGS: usize = 47;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

impl Desired {
    /// Reads the properties and names every mistake in them at once.
    pub fn read(properties: &Value, stack: &Stack, owner: String) -> Result<Self, Invalid> {
        let mut reader = Reader::new(properties);
        for name in ["ServiceToken", "ServiceTimeout", "PolicyVersion"] {
            reader.ignore(name);
        }
        let policy = Policy::read(&mut reader);
        let exclusion_filters = exclusion_filters(&mut reader, policy.as_ref());
        let scan_on_push = reader.flag("ScanOnPush", false);
        let encryption = encryption(&mut reader, stack);
        let lifecycle_impact_limit = reader.number("LifecycleImpactLimit", 0..=100_000, Some(50));
        let on_existing = reader.optional("OnExisting").unwrap_or(OnExisting::Fail);
        let on_delete = reader.optional("OnDelete").unwrap_or(OnDelete::Retain);
        let pull_principals = reader.words("PullPrincipals");
        let tags = tags(&mut reader);
        if owner.chars().count() > LONGEST_VALUE {
            let message = format!(
                "the stack's ID and the logical ID make the tag {OWNER_TAG}, {} characters of at most \
                 {LONGEST_VALUE}; a shorter stack name is needed",
                owner.chars().count()
            );
            reader.problem("StackId", message);
        }

        match (policy, reader.finish()) {
            (Some(policy), problems) if problems.is_empty() => Ok(Self {
                lifecycle: lifecycle::document(&policy),
                policy,
                exclusion_filters,
                scan_on_push,
                encryption,
                lifecycle_impact_limit,
                on_existing,
                on_delete,
                pull_principals,
                tags,
                owner,
                partition: stack.partition.clone(),
            }),
            (_, problems) => Err(Invalid(problems)),
        }
    }
}

fn exclusion_filters(reader: &mut Reader<'_>, policy: Option<&Policy>) -> Vec<Wildcard> {
    const NAME: &str = "ImageTagMutabilityExclusionFilters";
    let filters: Vec<Wildcard> = reader.words(NAME);
    let Some(policy) = policy else { return filters };
    let mutability = policy.image_tag_mutability;
    match mutability {
        TagMutability::Mutable | TagMutability::Immutable if !filters.is_empty() => {
            reader.problem(
                NAME,
                format!("ImageTagMutability is {mutability}, which has no exclusions"),
            );
        }
        TagMutability::MutableWithExclusion | TagMutability::ImmutableWithExclusion
            if !(1..=5).contains(&filters.len()) =>
        {
            reader.problem(
                NAME,
                format!("expected 1 to 5 wildcards for {mutability}, got {}", filters.len()),
            );
        }
        _ => {}
    }
    filters
}

fn encryption(reader: &mut Reader<'_>, stack: &Stack) -> Encryption {
    let kind = reader.optional("EncryptionType").unwrap_or(EncryptionType::Aes256);
    let key: Option<KeyArn> = reader.optional("KmsKey");
    if let Some(key) = &key {
        if kind == EncryptionType::Aes256 {
            reader.problem("KmsKey", "EncryptionType is AES256, which takes no key");
        }
        if key.region != stack.region {
            let message = format!("the key is in {}; expected one in {}", key.region, stack.region);
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
            reader.problem(NAME, format!("{key:?} is reserved"));
        }
    }
    tags
}

/// What of the properties before an update matters now. They may have been refused
/// themselves, so whatever cannot be read is as good as absent.
#[derive(Clone, Debug, Default)]
pub struct Previous {
    /// The name it had, or should have had.
    pub repository_name: Option<RepositoryName>,
    /// The key that was asked for.
    pub kms_key: Option<String>,
    /// The keys of the resource tags that were ours to set.
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

    /// The same, as far as it is about the repository `name`: what was asked for another
    /// one says nothing of this one.
    #[must_use]
    pub fn of(&self, name: &RepositoryName) -> Self {
        if self.repository_name.as_ref() == Some(name) { self.clone() } else { Self::default() }
    }
}
