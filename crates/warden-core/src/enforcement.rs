//! Plans the enforcement of the tag rules on one image. Every change can be undone, and no plan
//! removes an image.
//!
//! ECR deletes an image with its last tag. Therefore a tag is removed only if the image keeps an
//! accepted tag ([`is_accepted_tag`]) that cannot move to another image ([`tag_can_move`]). Without
//! such a tag, the image first gets a quarantine tag.
//! Other tags do not count: another event may remove another bad tag, and a person may remove an older
//! quarantine tag with the command of its alert. Two invocations may enforce on the same image at the
//! same time, and a plan may be interrupted after any step: the image always keeps a tag.
//!
//! See the cases A3 and A4 in `docs/contributing/prior-art.md`.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::image::{Image, ImageStatus, Tag};
use crate::mutability::{Mutability, tag_can_move};
use crate::policy::{Policy, TagEnforcement};
use crate::quarantine::{quarantine_tag, quarantined_since};
use crate::replication::Replication;
use crate::tagging::{is_accepted_tag, is_read_as_digits, keeps_accepted_tag};

/// How long after a push enforcement may change the pushed image. Every principal that may invoke
/// `image-push` can send an event about any image, so an older image is only reported. No genuine
/// event is later than this: `EventBridge` delivers for 24 hours, Lambda retries for 6 hours, and a
/// dead-letter queue keeps an event for 14 days until somebody replays it.
pub const ENFORCED_AFTER_PUSH: TimeDelta = TimeDelta::days(16);

/// The evidence of the age of a pushed tag.
#[derive(Clone, Copy, Debug)]
pub struct PushEvidence {
    /// The time of the event. A sender can forge it.
    pub event_time: Option<DateTime<Utc>>,
    /// When the image was pushed, according to ECR. No tag is older than its image.
    pub image_pushed_at: Option<DateTime<Utc>>,
    /// Whether the ledger has recorded lately that enforcement removed the tag. If the image has the
    /// tag again, the tag is younger than that record.
    pub was_tag_removed: bool,
}

impl PushEvidence {
    /// Whether the tag was pushed at most [`ENFORCED_AFTER_PUSH`] ago.
    #[must_use]
    pub fn is_recent(self, now: DateTime<Utc>) -> bool {
        let is_recent = |time: Option<DateTime<Utc>>| {
            time.is_some_and(|time| now.signed_duration_since(time) <= ENFORCED_AFTER_PUSH)
        };
        is_recent(self.event_time) && (self.was_tag_removed || is_recent(self.image_pushed_at))
    }
}

keywords!(
    /// The outcome of enforcement for a tag that violates the policy, and for its image.
    EnforcementOutcome {
        /// No image is changed. An alert has the reason, or the weekly digest has the tag if the rule only
        /// reports.
        Reported = "reported",
        /// The tag is removed, and the image keeps an accepted tag.
        Untagged = "untagged",
        /// The tag is removed, and the image has a quarantine tag.
        Quarantined = "quarantined",
        /// The image is archived with its tags.
        Archived = "archived",
    }
);

/// A change of the image. Each step is one call of ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnforcementStep {
    /// Adds this tag to the image.
    Add(Tag),
    /// Removes this tag from the image.
    Remove(Tag),
    /// Archives the image.
    Archive,
    /// Restores the image from the archive.
    Restore,
}

/// The plan for one tag of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementPlan {
    /// The outcome after all steps, which the alert reports.
    pub action: EnforcementOutcome,
    /// The steps that are left to do, in order.
    pub steps: Vec<EnforcementStep>,
    /// The quarantine tag of the image, for [`EnforcementOutcome::Quarantined`].
    pub quarantine_tag: Option<Tag>,
    /// Why the plan only reports although the policy would change the image.
    pub because: Option<Cow<'static, str>>,
    /// The copies of the image in other registries, if the plan changes the image.
    pub replication: Replication,
    /// Whether the image has the tag. A plan for a missing tag has no steps. An alert is sent only if
    /// an earlier attempt of this function removed the tag and was interrupted.
    pub tag_is_present: bool,
}

impl EnforcementPlan {
    /// A plan that changes nothing.
    #[must_use]
    pub fn report(because: Option<&'static str>) -> Self {
        let because = because.map(Cow::Borrowed);
        Self { because, ..Self::new(EnforcementOutcome::Reported, vec![]) }
    }

    /// Whether a step changes the image. A restore does not count.
    #[must_use]
    pub fn changes_image(&self) -> bool {
        self.steps.iter().any(|step| *step != EnforcementStep::Restore)
    }

    /// The same plan for an image with these copies. A plan that would change the image only reports
    /// if [`Replication::reason_to_report`] gives a reason.
    #[must_use]
    pub fn with_replication(self, policy: &Policy, replication: Replication) -> Self {
        match replication.reason_to_report(policy) {
            Some(because) if self.changes_image() => {
                Self { because: Some(because.into()), replication, ..Self::report(None) }
            }
            _ => Self { replication, ..self },
        }
    }

    /// A plan that only reports, for a reason that was composed at run time.
    #[must_use]
    pub fn report_because(reason: String) -> Self {
        Self { because: Some(Cow::Owned(reason)), ..Self::report(None) }
    }

    /// The plan for an image that does not exist any more.
    #[must_use]
    pub fn gone() -> Self {
        let because = "the image does not exist any more; CloudTrail shows who deleted it";
        Self { tag_is_present: false, ..Self::report(Some(because)) }
    }

    /// The plan for a tag without proof of a recent push ([`PushEvidence`]): a plan that would change
    /// the image only reports.
    #[must_use]
    pub fn without_proof_of_push(self) -> Self {
        if self.changes_image() { Self::report(Some(NO_PROOF_OF_PUSH)) } else { self }
    }

    /// The plan for a policy that governs the tag no longer: a plan that would change the image only
    /// reports. A plan without a change describes what an earlier attempt has done.
    #[must_use]
    pub fn by_replaced_policy(self) -> Self {
        if self.changes_image() { Self::report(Some(REPLACED_POLICY)) } else { self }
    }

    /// The outcome as a short text. An alert with the same outcome for the same tag is not sent again.
    #[must_use]
    pub fn outcome(&self) -> String {
        match (&self.because, self.restores()) {
            (_, true) => "restored".to_owned(),
            (Some(because), _) => format!("{}: {because}", self.action),
            (None, _) => self.action.to_string(),
        }
    }

    /// Whether the plan restores the image from the archive.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.steps.contains(&EnforcementStep::Restore)
    }

    /// Whether a step adds a tag. ECR adds a tag only together with the manifest of the image.
    #[must_use]
    pub fn needs_manifest(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, EnforcementStep::Add(_)))
    }

    fn new(action: EnforcementOutcome, steps: Vec<EnforcementStep>) -> Self {
        Self {
            action,
            steps,
            quarantine_tag: None,
            because: None,
            replication: Replication::default(),
            tag_is_present: true,
        }
    }
}

/// Plans the enforcement for `tag`, which violates `policy`, on `image`. `mutability` is the present
/// tag mutability of the repository. None if it is unknown.
#[must_use]
pub fn plan_enforcement(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    mutability: Option<&Mutability>,
    today: NaiveDate,
) -> EnforcementPlan {
    let tag_is_present = image.tags.contains(tag);
    let plan = match policy.tag_enforcement() {
        TagEnforcement::Report => EnforcementPlan::report(None),
        // A forbidden tag, or a tag with a component that the policy does not list.
        _ if is_read_as_digits(policy, tag) => EnforcementPlan::report(Some(IS_READ_AS_DIGITS)),
        TagEnforcement::Quarantine if tag_is_present => {
            quarantine(policy, tag, image, mutability, today)
        }
        TagEnforcement::Quarantine => plan_for_missing_tag(policy, tag, image, mutability, today),
        TagEnforcement::Archive => archive(policy, image),
    };
    if tag_is_present { plan } else { EnforcementPlan { steps: vec![], tag_is_present, ..plan } }
}

const NO_PROOF_OF_PUSH: &str = "ECR does not record when a tag is added to an image, and neither ECR \
     nor the ledger shows that the tag was pushed in the last 16 days; if the tag is new, remove the \
     tag yourself";

const REPLACED_POLICY: &str = "the rule that the tag violated does not apply to it any more";
const IS_READ_AS_DIGITS: &str = "the grammar reads digits as a commit, and they may be a build number \
     or a time";

const IS_ACTIVATING: &str = "ECR is restoring the image from the archive";

fn quarantine(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    mutability: Option<&Mutability>,
    today: NaiveDate,
) -> EnforcementPlan {
    match image.status {
        ImageStatus::Active => {}
        ImageStatus::Archived => {
            return EnforcementPlan::report(Some("the image is archived and cannot be pulled"));
        }
        ImageStatus::Activating => return EnforcementPlan::report(Some(IS_ACTIVATING)),
    }
    if tag_can_move(mutability, tag) {
        // The tag could move to another image before the call that removes the tag.
        return EnforcementPlan::report(Some(
            "the tag mutability of the repository lets the tag move to another image",
        ));
    }
    let remove = EnforcementStep::Remove(tag.clone());
    if keeps_accepted_tag(policy, &image.tags, mutability) {
        return EnforcementPlan::new(EnforcementOutcome::Untagged, vec![remove]);
    }
    // Add a quarantine tag of today also if the image has an older one: the days of the quarantine
    // begin now, and the call makes sure that the image has a tag when the bad tag is removed.
    let quarantine_tag = quarantine_tag(today, &image.digest, tag);
    let steps = vec![EnforcementStep::Add(quarantine_tag.clone()), remove];
    EnforcementPlan {
        quarantine_tag: Some(quarantine_tag),
        ..EnforcementPlan::new(EnforcementOutcome::Quarantined, steps)
    }
}

/// Reads the outcome for a tag that the image does not have any more from the other tags of the image.
fn plan_for_missing_tag(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    mutability: Option<&Mutability>,
    today: NaiveDate,
) -> EnforcementPlan {
    // An image that keeps an accepted tag is not quarantined, so a quarantine tag would be older.
    if keeps_accepted_tag(policy, &image.tags, mutability) {
        return EnforcementPlan::new(EnforcementOutcome::Untagged, vec![]);
    }
    let since = |other: &Tag| quarantined_since(other, tag, &image.digest, today);
    let quarantine_tags = image.tags.iter().filter(|other| since(other).is_some());
    let newest = quarantine_tags.max_by_key(|other| since(other));
    let action = if newest.is_some() {
        EnforcementOutcome::Quarantined
    } else {
        EnforcementOutcome::Untagged
    };
    EnforcementPlan { quarantine_tag: newest.cloned(), ..EnforcementPlan::new(action, vec![]) }
}

fn archive(policy: &Policy, image: &Image) -> EnforcementPlan {
    if has_accepted_tag(policy, image) {
        return EnforcementPlan::report(Some("the image also has an accepted tag"));
    }
    match image.status {
        ImageStatus::Active => {
            EnforcementPlan::new(EnforcementOutcome::Archived, vec![EnforcementStep::Archive])
        }
        ImageStatus::Archived => EnforcementPlan::new(EnforcementOutcome::Archived, vec![]),
        // ECR refuses to archive an image that it is restoring.
        ImageStatus::Activating => EnforcementPlan::report(Some(IS_ACTIVATING)),
    }
}

/// Plans the restore of an image that enforcement archived although the image has an accepted tag.
/// The image got the tag between the description and the call, or just after the call. In the second
/// case ECR may already be restoring the image.
#[must_use]
pub fn undo_archiving(policy: &Policy, image: &Image) -> Option<EnforcementPlan> {
    let archives = policy.tag_enforcement() == TagEnforcement::Archive;
    if !archives || !has_accepted_tag(policy, image) {
        return None;
    }
    match image.status {
        ImageStatus::Active => None,
        ImageStatus::Archived => Some(EnforcementPlan {
            steps: vec![EnforcementStep::Restore],
            ..EnforcementPlan::report(None)
        }),
        ImageStatus::Activating => Some(EnforcementPlan::report(Some(IS_ACTIVATING))),
    }
}

fn has_accepted_tag(policy: &Policy, image: &Image) -> bool {
    image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
}

impl fmt::Display for EnforcementStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(tag) => write!(f, "add the tag {tag}"),
            Self::Remove(tag) => write!(f, "remove the tag {tag}"),
            Self::Archive => f.write_str("archive the image"),
            Self::Restore => f.write_str("restore the image from the archive"),
        }
    }
}

impl fmt::Display for EnforcementPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tag_is_present {
            return f.write_str("the image does not have the tag any more");
        }
        for step in &self.steps {
            write!(f, "{step}, ")?;
        }
        f.write_str("send an alert")?;
        self.because.as_ref().map_or(Ok(()), |because| write!(f, " and change nothing: {because}"))
    }
}

#[cfg(test)]
mod tests;
