//! What is done about a tag that breaks the rules: nothing that cannot be undone, and never
//! the removal of an image.
//!
//! ECR deletes an image with its last tag. So a tag is removed only where an accepted one
//! ([`is_accepted_tag`]) stays; where there is none the image gets a quarantine tag first. Nothing else counts:
//! another bad tag may be about to go, and so may an older quarantine tag, by the command of
//! its alert. Two events of one image may be at work at once, and a plan may be cut off after
//! any of its steps: each leaves the image with a tag.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::image::{Image, ImageStatus, Tag};
use crate::policy::{Policy, TagEnforcement};
use crate::quarantine::{Quarantine, quarantine_tag};
use crate::replication::Replication;
use crate::tagging::is_accepted_tag;

/// How long after a push enforcement changes the pushed image. Every principal that may invoke
/// `image-push` can send an event about any image, so an older image is only reported. The bound is longer than any
/// event is late: `EventBridge` delivers for 24 hours, Lambda tries for 6 hours, and a dead-letter
/// queue keeps an event for 14 days until somebody replays it.
pub const ENFORCED_AFTER_PUSH: TimeDelta = TimeDelta::days(16);

/// The evidence of the age of a pushed tag.
#[derive(Clone, Copy, Debug)]
pub struct PushEvidence {
    /// The time of the event. A sender can forge it.
    pub event_time: Option<DateTime<Utc>>,
    /// ECR's time of the push of the image. No tag is older than its image.
    pub image_pushed_at: Option<DateTime<Utc>>,
    /// Whether the ledger has recorded lately that enforcement removed the tag. A tag that the image
    /// has again is younger.
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
    /// What became of a tag that breaks the rules, or of its image.
    EnforcementOutcome {
        /// It is only told.
        Reported = "reported",
        /// The tag is gone, the image has others.
        Untagged = "untagged",
        /// The tag is gone, the image has a quarantine tag.
        Quarantined = "quarantined",
        /// The image is in ECR's archive, with its tags.
        Archived = "archived",
    }
);

/// One change of the repository; each is one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnforcementStep {
    /// The image gets this tag.
    Add(Tag),
    /// This tag is taken away.
    Remove(Tag),
    /// The image is moved to the archive.
    Archive,
    /// The image is brought back from there.
    Restore,
}

/// What is to be done about one tag of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementPlan {
    /// What is told.
    pub action: EnforcementOutcome,
    /// What is left to be done, in order.
    pub steps: Vec<EnforcementStep>,
    /// The quarantine tag of what is quarantined.
    pub quarantine_tag: Option<Tag>,
    /// Why it is only reported, where the policy says more.
    pub because: Option<Cow<'static, str>>,
    /// The copies of the image in other registries, where the plan changes the image.
    pub replication: Replication,
    /// Whether the tag is there. Where it is gone there is nothing to do, and something to
    /// tell only if it was an attempt of ours, cut off, that took it away.
    pub tag_is_present: bool,
}

impl EnforcementPlan {
    /// The plan to tell, and to do nothing.
    #[must_use]
    pub fn report(because: Option<&'static str>) -> Self {
        let because = because.map(Cow::Borrowed);
        Self { because, ..Self::of(EnforcementOutcome::Reported, vec![]) }
    }

    /// Whether a step changes the image, and is not a return from the archive.
    #[must_use]
    pub fn changes_image(&self) -> bool {
        self.steps.iter().any(|step| *step != EnforcementStep::Restore)
    }

    /// The same plan where the image has these copies. A plan that would change the image only
    /// reports where the copies, or the policy, do not allow the change.
    #[must_use]
    pub fn with_replication(self, policy: &Policy, replication: Replication) -> Self {
        match replication.reason_to_report(policy) {
            Some(because) if self.changes_image() => {
                Self { because: Some(because.into()), replication, ..Self::report(None) }
            }
            _ => Self { replication, ..self },
        }
    }

    /// The plan to report for a reason that names something of the repository.
    #[must_use]
    pub fn report_because(reason: String) -> Self {
        Self { because: Some(Cow::Owned(reason)), ..Self::report(None) }
    }

    /// The plan for an image that is gone.
    #[must_use]
    pub fn gone() -> Self {
        let because = "the image is gone by now; who deleted it is in CloudTrail";
        Self { tag_is_present: false, ..Self::report(Some(because)) }
    }

    /// The plan for a tag of which nothing proves that it was pushed lately: a plan that would change
    /// the image reports instead.
    #[must_use]
    pub fn without_proof_of_push(self) -> Self {
        let changes = |step: &EnforcementStep| *step != EnforcementStep::Restore;
        if self.steps.iter().any(changes) { Self::report(Some(NO_PROOF_OF_PUSH)) } else { self }
    }

    /// What is told, in a word or two: the same again is no news.
    #[must_use]
    pub fn outcome(&self) -> String {
        match (&self.because, self.restores()) {
            (_, true) => "brought back".to_owned(),
            (Some(because), _) => format!("{}: {because}", self.action),
            (None, _) => self.action.to_string(),
        }
    }

    /// Whether the image is brought back from the archive.
    #[must_use]
    pub fn restores(&self) -> bool {
        self.steps.contains(&EnforcementStep::Restore)
    }

    /// Whether a step gives the image a tag, for which ECR asks for its manifest.
    #[must_use]
    pub fn needs_manifest(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, EnforcementStep::Add(_)))
    }

    fn of(action: EnforcementOutcome, steps: Vec<EnforcementStep>) -> Self {
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

/// Decides what is done about `tag`, which breaks the rules of `policy`, on `image` as it is.
/// `is_immutable` says whether the repository's tags are, all of them and now.
#[must_use]
pub fn plan_enforcement(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    is_immutable: bool,
    today: NaiveDate,
) -> EnforcementPlan {
    let tag_is_present = image.tags.contains(tag);
    let plan = match policy.governance.tags.enforcement {
        TagEnforcement::Report => EnforcementPlan::report(None),
        TagEnforcement::Quarantine if tag_is_present => {
            quarantine(policy, tag, image, is_immutable, today)
        }
        TagEnforcement::Quarantine => plan_for_missing_tag(policy, tag, image, today),
        TagEnforcement::Archive => archive(policy, image),
    };
    if tag_is_present { plan } else { EnforcementPlan { steps: vec![], tag_is_present, ..plan } }
}

const NO_PROOF_OF_PUSH: &str = "neither ECR nor the ledger shows that the tag was pushed in the last \
     16 days, since ECR does not record when a tag is added to an image; if the tag is new, remove \
     it yourself";

const ON_ITS_WAY_BACK: &str = "the image is on its way back from the archive";

fn quarantine(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    is_immutable: bool,
    today: NaiveDate,
) -> EnforcementPlan {
    match image.status {
        ImageStatus::Active => {}
        ImageStatus::Archived => {
            return EnforcementPlan::report(Some(
                "the image is in the archive, where it cannot be pulled",
            ));
        }
        ImageStatus::Activating => return EnforcementPlan::report(Some(ON_ITS_WAY_BACK)),
    }
    if !is_immutable {
        // It could be another image's by the time it is taken away.
        return EnforcementPlan::report(Some("the repository's tags are not immutable any more"));
    }
    let remove = EnforcementStep::Remove(tag.clone());
    if has_accepted_tag(policy, image) {
        return EnforcementPlan::of(EnforcementOutcome::Untagged, vec![remove]);
    }
    // One of today even where there is an older one: its days count from now, and to put it
    // again is what makes sure of it.
    let ours = quarantine_tag(today, &image.digest, tag);
    let steps = vec![EnforcementStep::Add(ours.clone()), remove];
    EnforcementPlan {
        quarantine_tag: Some(ours),
        ..EnforcementPlan::of(EnforcementOutcome::Quarantined, steps)
    }
}

/// What was done about a tag that is gone, as far as the image shows it.
fn plan_for_missing_tag(
    policy: &Policy,
    tag: &Tag,
    image: &Image,
    today: NaiveDate,
) -> EnforcementPlan {
    // As it would have been with this tag beside it: an older quarantine tag says nothing.
    if has_accepted_tag(policy, image) {
        return EnforcementPlan::of(EnforcementOutcome::Untagged, vec![]);
    }
    let since = |other: &Tag| {
        let quarantine = Quarantine::read(other)?;
        let is_ours = quarantine.is_for(tag) && quarantine.is_genuine(&image.digest, today);
        is_ours.then_some(quarantine.since)
    };
    let newest =
        image.tags.iter().filter(|other| since(other).is_some()).max_by_key(|it| since(it));
    let action = if newest.is_some() {
        EnforcementOutcome::Quarantined
    } else {
        EnforcementOutcome::Untagged
    };
    EnforcementPlan { quarantine_tag: newest.cloned(), ..EnforcementPlan::of(action, vec![]) }
}

fn archive(policy: &Policy, image: &Image) -> EnforcementPlan {
    if has_accepted_tag(policy, image) {
        return EnforcementPlan::report(Some("the image has a conforming tag too"));
    }
    match image.status {
        ImageStatus::Active => {
            EnforcementPlan::of(EnforcementOutcome::Archived, vec![EnforcementStep::Archive])
        }
        ImageStatus::Archived => EnforcementPlan::of(EnforcementOutcome::Archived, vec![]),
        // ECR takes no other order meanwhile.
        ImageStatus::Activating => EnforcementPlan::report(Some(ON_ITS_WAY_BACK)),
    }
}

/// What is done about an image that we archived although it has a conforming tag, which it got
/// between our look and the call; or just after it, which ECR brings an image back for.
#[must_use]
pub fn undo_archiving(policy: &Policy, image: &Image) -> Option<EnforcementPlan> {
    let archives = policy.governance.tags.enforcement == TagEnforcement::Archive;
    if !archives || !has_accepted_tag(policy, image) {
        return None;
    }
    match image.status {
        ImageStatus::Active => None,
        ImageStatus::Archived => Some(EnforcementPlan {
            steps: vec![EnforcementStep::Restore],
            ..EnforcementPlan::report(None)
        }),
        ImageStatus::Activating => Some(EnforcementPlan::report(Some(ON_ITS_WAY_BACK))),
    }
}

fn has_accepted_tag(policy: &Policy, image: &Image) -> bool {
    image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
}

impl fmt::Display for EnforcementStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(tag) => write!(f, "tag the image {tag}"),
            Self::Remove(tag) => write!(f, "take the tag {tag} away"),
            Self::Archive => f.write_str("move the image to the archive"),
            Self::Restore => f.write_str("bring the image back from the archive"),
        }
    }
}

impl fmt::Display for EnforcementPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tag_is_present {
            return f.write_str("the tag is gone");
        }
        for step in &self.steps {
            write!(f, "{step}; ")?;
        }
        f.write_str("tell it")?;
        self.because.as_ref().map_or(Ok(()), |because| write!(f, "; {because}"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::policy::tests::{GUIDE, policy};

    const TODAY: &str = "2026-11-24";

    #[test]
    fn a_push_is_recent_if_its_event_is_and_ecr_or_the_ledger_shows_that_the_tag_is_young() {
        let now: DateTime<Utc> = "2026-11-24T10:00:00Z".parse().unwrap();
        let ago = |days: i64| Some(now - TimeDelta::days(days));
        let is_recent = |event_time, image_pushed_at, was_tag_removed| {
            PushEvidence { event_time, image_pushed_at, was_tag_removed }.is_recent(now)
        };
        assert!(is_recent(ago(0), ago(0), false));
        assert!(is_recent(ago(16), ago(16), false));
        assert!(is_recent(ago(0), ago(400), true));
        assert!(is_recent(ago(0), None, true));
        assert!(!is_recent(ago(0), ago(17), false));
        assert!(!is_recent(ago(0), None, false));
        for was_tag_removed in [false, true] {
            assert!(!is_recent(ago(17), ago(0), was_tag_removed));
            assert!(!is_recent(None, ago(0), was_tag_removed));
        }
    }

    #[test]
    fn without_proof_of_a_push_no_step_changes_the_image_but_what_was_archived_is_restored() {
        let tag: Tag = "latest".parse().unwrap();
        for step in [
            EnforcementStep::Add(tag.clone()),
            EnforcementStep::Remove(tag),
            EnforcementStep::Archive,
        ] {
            let plan = EnforcementPlan::of(EnforcementOutcome::Archived, vec![step]);
            let plan = plan.without_proof_of_push();
            assert_eq!((plan.action, plan.steps), (EnforcementOutcome::Reported, vec![]));
        }
        let restore = EnforcementPlan {
            steps: vec![EnforcementStep::Restore],
            ..EnforcementPlan::report(None)
        };
        assert_eq!(restore.clone().without_proof_of_push(), restore);
        assert_eq!(EnforcementPlan::gone().without_proof_of_push(), EnforcementPlan::gone());
    }

    fn image(tags: &[&str], status: ImageStatus) -> Image {
        Image {
            digest: format!("sha256:{}", "0a".repeat(32)).parse().unwrap(),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            media_type: None,
            status,
        }
    }

    fn archiving() -> Policy {
        policy(GUIDE, &[("Governance.Tags.Enforcement", Value::from("archive"))])
    }

    fn check(policy: &Policy, tags: &[&str], expected: &Expect) {
        let tag = "litellm-1.80.5".parse().unwrap();
        let plan = plan_enforcement(
            policy,
            &tag,
            &image(tags, ImageStatus::Active),
            true,
            TODAY.parse().unwrap(),
        );
        expected.assert_eq(&format!("{}: {plan}", plan.action));
    }

    #[test]
    fn an_image_with_another_tag_loses_the_bad_one_and_nothing_else() {
        check(
            &policy(GUIDE, &[]),
            &["litellm-v1.80.5", "litellm-1.80.5", "litellm-v1.80.6"],
            &expect!["untagged: take the tag litellm-1.80.5 away; tell it"],
        );
    }

    #[test]
    fn an_image_without_one_is_tagged_first() {
        check(
            &policy(GUIDE, &[]),
            &["litellm-1.80.5"],
            &expect![
                "quarantined: tag the image quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5; take the tag litellm-1.80.5 away; tell it"
            ],
        );
    }

    #[test]
    fn no_tag_that_may_go_stands_in_for_another() {
        check(
            &policy(GUIDE, &[]),
            &["latest", "litellm-1.80.5"],
            &expect![
                "quarantined: tag the image quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5; take the tag litellm-1.80.5 away; tell it"
            ],
        );
        check(
            &policy(GUIDE, &[]),
            &["quarantine-20261124-0a0a0a0a0a0a-latest", "litellm-1.80.5"],
            &expect![
                "quarantined: tag the image quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5; take the tag litellm-1.80.5 away; tell it"
            ],
        );
        let signature = format!("sha256-{}.sig", "0a".repeat(32));
        check(
            &policy(GUIDE, &[]),
            &[&signature, "litellm-1.80.5"],
            &expect![
                "quarantined: tag the image quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5; take the tag litellm-1.80.5 away; tell it"
            ],
        );
    }

    #[test]
    fn what_was_cut_off_goes_on_from_there() {
        let quarantined = "quarantine-20261120-0a0a0a0a0a0a-litellm-1.80.5";
        check(
            &policy(GUIDE, &[]),
            &["litellm-1.80.5", quarantined],
            &expect![
                "quarantined: tag the image quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5; take the tag litellm-1.80.5 away; tell it"
            ],
        );
        check(&policy(GUIDE, &[]), &[quarantined], &expect!["quarantined: the tag is gone"]);
        check(&policy(GUIDE, &[]), &["litellm-v1.80.5"], &expect!["untagged: the tag is gone"]);
    }

    #[test]
    fn of_a_tag_that_is_gone_only_what_the_image_shows_is_told() {
        let check = |policy: &Policy, tags: &[&str], expected: Expect| {
            let plan = plan_of(policy, &image(tags, ImageStatus::Active));
            let quarantine_tag =
                plan.quarantine_tag.map_or_else(String::new, |tag| format!(" {tag}"));
            expected.assert_eq(&format!("{}{quarantine_tag}, {:?}", plan.action, plan.steps));
        };
        let quarantines = policy(GUIDE, &[]);
        let (older, newer) =
            ("quarantine-20261119-0a0a0a0a0a0a-latest", "quarantine-20261120-0a0a0a0a0a0a-latest");
        check(
            &quarantines,
            &[older, newer],
            expect!["quarantined quarantine-20261120-0a0a0a0a0a0a-latest, []"],
        );
        check(
            &quarantines,
            &[newer, older],
            expect!["quarantined quarantine-20261120-0a0a0a0a0a0a-latest, []"],
        );
        // It lost another one, or it is not of this image.
        for other in
            ["quarantine-20261120-0a0a0a0a0a0a-dev", "quarantine-20261120-0b0a0a0a0a0a-latest"]
        {
            check(&quarantines, &[other], expect!["untagged, []"]);
        }
        check(&archiving(), &["dev"], expect!["archived, []"]);
    }

    #[test]
    fn what_is_told_says_in_a_word_or_two_what_was_done() {
        let outcome = |policy: &Policy, tags: &[&str], is_immutable| {
            let (tag, today) = ("latest".parse().unwrap(), TODAY.parse().unwrap());
            let image = image(tags, ImageStatus::Active);
            plan_enforcement(policy, &tag, &image, is_immutable, today).outcome()
        };
        let quarantines = policy(GUIDE, &[]);
        expect!["quarantined"].assert_eq(&outcome(&quarantines, &["latest"], true));
        expect!["reported: the repository's tags are not immutable any more"].assert_eq(&outcome(
            &quarantines,
            &["latest"],
            false,
        ));
        expect!["archived"].assert_eq(&outcome(&archiving(), &["latest"], true));
        let archived = image(&["litellm-v1.80.5"], ImageStatus::Archived);
        let back = undo_archiving(&archiving(), &archived).unwrap();
        expect!["brought back"].assert_eq(&back.outcome());
        let gone = EnforcementPlan::gone();
        assert_eq!((gone.tag_is_present, gone.steps.len(), gone.restores()), (false, 0, false));
        expect!["reported: the image is gone by now; who deleted it is in CloudTrail"]
            .assert_eq(&gone.outcome());
    }

    #[test]
    fn the_manifest_is_only_asked_for_where_a_tag_is_put() {
        let needs = |policy: &Policy, tags: &[&str]| {
            plan_of(policy, &image(tags, ImageStatus::Active)).needs_manifest()
        };
        let quarantines = policy(GUIDE, &[]);
        assert!(needs(&quarantines, &["latest"]));
        assert!(!needs(&quarantines, &["latest", "litellm-v1.80.5"]));
        assert!(!needs(&archiving(), &["latest"]));
    }

    #[test]
    fn what_cannot_be_done_safely_is_reported() {
        let (policy, tag) = (policy(GUIDE, &[]), "litellm-1.80.5".parse().unwrap());
        let plan = |status, is_immutable| {
            let image = image(&["litellm-1.80.5"], status);
            plan_enforcement(&policy, &tag, &image, is_immutable, TODAY.parse().unwrap())
                .to_string()
        };
        expect!["tell it; the repository's tags are not immutable any more"]
            .assert_eq(&plan(ImageStatus::Active, false));
        expect!["tell it; the image is in the archive, where it cannot be pulled"]
            .assert_eq(&plan(ImageStatus::Archived, true));
    }

    #[test]
    fn only_an_image_without_any_conforming_tag_is_archived() {
        check(
            &archiving(),
            &["litellm-1.80.5", "latest"],
            &expect!["archived: move the image to the archive; tell it"],
        );
        check(
            &archiving(),
            &["litellm-1.80.5", "litellm-v1.80.5"],
            &expect!["reported: tell it; the image has a conforming tag too"],
        );
        let tag = "litellm-1.80.5".parse().unwrap();
        let archived = image(&["litellm-1.80.5"], ImageStatus::Archived);
        let plan = plan_enforcement(&archiving(), &tag, &archived, true, TODAY.parse().unwrap());
        assert_eq!((plan.action, plan.steps.len()), (EnforcementOutcome::Archived, 0));
    }

    #[test]
    fn an_archived_image_with_a_conforming_tag_is_brought_back_if_we_archived_it() {
        let undo = |policy: &Policy, tags: &[&str]| {
            undo_archiving(policy, &image(tags, ImageStatus::Archived))
        };
        let plan = undo(&archiving(), &["latest", "litellm-v1.80.5"]).unwrap();
        assert_eq!(plan.steps, [EnforcementStep::Restore]);
        expect!["bring the image back from the archive; tell it"].assert_eq(&plan.to_string());
        assert_eq!(undo(&archiving(), &["latest"]), None);
        assert_eq!(undo(&policy(GUIDE, &[]), &["latest", "litellm-v1.80.5"]), None);
        let back = image(&["latest", "litellm-v1.80.5"], ImageStatus::Activating);
        let plan = undo_archiving(&archiving(), &back).unwrap();
        assert_eq!(plan.steps, []);
        expect!["tell it; the image is on its way back from the archive"]
            .assert_eq(&plan.to_string());
        let activating = image(&["latest"], ImageStatus::Activating);
        let plan = plan_of(&archiving(), &activating);
        assert_eq!((plan.action, plan.steps.len()), (EnforcementOutcome::Reported, 0));
    }

    fn plan_of(policy: &Policy, image: &Image) -> EnforcementPlan {
        plan_enforcement(policy, &"latest".parse().unwrap(), image, true, TODAY.parse().unwrap())
    }

    /// What an image's tags are after a step.
    fn after(mut image: Image, step: &EnforcementStep) -> Image {
        match step {
            EnforcementStep::Add(tag) => image.tags.push(tag.clone()),
            EnforcementStep::Remove(tag) => image.tags.retain(|other| other != tag),
            EnforcementStep::Archive => image.status = ImageStatus::Archived,
            EnforcementStep::Restore => image.status = ImageStatus::Activating,
        }
        image
    }

    proptest! {
        #[test]
        fn no_step_takes_the_last_tag_or_a_good_one_and_again_there_is_nothing_to_do(
            others in prop::collection::btree_set(
                prop::sample::select(vec![
                    "latest",
                    "litellm-v1.80.5",
                    "litellm-v1.80.6",
                    "dev",
                    "quarantine-20261120-0a0a0a0a0a0a-litellm-1.80.5",
                    "quarantine-20261120-0a0a0a0a0a0a-latest",
                    "quarantine-20261120-ffffffffffff-latest",
                ]),
                0..=6,
            ),
            archives in any::<bool>(),
            is_immutable in any::<bool>(),
        ) {
            let tags: Vec<&str> = others.iter().copied().chain(["litellm-1.80.5"]).collect();
            let policy = if archives { archiving() } else { policy(GUIDE, &[]) };
            let (tag, today) = ("litellm-1.80.5".parse().unwrap(), TODAY.parse().unwrap());
            let mut found = image(&tags, ImageStatus::Active);
            let decided = plan_enforcement(&policy, &tag, &found, is_immutable, today);
            for step in &decided.steps {
                prop_assert!(matches!(step, EnforcementStep::Add(_) | EnforcementStep::Archive) || *step == EnforcementStep::Remove(tag.clone()));
                found = after(found, step);
                prop_assert!(!found.tags.is_empty());
            }
            prop_assert!(others.iter().all(|other| found.tags.iter().any(|tag| tag.as_str() == *other)));
            prop_assert!(archives || is_immutable || decided.steps.is_empty());
            let again = plan_enforcement(&policy, &tag, &found, is_immutable, today);
            prop_assert_eq!(&again.steps, &vec![]);
            // What is told if this one is cut off before it tells is what this one tells.
            prop_assert_eq!(again.action, decided.action);
        }
    }
}
