//! Decides the changes from the desired repository to the observed repository, without a call.

use std::collections::BTreeMap;
use std::fmt;

use warden_aws::registry::replaced_lifecycle::{COUNT_TAG, ReplacedLifecycle};
use warden_aws::registry::repository::{Encryption, RepositoryDescription};
use warden_core::lifecycle::{document_of_provisioned, have_same_rules, is_written_by_warden};
use warden_core::mutability::Mutability;

use super::properties::{Desired, OnDelete, OnExisting, Previous, RESERVED};
use super::pull;
use crate::arn::{ADOPTED_TAG, ON_DELETE_TAG, OWNER_TAG};
use crate::plan::ChangePlan;
use crate::request::Kind;

/// A repository in ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRepository {
    /// The settings, as `DescribeRepositories` shows them.
    pub description: RepositoryDescription,
    /// The ownership of the repository.
    pub standing: OwnershipState,
    /// The lifecycle policy.
    pub lifecycle: Option<String>,
    /// The repository policy.
    pub policy: Option<String>,
}

/// The ownership of a repository, and whether the repository has images. Its removal depends on nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipState {
    /// The resource tags of the repository.
    pub tags: BTreeMap<String, String>,
    /// Whether the repository has no images, not even archived images.
    pub empty: bool,
}

impl OwnershipState {
    /// The resource that created the repository, from the owner tag.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.tags.get(OWNER_TAG).map(String::as_str)
    }

    /// Whether the resource `owner` created the repository.
    #[must_use]
    pub fn owned_by(&self, owner: &str) -> bool {
        self.owner() == Some(owner)
    }

    /// The resource that adopted the repository.
    #[must_use]
    pub fn adopter(&self) -> Option<&str> {
        self.tags.get(ADOPTED_TAG).map(String::as_str)
    }

    /// Whether the last accepted request set `OnDelete` to `delete-with-images`.
    #[must_use]
    pub fn is_deleted_with_images(&self) -> bool {
        let stored = self.tags.get(ON_DELETE_TAG).map(|stored| stored.parse());
        matches!(stored, Some(Ok(OnDelete::DeleteWithImages)))
    }
}

/// The reason why the repository may not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileRefusal {
    /// A repository of that name exists, and this resource did not create it.
    #[error(
        "repository {name} exists already and {whose}. Nothing was changed. \
         Set OnExisting to adopt to govern this repository, or choose another RepositoryName"
    )]
    Exists {
        /// The name of the repository.
        name: String,
        /// The owner, from the owner tag.
        whose: String,
    },
    /// The repository has another encryption.
    #[error(
        "repository {name} is encrypted with {observed}, and ECR cannot change that to {desired}. \
         Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images"
    )]
    Encryption {
        /// The name of the repository.
        name: String,
        /// The present encryption.
        observed: String,
        /// The desired encryption.
        desired: String,
    },
    /// The new lifecycle policy would expire more images than the limit allows.
    #[error(
        "the new lifecycle policy would expire {count} images, more than LifecycleImpactLimit {limit} \
         allows ({examples}). The lifecycle policy was not changed. Raise the limit if ECR may expire these images"
    )]
    Impact {
        /// The number of images, from ECR's preview.
        count: u64,
        /// The limit.
        limit: u32,
        /// Some of the images.
        examples: String,
    },
}

/// Fails if the observed repository may not be changed.
pub fn permit(
    desired: &Desired,
    previous: &Previous,
    observed: Option<&ObservedRepository>,
    kind: Kind,
) -> Result<(), ReconcileRefusal> {
    let Some(observed) = observed else {
        return Ok(());
    };
    let name = desired.settings.repository_name.to_string();
    let standing = &observed.standing;
    // An Update keeps the repository that its resource adopted. A Create adopts only with OnExisting.
    let adopted = kind == Kind::Update && standing.adopter() == Some(&desired.owner);
    let foreign = !standing.owned_by(&desired.owner) && !adopted;
    if foreign && desired.on_existing == OnExisting::Fail {
        let whose = match standing.owner() {
            Some(owner) => format!("belongs to {owner}"),
            None => "was not created by ECR Warden".to_owned(),
        };
        return Err(ReconcileRefusal::Exists { name, whose });
    }

    let (wanted, found) = (&desired.encryption, &observed.description.encryption);
    let key_differs = match &wanted.key {
        Some(key) => found.key.as_ref() != Some(key),
        // Without a key, ECR uses the key that AWS manages, whose ARN is not known here. Only the old
        // properties show that the repository had another key.
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

/// The action on the lifecycle policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleDecision {
    /// The lifecycle policy stays.
    Keep,
    /// The desired lifecycle policy replaces the present policy.
    Put,
    /// The desired lifecycle policy replaces the present policy if ECR's preview is within the limit.
    Preview,
}

/// Decides about the lifecycle policy. An empty repository needs no preview.
#[must_use]
pub fn lifecycle(desired: &Desired, observed: Option<&ObservedRepository>) -> LifecycleDecision {
    let Some(observed) = observed else {
        return LifecycleDecision::Put;
    };
    let is_adopted = !observed.standing.owned_by(&desired.owner);
    if is_adopted && desired.keeps_adopted_lifecycle {
        return LifecycleDecision::Keep;
    }
    if observed.lifecycle.as_deref().is_some_and(|text| have_same_rules(text, &desired.lifecycle)) {
        LifecycleDecision::Keep
    } else if observed.standing.empty {
        LifecycleDecision::Put
    } else {
        LifecycleDecision::Preview
    }
}

/// The lifecycle policy that an adopted repository gets back because its rule only reports: the policy
/// before the adoption, or one that expires archived images only. None if the policy in force is not ECR
/// Warden's.
#[must_use]
pub fn lifecycle_to_put_back(desired: &Desired, observed: &ObservedRepository) -> Option<String> {
    let is_adopted = !observed.standing.owned_by(&desired.owner);
    let is_ours = observed.lifecycle.as_deref().is_some_and(is_written_by_warden);
    if !(is_adopted && desired.keeps_adopted_lifecycle && is_ours) {
        return None;
    }
    Some(match ReplacedLifecycle::from_tags(&observed.standing.tags) {
        Ok(Some(ReplacedLifecycle::Policy(text))) => text,
        _ => document_of_provisioned(&desired.settings, None),
    })
}

/// The images that a lifecycle policy would expire, from ECR's preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleImpact {
    /// The number of images.
    pub count: u64,
    /// Some of the images, by tag or digest.
    pub examples: Vec<String>,
}

impl LifecycleImpact {
    /// Fails if the number of images is above the limit.
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

/// A change of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryChange {
    /// Create the repository with its owner tag.
    Create {
        /// Whether tags can move, and the exceptions.
        mutability: Mutability,
        /// Whether ECR scans each image at its push.
        scan_on_push: bool,
        /// The encryption, which cannot change later.
        encryption: Encryption,
        /// The resource tags, with the owner tag.
        tags: BTreeMap<String, String>,
    },
    /// Set resource tags.
    Tag(BTreeMap<String, String>),
    /// Remove resource tags.
    Untag(Vec<String>),
    /// Set whether tags can move, and the exceptions.
    SetMutability(Mutability),
    /// Set whether ECR scans each image at its push.
    SetScanOnPush(bool),
    /// Put the repository policy.
    SetPolicy(String),
    /// Delete the repository policy.
    DeletePolicy,
    /// Put the lifecycle policy.
    PutLifecycle(String),
    /// Delete the repository. Its images are deleted only if `with_images` is set.
    Delete {
        /// Whether the images are deleted too.
        with_images: bool,
    },
}

/// The changes that make the observed repository equal to the desired repository.
pub fn plan(
    desired: &Desired,
    previous: &Previous,
    observed: Option<&ObservedRepository>,
    lifecycle: LifecycleDecision,
) -> Result<ChangePlan<RepositoryChange>, pull::Unreadable> {
    let mutability = desired.settings.mutability.clone();
    let mut actions = Vec::new();
    if let Some(observed) = observed {
        let found = &observed.standing.tags;
        let policy = observed.policy.as_deref();
        // The repository policy comes first: ECR refuses a policy with a principal that does not exist, and
        // then nothing else may change.
        actions.extend(policy_change(desired, policy)?);
        let mut wanted = desired.tags.clone();
        if observed.standing.owned_by(&desired.owner) {
            wanted.insert(ON_DELETE_TAG.to_owned(), desired.on_delete.to_string());
        } else {
            wanted.insert(ADOPTED_TAG.to_owned(), desired.owner.clone());
            if lifecycle == LifecycleDecision::Put {
                wanted.extend(tags_of_replaced_lifecycle(desired, &wanted, observed));
            }
        }
        let tags: BTreeMap<String, String> =
            wanted.into_iter().filter(|(key, value)| found.get(key) != Some(value)).collect();
        if !tags.is_empty() {
            actions.push(RepositoryChange::Tag(tags));
        }
        // Others may tag the repository too, so only tags of the old properties are removed.
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
        let description = &observed.description;
        if description.mutability.as_ref() != Some(&mutability) {
            actions.push(RepositoryChange::SetMutability(mutability));
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

    // The lifecycle policy comes last, because only this change lets ECR expire images.
    if lifecycle == LifecycleDecision::Put {
        actions.push(RepositoryChange::PutLifecycle(desired.lifecycle.clone()));
    }
    Ok(ChangePlan { actions })
}

/// The tags that hold the lifecycle policy from before the adoption, so that a person can put it
/// back. Empty if the tags hold it already, or if ECR Warden wrote the policy in force.
fn tags_of_replaced_lifecycle(
    desired: &Desired,
    wanted: &BTreeMap<String, String>,
    observed: &ObservedRepository,
) -> BTreeMap<String, String> {
    let found = &observed.standing.tags;
    let is_adopted = observed.standing.adopter() == Some(desired.owner.as_str());
    let replaced = match &observed.lifecycle {
        // The first policy of an adoption is the one that the team had.
        _ if is_adopted && found.contains_key(COUNT_TAG) => return BTreeMap::new(),
        Some(text) if is_written_by_warden(text) => return BTreeMap::new(),
        Some(text) => ReplacedLifecycle::Policy(text.clone()),
        // After the adoption, a missing policy is one that somebody deleted.
        None if is_adopted => return BTreeMap::new(),
        None => ReplacedLifecycle::NoPolicy,
    };
    let others = found.iter().chain(wanted).map(|(key, value)| (key.clone(), value.clone()));
    replaced.to_tags(&others.collect())
}

/// The change of the repository policy that the pull principals need.
fn policy_change(
    desired: &Desired,
    policy: Option<&str>,
) -> Result<Option<RepositoryChange>, pull::Unreadable> {
    Ok(match pull::change(policy, &desired.pull_principals, &desired.stack)? {
        pull::Change::None => None,
        pull::Change::Set(text) => Some(RepositoryChange::SetPolicy(text)),
        pull::Change::Delete => Some(RepositoryChange::DeletePolicy),
    })
}

/// Whether a repository is deleted, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRemoval {
    /// The change. None if the repository is kept or does not exist.
    pub action: Option<RepositoryChange>,
    reason: &'static str,
}

/// Decides about a repository whose resource is deleted. Only a repository that `owner` created is deleted,
/// and images are deleted only if `with_images` is set.
#[must_use]
pub fn removal(
    standing: Option<&OwnershipState>,
    owner: &str,
    with_images: bool,
) -> RepositoryRemoval {
    let kept = |reason| RepositoryRemoval { action: None, reason };
    let Some(standing) = standing else { return kept("the repository does not exist any more") };
    if !standing.owned_by(owner) {
        return kept("kept, because this resource did not create the repository");
    }
    if standing.adopter().is_some() {
        return kept("kept, because another resource adopted the repository");
    }
    match (standing.empty, with_images) {
        (true, _) => RepositoryRemoval {
            action: Some(RepositoryChange::Delete { with_images: false }),
            reason: "deleted, because the repository is empty",
        },
        (false, true) => RepositoryRemoval {
            action: Some(RepositoryChange::Delete { with_images: true }),
            reason: "deleted with its images, because OnDelete is delete-with-images",
        },
        (false, false) => kept("kept, because the repository has images"),
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
            Self::Create { mutability, scan_on_push, encryption, .. } => {
                write!(f, "create the repository with {mutability} tags, ")?;
                let scanned = if *scan_on_push { "scanned on push" } else { "not scanned on push" };
                write!(f, "{scanned}, encrypted with {encryption}")
            }
            Self::Tag(tags) => {
                let tags: Vec<String> =
                    tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "set the resource tags {}", tags.join(", "))
            }
            Self::Untag(keys) => write!(f, "remove the resource tags {}", keys.join(", ")),
            Self::SetMutability(mutability) => write!(f, "set the tag mutability {mutability}"),
            Self::SetScanOnPush(true) => f.write_str("turn on scans on push"),
            Self::SetScanOnPush(false) => f.write_str("turn off scans on push"),
            Self::SetPolicy(text) => write!(f, "put the repository policy {text}"),
            Self::DeletePolicy => f.write_str("delete the repository policy"),
            Self::PutLifecycle(text) => write!(f, "put the lifecycle policy {text}"),
            Self::Delete { with_images: true } => {
                f.write_str("delete the repository with its images")
            }
            Self::Delete { with_images: false } => f.write_str("delete the empty repository"),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};
    use warden_core::policy::Policy;

    use super::*;
    use warden_aws::registry::repository::EncryptionType;

    const OWNER: &str =
        "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-0000/Repository";

    fn desired(changes: &[(&str, Value)]) -> Desired {
        let mut properties = json!({
            "RepositoryName": "infrastructure", "ImageTagMutability": "IMMUTABLE", "ScanOnPush": "true",
            "LifecycleTagCount": "20", "LifecycleUntaggedDays": "7",
            "PolicyVersion": "0123456789abcdef",
        });
        for (name, value) in changes {
            properties[*name] = value.clone();
        }
        let stack = OWNER.rsplit_once('/').unwrap().0.parse().unwrap();
        let rule = r#"{"RepositoryName": "infrastructure", "Rule": "r", "Retention": {"Enforcement": "report"}}"#;
        let rule = Policy::parse(rule).unwrap();
        Desired::read(&properties, &stack, OWNER.to_owned()).unwrap().following(Some(&rule))
    }

    /// The observed repository that equals `desired`.
    fn observed(desired: &Desired) -> ObservedRepository {
        ObservedRepository {
            description: RepositoryDescription {
                arn: "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure".to_owned(),
                uri: "123456789012.dkr.ecr.us-east-1.amazonaws.com/infrastructure".to_owned(),
                registry_id: "123456789012".to_owned(),
                mutability: Some(desired.settings.mutability.clone()),
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
    fn a_repository_that_does_not_exist_is_created() {
        check(
            &desired(&[]),
            None,
            &expect![[r#"
                lifecycle: Put
                create the repository with IMMUTABLE tags, scanned on push, encrypted with AES256; put the lifecycle policy {"rules":[{"rulePriority":1,"description":"Expire images 90 days after they were archived","selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}"#]],
        );
    }

    #[test]
    fn a_repository_that_equals_the_desired_repository_does_not_change() {
        let desired = desired(&[]);
        let mut found = observed(&desired);
        // ECR may return the same policy in another form.
        found.lifecycle = found.lifecycle.map(|text| text.replace(':', ": "));
        check(
            &desired,
            Some(&found),
            &expect![[r#"
                lifecycle: Keep
                no change"#]],
        );
    }

    #[test]
    fn each_setting_that_differs_is_one_action_and_the_lifecycle_policy_is_previewed() {
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
                put the repository policy {"Statement":[{"Action":["ecr:BatchCheckLayerAvailability","ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::210987654321:root"]},"Sid":"EcrWardenPullAccounts"}],"Version":"2012-10-17"}; set the resource tags team=platform; set the tag mutability MUTABLE_WITH_EXCLUSION (except v*); turn off scans on push"#]],
        );
    }

    #[test]
    fn an_adopted_repository_keeps_its_lifecycle_policy_until_its_rule_enforces() {
        let adopting = desired(&[("OnExisting", "adopt".into())]);
        let mut found = observed(&adopting);
        found.standing.tags.clear();
        found.lifecycle = Some(r#"{"rules":[]}"#.to_owned());
        for found in [found.clone(), ObservedRepository { lifecycle: None, ..found.clone() }] {
            assert_eq!(lifecycle(&adopting, Some(&found)), LifecycleDecision::Keep);
        }
        let enforcing = Desired { keeps_adopted_lifecycle: false, ..adopting };
        assert_eq!(lifecycle(&enforcing, Some(&found)), LifecycleDecision::Preview);
    }

    #[test]
    fn an_adopted_repository_whose_rule_only_reports_again_gets_its_own_lifecycle_policy_back() {
        let reporting = desired(&[("OnExisting", "adopt".into())]);
        let own = r#"{"rules":[]}"#.to_owned();
        let mut found = observed(&reporting);
        found.standing.tags = ReplacedLifecycle::Policy(own.clone()).to_tags(&BTreeMap::new());
        assert_eq!(lifecycle_to_put_back(&reporting, &found), Some(own.clone()));
        // Without a stored policy, ECR expires archived images only.
        found.standing.tags.clear();
        let archived_only = document_of_provisioned(&reporting.settings, None);
        assert_eq!(lifecycle_to_put_back(&reporting, &found), Some(archived_only));
        found.lifecycle = Some(own);
        assert_eq!(lifecycle_to_put_back(&reporting, &found), None);
    }

    #[test]
    fn a_lifecycle_policy_that_ecr_returns_in_another_form_is_the_same() {
        let native = ("LifecycleScope", json!("repository"));
        let ours = desired(std::slice::from_ref(&native)).lifecycle;
        let theirs = ours.replace(
            r#""tagStatus":"untagged""#,
            r#""storageClass": "standard", "tagStatus": "untagged""#,
        );
        assert!(theirs != ours && have_same_rules(&ours, &theirs));
        let longer = desired(&[native, ("LifecycleUntaggedDays", "8".into())]).lifecycle;
        assert!(!have_same_rules(&ours, &longer));
        assert!(!have_same_rules("", ""));
    }

    #[test]
    fn only_a_repository_of_the_owner_is_deleted_and_images_only_on_request() {
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
            deleted, because the repository is empty: delete the empty repository
            kept, because the repository has images: -
            deleted with its images, because OnDelete is delete-with-images: delete the repository with its images
            kept, because another resource adopted the repository: -
            kept, because this resource did not create the repository: -
            kept, because this resource did not create the repository: -
        "#]]
        .assert_eq(&lines);
    }
}
