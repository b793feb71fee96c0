use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::mutability::tests::mutability;
use crate::policy::tests::{GUIDE, policy};

const TODAY: &str = "2026-11-24";

#[test]
fn a_push_is_recent_if_the_event_is_recent_and_ecr_or_the_ledger_confirms_it() {
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
fn without_proof_of_a_push_the_only_possible_step_is_a_restore() {
    let tag: Tag = "latest".parse().unwrap();
    for step in
        [EnforcementStep::Add(tag.clone()), EnforcementStep::Remove(tag), EnforcementStep::Archive]
    {
        let plan = EnforcementPlan::new(EnforcementOutcome::Archived, vec![step]);
        let plan = plan.without_proof_of_push();
        assert_eq!((plan.action, plan.steps), (EnforcementOutcome::Reported, vec![]));
    }
    let restore =
        EnforcementPlan { steps: vec![EnforcementStep::Restore], ..EnforcementPlan::report(None) };
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

fn immutable() -> Mutability {
    mutability("IMMUTABLE", &[])
}

fn archiving() -> Policy {
    policy(GUIDE, &[("Tags.Enforcement", Value::from("archive"))])
}

fn check(policy: &Policy, tags: &[&str], expected: &Expect) {
    let tag = "litellm-1.80.5".parse().unwrap();
    let plan = plan_enforcement(
        policy,
        &tag,
        &image(tags, ImageStatus::Active),
        Some(&immutable()),
        TODAY.parse().unwrap(),
    );
    expected.assert_eq(&format!("{}: {plan}", plan.action));
}

// See case B7 in docs/contributing/prior-art.md.
#[test]
fn b7_no_enforcement_acts_on_a_tag_that_is_read_as_a_commit_of_digits() {
    for enforcement in ["quarantine", "archive"] {
        let policy = policy(
            GUIDE,
            &[
                ("Tags.Grammar", Value::from("{component}-{sha}")),
                ("Tags.Components", Value::from("web")),
                ("Tags.Forbidden", Value::from("web-10*")),
                ("Tags.Enforcement", Value::from(enforcement)),
            ],
        );
        let has_steps = |tag: &str| {
            let image = image(&[tag], ImageStatus::Active);
            let tag = tag.parse().unwrap();
            let today = TODAY.parse().unwrap();
            let plan = plan_enforcement(&policy, &tag, &image, Some(&immutable()), today);
            assert_eq!(plan.steps.is_empty(), plan.action == EnforcementOutcome::Reported);
            !plan.steps.is_empty()
        };
        assert!(has_steps("app-abc1234") && has_steps("web-10abcde") && has_steps("app-999999"));
        assert!(!has_steps("app-1000000") && !has_steps("web-1000000000"));
    }
}

#[test]
fn an_image_with_an_accepted_tag_loses_only_the_bad_tag() {
    check(
        &policy(GUIDE, &[]),
        &["litellm-v1.80.5", "litellm-1.80.5", "litellm-v1.80.6"],
        &expect!["untagged: remove the tag litellm-1.80.5, send an alert"],
    );
}

#[test]
fn an_image_without_an_accepted_tag_gets_a_quarantine_tag_first() {
    check(
        &policy(GUIDE, &[]),
        &["litellm-1.80.5"],
        &expect![
            "quarantined: add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert"
        ],
    );
}

#[test]
fn neither_a_bad_tag_nor_an_old_quarantine_tag_nor_a_signature_replaces_the_quarantine_tag() {
    check(
        &policy(GUIDE, &[]),
        &["latest", "litellm-1.80.5"],
        &expect![
            "quarantined: add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert"
        ],
    );
    check(
        &policy(GUIDE, &[]),
        &["quarantine-20261124-0a0a0a0a0a0a-latest", "litellm-1.80.5"],
        &expect![
            "quarantined: add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert"
        ],
    );
    let signature = format!("sha256-{}.sig", "0a".repeat(32));
    check(
        &policy(GUIDE, &[]),
        &[&signature, "litellm-1.80.5"],
        &expect![
            "quarantined: add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert"
        ],
    );
}

#[test]
fn an_interrupted_plan_is_continued() {
    let quarantined = "quarantine-20261120-0a0a0a0a0a0a-litellm-1.80.5";
    check(
        &policy(GUIDE, &[]),
        &["litellm-1.80.5", quarantined],
        &expect![
            "quarantined: add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag litellm-1.80.5, send an alert"
        ],
    );
    check(
        &policy(GUIDE, &[]),
        &[quarantined],
        &expect!["quarantined: the image does not have the tag any more"],
    );
    check(
        &policy(GUIDE, &[]),
        &["litellm-v1.80.5"],
        &expect!["untagged: the image does not have the tag any more"],
    );
}

#[test]
fn the_outcome_for_a_missing_tag_is_read_from_the_image() {
    let check = |policy: &Policy, tags: &[&str], expected: Expect| {
        let plan = plan_of(policy, &image(tags, ImageStatus::Active));
        let quarantine_tag = plan.quarantine_tag.map_or_else(String::new, |tag| format!(" {tag}"));
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
    // The quarantine tag replaced another tag, or names another image.
    for other in ["quarantine-20261120-0a0a0a0a0a0a-dev", "quarantine-20261120-0b0a0a0a0a0a-latest"]
    {
        check(&quarantines, &[other], expect!["untagged, []"]);
    }
    check(&archiving(), &["dev"], expect!["archived, []"]);
}

#[test]
fn the_outcome_is_a_short_text() {
    let outcome = |policy: &Policy, tags: &[&str], setting| {
        let (tag, today) = ("latest".parse().unwrap(), TODAY.parse().unwrap());
        let image = image(tags, ImageStatus::Active);
        plan_enforcement(policy, &tag, &image, Some(&mutability(setting, &[])), today).outcome()
    };
    let quarantines = policy(GUIDE, &[]);
    expect!["quarantined"].assert_eq(&outcome(&quarantines, &["latest"], "IMMUTABLE"));
    expect!["reported: the tag mutability of the repository lets the tag move to another image"]
        .assert_eq(&outcome(&quarantines, &["latest"], "MUTABLE"));
    expect!["archived"].assert_eq(&outcome(&archiving(), &["latest"], "IMMUTABLE"));
    let archived = image(&["litellm-v1.80.5"], ImageStatus::Archived);
    let restore = undo_archiving(&archiving(), &archived).unwrap();
    expect!["restored"].assert_eq(&restore.outcome());
    let gone = EnforcementPlan::gone();
    assert_eq!((gone.tag_is_present, gone.steps.len(), gone.restores()), (false, 0, false));
    expect!["reported: the image does not exist any more; CloudTrail shows who deleted it"]
        .assert_eq(&gone.outcome());
}

#[test]
fn only_a_plan_that_adds_a_tag_needs_the_manifest() {
    let needs = |policy: &Policy, tags: &[&str]| {
        plan_of(policy, &image(tags, ImageStatus::Active)).needs_manifest()
    };
    let quarantines = policy(GUIDE, &[]);
    assert!(needs(&quarantines, &["latest"]));
    assert!(!needs(&quarantines, &["latest", "litellm-v1.80.5"]));
    assert!(!needs(&archiving(), &["latest"]));
}

#[test]
fn an_unsafe_change_is_reported_instead() {
    let (policy, tag) = (policy(GUIDE, &[]), "litellm-1.80.5".parse().unwrap());
    let plan = |status, mutability: Option<&Mutability>| {
        let image = image(&["litellm-1.80.5"], status);
        plan_enforcement(&policy, &tag, &image, mutability, TODAY.parse().unwrap()).to_string()
    };
    let (excluded, other) = (["litellm-*"], ["dev-*"]);
    for can_move in [
        None,
        Some(mutability("MUTABLE", &[])),
        Some(mutability("IMMUTABLE_WITH_EXCLUSION", &excluded)),
        Some(mutability("MUTABLE_WITH_EXCLUSION", &other)),
    ] {
        assert_eq!(
            plan(ImageStatus::Active, can_move.as_ref()),
            "send an alert and change nothing: the tag mutability of the repository lets the tag \
             move to another image",
            "{can_move:?}"
        );
    }
    for cannot_move in [
        mutability("IMMUTABLE_WITH_EXCLUSION", &other),
        mutability("MUTABLE_WITH_EXCLUSION", &excluded),
    ] {
        assert_eq!(
            plan(ImageStatus::Active, Some(&cannot_move)),
            "add the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, remove the tag \
             litellm-1.80.5, send an alert",
            "{cannot_move}"
        );
    }
    expect!["send an alert and change nothing: the image is archived and cannot be pulled"]
        .assert_eq(&plan(ImageStatus::Archived, Some(&immutable())));
}

#[test]
fn an_accepted_tag_that_can_move_does_not_replace_the_quarantine_tag() {
    let policy = policy(
        GUIDE,
        &[("Tags.Grammar", Value::from("{component}-v{semver} {component}-{channel}"))],
    );
    let tag = "litellm-1.80.5".parse().unwrap();
    let plan = |tags: &[&str]| {
        let channels = mutability("IMMUTABLE_WITH_EXCLUSION", &["*-prod"]);
        let image = image(tags, ImageStatus::Active);
        plan_enforcement(&policy, &tag, &image, Some(&channels), TODAY.parse().unwrap()).action
    };
    assert_eq!(plan(&["litellm-1.80.5", "litellm-prod"]), EnforcementOutcome::Quarantined);
    let with_version = plan(&["litellm-1.80.5", "litellm-prod", "litellm-v1.80.5"]);
    assert_eq!(with_version, EnforcementOutcome::Untagged);
    // An earlier attempt quarantined the image, and was killed before it published.
    let killed = plan(&["litellm-prod", "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5"]);
    assert_eq!(killed, EnforcementOutcome::Quarantined);
}

#[test]
fn only_an_image_without_an_accepted_tag_is_archived() {
    check(
        &archiving(),
        &["litellm-1.80.5", "latest"],
        &expect!["archived: archive the image, send an alert"],
    );
    check(
        &archiving(),
        &["litellm-1.80.5", "litellm-v1.80.5"],
        &expect!["reported: send an alert and change nothing: the image also has an accepted tag"],
    );
    let tag = "litellm-1.80.5".parse().unwrap();
    let archived = image(&["litellm-1.80.5"], ImageStatus::Archived);
    let plan =
        plan_enforcement(&archiving(), &tag, &archived, Some(&immutable()), TODAY.parse().unwrap());
    assert_eq!((plan.action, plan.steps.len()), (EnforcementOutcome::Archived, 0));
}

#[test]
fn an_image_with_an_accepted_tag_that_enforcement_archived_is_restored() {
    let undo = |policy: &Policy, tags: &[&str]| {
        undo_archiving(policy, &image(tags, ImageStatus::Archived))
    };
    let plan = undo(&archiving(), &["latest", "litellm-v1.80.5"]).unwrap();
    assert_eq!(plan.steps, [EnforcementStep::Restore]);
    expect!["restore the image from the archive, send an alert"].assert_eq(&plan.to_string());
    assert_eq!(undo(&archiving(), &["latest"]), None);
    assert_eq!(undo(&policy(GUIDE, &[]), &["latest", "litellm-v1.80.5"]), None);
    let activating = image(&["latest", "litellm-v1.80.5"], ImageStatus::Activating);
    let plan = undo_archiving(&archiving(), &activating).unwrap();
    assert_eq!(plan.steps, []);
    expect!["send an alert and change nothing: ECR is restoring the image from the archive"]
        .assert_eq(&plan.to_string());
    let activating = image(&["latest"], ImageStatus::Activating);
    let plan = plan_of(&archiving(), &activating);
    assert_eq!((plan.action, plan.steps.len()), (EnforcementOutcome::Reported, 0));
}

fn plan_of(policy: &Policy, image: &Image) -> EnforcementPlan {
    let (tag, today) = ("latest".parse().unwrap(), TODAY.parse().unwrap());
    plan_enforcement(policy, &tag, image, Some(&immutable()), today)
}

/// The image after a step.
fn apply_step(mut image: Image, step: &EnforcementStep) -> Image {
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
    fn no_step_removes_the_last_tag_or_another_tag_and_a_second_plan_has_no_steps(
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
        setting in prop::sample::select(vec![
            "MUTABLE",
            "IMMUTABLE",
            "MUTABLE_WITH_EXCLUSION",
            "IMMUTABLE_WITH_EXCLUSION",
        ]),
        filters in prop::collection::vec(
            prop::sample::select(vec!["dev", "latest", "litellm-*", "litellm-v*", "quarantine-*"]),
            1..=5,
        ),
    ) {
        let mutability = mutability(setting, &filters);
        let can_move = |tag: &Tag| tag_can_move(Some(&mutability), tag);
        let tags: Vec<&str> = others.iter().copied().chain(["litellm-1.80.5"]).collect();
        let policy = if archives { archiving() } else { policy(GUIDE, &[]) };
        let (tag, today) = ("litellm-1.80.5".parse().unwrap(), TODAY.parse().unwrap());
        let mut found = image(&tags, ImageStatus::Active);
        let decided = plan_enforcement(&policy, &tag, &found, Some(&mutability), today);
        for step in &decided.steps {
            prop_assert!(matches!(step, EnforcementStep::Add(_) | EnforcementStep::Archive) || *step == EnforcementStep::Remove(tag.clone()));
            found = apply_step(found, step);
            prop_assert!(!found.tags.is_empty());
        }
        prop_assert!(others.iter().all(|other| found.tags.iter().any(|tag| tag.as_str() == *other)));
        prop_assert!(archives || !can_move(&tag) || decided.steps.is_empty());
        // Pushes may have moved every old tag that can move.
        let mut kept = found.tags.iter().filter(|tag| {
            !can_move(tag) || decided.steps.contains(&EnforcementStep::Add((*tag).clone()))
        });
        prop_assert!(decided.steps.is_empty() || archives || kept.next().is_some());
        let again = plan_enforcement(&policy, &tag, &found, Some(&mutability), today);
        prop_assert_eq!(&again.steps, &vec![]);
        // If this invocation is killed before it publishes, the retry publishes the same outcome.
        prop_assert_eq!(again.action, decided.action);
    }
}
