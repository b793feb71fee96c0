//! What is wanted × what is there → what is to be done: values, decided without a call.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use warden_aws::registry::replaced_lifecycle::ReplacedLifecycle;
use warden_aws::registry::repository::{Encryption, Mutability, RepositoryDescription};
use warden_core::image::Wildcard;
use warden_core::lifecycle::{is_written_by_warden, same_rules};

use super::properties::{Desired, OnDelete, OnExisting, Previous, RESERVED};
use super::pull;
use crate::arn::{ADOPTED_TAG, ON_DELETE_TAG, OWNER_TAG};
use crate::plan::ChangePlan;
use crate::request::Kind;

/// A repository in ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRepository {
    /// Its settings, as `DescribeRepositories` shows them.
    pub description: RepositoryDescription,
    /// Whose it is.
    pub standing: OwnershipState,
    /// Its lifecycle policy.
    pub lifecycle: Option<String>,
    /// Its repository policy.
    pub policy: Option<String>,
}

/// Whose a repository is, and whether it has anything to lose: all that its removal goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipState {
    /// Its resource tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it has no images at all, archived ones included.
    pub empty: bool,
}

impl OwnershipState {
    /// Who made it: the value of its owner tag.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.tags.get(OWNER_TAG).map(String::as_str)
    }

    /// Whether `owner` made it.
    #[must_use]
    pub fn owned_by(&self, owner: &str) -> bool {
        self.owner() == Some(owner)
    }

    /// Who adopted it.
    #[must_use]
    pub fn adopter(&self) -> Option<&str> {
        self.tags.get(ADOPTED_TAG).map(String::as_str)
    }

    /// Whether the last accepted request wants the images to be deleted with the repository.
    #[must_use]
    pub fn is_deleted_with_images(&self) -> bool {
        let stored = self.tags.get(ON_DELETE_TAG).map(|stored| stored.parse());
        matches!(stored, Some(Ok(OnDelete::DeleteWithImages)))
    }
}

/// Why nothing may be done at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileRefusal {
    /// There is a repository of that name, and it is not ours.
    #[error(
        "repository {name} exists already and {whose}. Nothing was changed. \
         Set OnExisting to adopt to govern it as it is, or choose another RepositoryName"
    )]
    Exists {
        /// Its name.
        name: String,
        /// What its owner tag says.
        whose: String,
    },
    /// Its encryption is another.
    #[error(
        "repository {name} is encrypted with {observed}, and ECR cannot change that to {desired}. \
         Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images"
    )]
    Encryption {
        /// Its name.
        name: String,
        /// As it is.
        observed: String,
        /// As it should be.
        desired: String,
    },
    /// A changed lifecycle policy would expire more images than it may.
    #[error(
        "the changed lifecycle policy would expire {count} images, more than LifecycleImpactLimit {limit} \
         allows ({examples}). The policy in force was not touched. Raise the limit if they may go"
    )]
    Impact {
        /// How many, by ECR's preview.
        count: u64,
        /// How many may.
        limit: u32,
        /// Some of them.
        examples: String,
    },
}

/// Whether anything may be done with what is there.
pub fn permit(
    desired: &Desired,
    previous: &Previous,
    observed: Option<&ObservedRepository>,
    kind: Kind,
) -> Result<(), ReconcileRefusal> {
    let Some(observed) = observed else {
        return Ok(());
    };
    let name = desired.policy.repository_name.to_string();
    let standing = &observed.standing;
    // An update keeps the repository that its resource adopted. A creation adopts by OnExisting.
    let adopted = kind == Kind::Update && standing.adopter() == Some(&desired.owner);
    let foreign = !standing.owned_by(&desired.owner) && !adopted;
    if foreign && desired.on_existing == OnExisting::Fail {
        let whose = match standing.owner() {
            Some(owner) => format!("belongs to {owner}"),
            None => "was not made by ECR Warden".to_owned(),
        };
        return Err(ReconcileRefusal::Exists { name, whose });
    }

    let (wanted, found) = (&desired.encryption, &observed.description.encryption);
    let key_differs = match &wanted.key {
        Some(key) => found.key.as_ref() != Some(key),
        // Without a key ECR took the one that AWS manages, whose ARN nobody wrote down. That
        // it was another shows only where the old properties named it.
        None => found.key.is_some() && found.key == previous.kms_key,
    };
    if wanted.kind != found.kind || key_differs {
        return Err(ReconcileRefusal::Encryption {
            name,
            observed: found.to_string(),
            desired: wanted.to_string(),
        });
    }
    Ok(())
}

/// What is done about the lifecycle policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleDecision {
    /// The one in force stays.
    Keep,
    /// The one that is wanted is put.
    Put,
    /// It is put if ECR's preview allows.
    Preview,
}

/// What the lifecycle policy needs: a repository without images has nothing to lose.
#[must_use]
pub fn lifecycle(desired: &Desired, observed: Option<&ObservedRepository>) -> LifecycleDecision {
    let Some(observed) = observed else {
        return LifecycleDecision::Put;
    };
    if observed.lifecycle.as_deref().is_some_and(|text| same_rules(text, &desired.lifecycle)) {
        LifecycleDecision::Keep
    } else if observed.standing.empty {
        LifecycleDecision::Put
    } else {
        LifecycleDecision::Preview
    }
}

/// What a lifecycle policy would expire, by ECR's own preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleImpact {
    /// How many images.
    pub count: u64,
    /// Some of them, by tag or digest.
    pub examples: Vec<String>,
}

impl LifecycleImpact {
    /// Whether so many may go.
    pub fn within(&self, limit: u32) -> Result<(), ReconcileRefusal> {
        if self.count <= u64::from(limit) {
            return Ok(());
        }
        let mut examples = self.examples.join(", ");
        let shown = u64::try_from(self.examples.len()).unwrap_or(u64::MAX);
        if let Some(more @ 1..) = self.count.checked_sub(shown) {
            examples += &format!(", and {more} more");
        }
        Err(ReconcileRefusal::Impact { count: self.count, limit, examples })
    }
}

/// One change of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryChange {
    /// Make it, with its owner tag.
    Create {
        /// Whether tags can be moved, and the exceptions.
        mutability: Mutability,
        /// Whether each push is scanned.
        scan_on_push: bool,
        /// For good.
        encryption: Encryption,
        /// The resource tags, the owner's among them.
        tags: BTreeMap<String, String>,
    },
    /// Set resource tags.
    Tag(BTreeMap<String, String>),
    /// Remove resource tags.
    Untag(Vec<String>),
    /// Set whether tags can be moved, and the exceptions.
    SetMutability(Mutability),
    /// Set whether each push is scanned.
    SetScanOnPush(bool),
    /// Put the repository policy.
    SetPolicy(String),
    /// Remove the repository policy.
    DeletePolicy,
    /// Put the lifecycle policy.
    PutLifecycle(String),
    /// Remove the repository, with its images only if `with_images` says so.
    Delete {
        /// Whether images go with it.
        with_images: bool,
    },
}

/// What makes `observed` what is `desired`. Nothing, where it is that already.
pub fn plan(
    desired: &Desired,
    previous: &Previous,
    observed: Option<&ObservedRepository>,
    lifecycle: LifecycleDecision,
) -> Result<ChangePlan<RepositoryChange>, pull::Unreadable> {
    let mutability = (desired.policy.image_tag_mutability, desired.exclusion_filters.clone());
    let mut actions = Vec::new();
    if let Some(observed) = observed {
        let found = &observed.standing.tags;
        let policy = observed.policy.as_deref();
        // First: ECR refuses every policy with a principal that is gone, and then nothing else
        // may change.
        actions.extend(policy_change(desired, policy)?);
        let mut wanted = desired.tags.clone();
        if observed.standing.owned_by(&desired.owner) {
            wanted.insert(ON_DELETE_TAG.to_owned(), desired.on_delete.to_string());
        } else {
            wanted.insert(ADOPTED_TAG.to_owned(), desired.owner.clone());
            if lifecycle == LifecycleDecision::Put {
                wanted.extend(tags_of_replaced_lifecycle(&wanted, observed).unwrap_or_default());
            }
        }
        let tags: BTreeMap<String, String> =
            wanted.into_iter().filter(|(key, value)| found.get(key) != Some(value)).collect();
        if !tags.is_empty() {
            actions.push(RepositoryChange::Tag(tags));
        }
        // Others may tag it too: only what was ours is ours to remove.
        let stale: Vec<String> = previous
            .tag_keys
            .iter()
            .filter(|key| !desired.tags.contains_key(*key) && found.contains_key(*key))
            .filter(|key| !key.starts_with(RESERVED))
            .cloned()
            .collect();
        if !stale.is_empty() {
            actions.push(RepositoryChange::Untag(stale));
        }
        let (wanted, filters) = mutability;
        let set = |filters: &[Wildcard]| filters.iter().cloned().collect::<BTreeSet<_>>();
        let description = &observed.description;
        if description.mutability != Some(wanted)
            || set(&description.exclusion_filters) != set(&filters)
        {
            actions.push(RepositoryChange::SetMutability((wanted, filters)));
        }
        if description.scan_on_push != desired.scan_on_push {
            actions.push(RepositoryChange::SetScanOnPush(desired.scan_on_push));
        }
    } else {
        let mut tags = desired.tags.clone();
        tags.insert(OWNER_TAG.to_owned(), desired.owner.clone());
        tags.insert(ON_DELETE_TAG.to_owned(), desired.on_delete.to_string());
        let (scan_on_push, encryption) = (desired.scan_on_push, desired.encryption.clone());
        actions.push(RepositoryChange::Create { mutability, scan_on_push, encryption, tags });
        actions.extend(policy_change(desired, None)?);
    }

    // Last, since it is the one that lets images go.
    if lifecycle == LifecycleDecision::Put {
        actions.push(RepositoryChange::PutLifecycle(desired.lifecycle.clone()));
    }
    Ok(ChangePlan { actions })
}

/// The tags that hold the lifecycle policy that is about to be replaced, so that a person can put it
/// back. None if ECR Warden wrote the policy, or if the tags have no room for the policy.
fn tags_of_replaced_lifecycle(
    wanted: &BTreeMap<String, String>,
    observed: &ObservedRepository,
) -> Option<BTreeMap<String, String>> {
    let found = &observed.standing.tags;
    let replaced = match &observed.lifecycle {
        Some(text) if is_written_by_warden(text) => return None,
        Some(text) => ReplacedLifecycle::Policy(text.clone()),
        // After the adoption, a missing policy is one that somebody deleted.
        None if observed.standing.adopter().is_some() => return None,
        None => ReplacedLifecycle::NoPolicy,
    };
    let others = found.iter().chain(wanted).map(|(key, value)| (key.clone(), value.clone()));
    replaced.to_tags(&others.collect())
}

/// The change of the repository policy that the principals need, if any.
fn policy_change(
    desired: &Desired,
    policy: Option<&str>,
) -> Result<Option<RepositoryChange>, pull::Unreadable> {
    Ok(match pull::change(policy, &desired.pull_principals, &desired.partition)? {
        pull::Change::None => None,
        pull::Change::Set(text) => Some(RepositoryChange::SetPolicy(text)),
        pull::Change::Delete => Some(RepositoryChange::DeletePolicy),
    })
}

/// Whether a repository goes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRemoval {
    /// What is to be done, if anything.
    pub action: Option<RepositoryChange>,
    reason: &'static str,
}

/// What becomes of a repository whose resource goes. Only what `owner` made is removed, and
/// images only when told to.
#[must_use]
pub fn removal(
    standing: Option<&OwnershipState>,
    owner: &str,
    with_images: bool,
) -> RepositoryRemoval {
    let kept = |reason| RepositoryRemoval { action: None, reason };
    let Some(standing) = standing else { return kept("gone already") };
    if !standing.owned_by(owner) {
        return kept("kept, since this resource did not make it");
    }
    if standing.adopter().is_some() {
        return kept("kept, since another resource adopted it");
    }
    match (standing.empty, with_images) {
        (true, _) => RepositoryRemoval {
            action: Some(RepositoryChange::Delete { with_images: false }),
            reason: "removed, since it is empty",
        },
        (false, true) => RepositoryRemoval {
            action: Some(RepositoryChange::Delete { with_images: true }),
            reason: "removed with its images, as OnDelete says",
        },
        (false, false) => kept("kept, since it has images"),
    }
}

impl fmt::Display for RepositoryRemoval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl fmt::Display for RepositoryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create {
                mutability: (mutability, filters), scan_on_push, encryption, ..
            } => {
                write!(f, "create it with {mutability}{} tags, ", Except(filters))?;
                let scanned = if *scan_on_push { "scanned on push" } else { "not scanned on push" };
                write!(f, "{scanned}, encrypted with {encryption}")
            }
            Self::Tag(tags) => {
                let tags: Vec<String> =
                    tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "tag it {}", tags.join(", "))
            }
            Self::Untag(keys) => write!(f, "remove its tags {}", keys.join(", ")),
            Self::SetMutability((mutability, filters)) => {
                write!(f, "make its tags {mutability}{}", Except(filters))
            }
            Self::SetScanOnPush(true) => f.write_str("scan on push"),
            Self::SetScanOnPush(false) => f.write_str("stop scanning on push"),
            Self::SetPolicy(text) => write!(f, "put the repository policy {text}"),
            Self::DeletePolicy => f.write_str("remove the repository policy"),
            Self::PutLifecycle(text) => write!(f, "put the lifecycle policy {text}"),
            Self::Delete { with_images: true } => f.write_str("delete it with its images"),
            Self::Delete { with_images: false } => f.write_str("delete it, which is empty"),
        }
    }
}

struct Except<'a>(&'a [Wildcard]);

impl fmt::Display for Except<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let filters: Vec<&str> = self.0.iter().map(Wildcard::as_str).collect();
        write!(f, " (but {})", filters.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;
    use warden_aws::registry::repository::EncryptionType;
    use warden_core::policy::TagMutability;

    const OWNER: &str =
        "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-0000/Repository";

    fn desired(changes: &[(&str, Value)]) -> Desired {
        let mut properties = json!({
            "RepositoryName": "infrastructure", "ImageTagMutability": "IMMUTABLE", "ScanOnPush": "true",
            "LifecycleTagCount": "20", "LifecycleUntaggedDays": "7",
            "Governance": {
                "Tags": {"Grammar": "{component}-v{semver}", "Enforcement": "report"},
                "Retention": {"Enforcement": "report"},
            },
        });
        for (name, value) in changes {
            properties[*name] = value.clone();
        }
        let stack = OWNER.rsplit_once('/').unwrap().0.parse().unwrap();
        Desired::read(&properties, &stack, OWNER.to_owned()).unwrap()
    }

    /// The repository that `desired` describes.
    fn observed(desired: &Desired) -> ObservedRepository {
        ObservedRepository {
            description: RepositoryDescription {
                arn: "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure".to_owned(),
                uri: "123456789012.dkr.ecr.us-east-1.amazonaws.com/infrastructure".to_owned(),
                registry_id: "123456789012".to_owned(),
                mutability: Some(TagMutability::Immutable),
                exclusion_filters: Vec::new(),
                scan_on_push: true,
                encryption: Encryption { kind: EncryptionType::Aes256, key: None },
            },
            standing: OwnershipState {
                tags: [
                    (OWNER_TAG.to_owned(), OWNER.to_owned()),
                    (ON_DELETE_TAG.to_owned(), "retain".to_owned()),
                ]
                .into(),
                empty: false,
            },
            lifecycle: Some(desired.lifecycle.clone()),
            policy: None,
        }
    }

    fn check(desired: &Desired, observed: Option<&ObservedRepository>, expected: &Expect) {
        let lifecycle = lifecycle(desired, observed);
        let plan = plan(desired, &Previous::default(), observed, lifecycle).unwrap();
        expected.assert_eq(&format!("lifecycle: {lifecycle:?}\n{plan}"));
    }

    #[test]
    fn a_repository_that_is_not_there_is_made() {
        check(
            &desired(&[]),
            None,
            &expect![[r#"
                lifecycle: Put
                create it with IMMUTABLE tags, scanned on push, encrypted with AES256; put the lifecycle policy {"rules":[{"rulePriority":1,"description":"Expire images 90 days after they were archived","selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}"#]],
        );
    }

    #[test]
    fn a_repository_that_is_as_it_should_be_is_left_alone() {
        let desired = desired(&[]);
        let mut found = observed(&desired);
        // ECR may write the same policy another way.
        found.lifecycle = found.lifecycle.map(|text| text.replace(':', ": "));
        check(
            &desired,
            Some(&found),
            &expect![[r#"
            lifecycle: Keep
            nothing to do"#]],
        );
    }

    #[test]
    fn each_setting_that_differs_is_one_action_and_the_lifecycle_is_previewed() {
        let wanted = desired(&[
            ("ImageTagMutability", "MUTABLE_WITH_EXCLUSION".into()),
            ("ImageTagMutabilityExclusionFilters", json!(["v*"])),
            ("ScanOnPush", "false".into()),
            ("Tags", json!({"team": "platform"})),
            ("PullPrincipals", json!(["210987654321"])),
            ("LifecycleScope", "repository".into()),
        ]);
        check(
            &wanted,
            Some(&observed(&desired(&[]))),
            &expect![[r#"
            lifecycle: Preview
            put the repository policy {"Statement":[{"Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::210987654321:root"]},"Sid":"EcrWardenPullAccounts"}],"Version":"2012-10-17"}; tag it team=platform; make its tags MUTABLE_WITH_EXCLUSION (but v*); stop scanning on push"#]],
        );
    }

    #[test]
    fn a_policy_that_ecr_spells_its_own_way_is_the_same() {
        let native = ("LifecycleScope", json!("repository"));
        let ours = desired(std::slice::from_ref(&native)).lifecycle;
        let theirs = ours.replace(
            r#""tagStatus":"untagged""#,
            r#""storageClass": "standard", "tagStatus": "untagged""#,
        );
        assert!(theirs != ours && same_rules(&ours, &theirs));
        let longer = desired(&[native, ("LifecycleUntaggedDays", "8".into())]).lifecycle;
        assert!(!same_rules(&ours, &longer));
        assert!(!same_rules("", ""));
    }

    #[test]
    fn only_what_the_owner_made_goes_and_images_only_when_told_to() {
        let mut lines = String::new();
        for (owner, adopted, empty, with_images) in [
            (OWNER, false, true, false),
            (OWNER, false, false, false),
            (OWNER, false, false, true),
            (OWNER, true, true, true),
            ("somebody else", false, true, true),
            ("somebody else", false, false, true),
        ] {
            let mut tags = BTreeMap::from([(OWNER_TAG.to_owned(), OWNER.to_owned())]);
            if adopted {
                tags.insert(ADOPTED_TAG.to_owned(), "somebody else".to_owned());
            }
            let removal = removal(Some(&OwnershipState { tags, empty }), owner, with_images);
            let action = removal.action.as_ref().map(ToString::to_string);
            lines += &format!("{removal}: {}\n", action.as_deref().unwrap_or("-"));
        }
        expect![[r#"
            removed, since it is empty: delete it, which is empty
            kept, since it has images: -
            removed with its images, as OnDelete says: delete it with its images
            kept, since another resource adopted it: -
            kept, since this resource did not make it: -
            kept, since this resource did not make it: -
        "#]]
        .assert_eq(&lines);
    }
}
