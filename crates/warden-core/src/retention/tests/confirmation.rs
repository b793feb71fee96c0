//! Plans that wait for a confirmation.

use super::*;
use crate::policy::Severity;

/// Seven versions of `a`, and an index of two images. The policy keeps two versions.
const IMAGES: [(&str, &str); 8] = [
    ("newest", "a-v1.7.0, pushed 10"),
    ("new", "a-v1.6.0, pushed 20"),
    ("old", "a-v1.5.0, pushed 30"),
    ("older", "a-v1.4.0, pushed 40"),
    ("oldest", "a-v1.3.0, pushed 50"),
    ("index", "a-v1.2.0, pushed 60, needs one two"),
    ("one", ", pushed 60"),
    ("two", ", pushed 60"),
];

fn confirmation(policy: &Policy, names: &[&str]) -> Confirmation {
    Confirmation {
        retention: retention_hash(policy),
        images: names.iter().map(|name| confirmed_image(&digest(name))).collect(),
        is_whole: true,
        guard: "unconfirmed".to_owned(),
        confirmed_at: now() - chrono::Duration::days(1),
    }
}

/// Checks the names of the removed images, the guard that stops the plan, and whether the policy is
/// accepted from now on.
fn check(
    policy: &Policy,
    accepted: Option<&Policy>,
    confirmation: Option<&Confirmation>,
    expected: &str,
) {
    let inventory = inventory(&IMAGES);
    let graph = Graph::build(&inventory).unwrap();
    let mut plan = plan_retention(policy, &inventory, graph, &RunningImages::new(), now());
    let is_accepted = plan.apply_confirmation(accepted, confirmation, now());
    let names: Vec<&str> = match plan.stopped {
        Some(_) => vec![],
        None => IMAGES
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| plan.decision_of(image_id(&inventory, name)) != "keep")
            .collect(),
    };
    let stopped = plan.stopped.as_ref().map(|stopped| match stopped {
        PlanBlocker::Unconfirmed { is_changed: false } => "first",
        PlanBlocker::Unconfirmed { is_changed: true } => "changed",
        _ => "guard",
    });
    let is_accepted = if is_accepted { "yes" } else { "no" };
    let names = names.join(" ");
    assert_eq!(format!("{names}, {}, {is_accepted}", stopped.unwrap_or("-")), expected);
}

const ALL: &str = "old older oldest index one two";

#[test]
fn the_first_plan_waits_and_then_only_the_confirmed_images_go() {
    let policy = two();
    check(&policy, None, None, ", first, no");
    let some = confirmation(&policy, &["older", "index", "one", "two"]);
    check(&policy, None, Some(&some), "older index one two, -, yes");
    // An index is removed with its parts or not at all.
    check(&policy, None, Some(&confirmation(&policy, &["older", "index", "one"])), "older, -, yes");
    check(&policy, None, Some(&confirmation(&policy, &["one", "two"])), ", first, no");
    check(&policy, None, Some(&confirmation(&policy, &["newest"])), ", first, no");
    // Later plans of the policy need no confirmation.
    check(&policy, Some(&policy), None, &format!("{ALL}, -, yes"));
}

#[test]
fn a_confirmation_is_valid_for_one_policy_and_one_week() {
    let policy = two();
    let three = with(&[("Retention.Keep", json!(3))]);
    check(&policy, None, Some(&confirmation(&three, &["older"])), ", first, no");
    let mut late = confirmation(&policy, &["older"]);
    late.confirmed_at = now() - chrono::Duration::days(7);
    check(&policy, None, Some(&late), ", first, no");
    late.confirmed_at = now() + chrono::Duration::days(1);
    check(&policy, None, Some(&late), ", first, no");
    // A person confirmed a part of the plan: the part is removed, and the policy is not accepted.
    let part = Confirmation { is_whole: false, ..confirmation(&policy, &["older"]) };
    check(&policy, None, Some(&part), "older, -, no");
    // A setting of scans does not change which images are removed.
    let mut scan = policy.clone();
    scan.scan.threshold = Severity::Low;
    check(&policy, None, Some(&confirmation(&scan, &["older"])), "older, -, yes");
}

#[test]
fn a_policy_that_may_remove_more_waits_again() {
    let accepted = two();
    let one = with(&[("Retention.Keep", json!(1))]);
    check(&one, Some(&accepted), None, ", changed, no");
    check(&one, Some(&accepted), Some(&confirmation(&one, &["new"])), "new, -, yes");
    let three = with(&[("Retention.Keep", json!(3))]);
    check(&three, Some(&accepted), None, "older oldest index one two, -, yes");
}

#[test]
fn a_policy_that_gets_rules_for_the_cleanup_waits_and_one_that_loses_them_does_not() {
    let without = |path: &'static str| with(&[(path, Value::Null)]);
    let (two, nothing) = (two(), without("Retention"));
    check(&two, Some(&nothing), None, ", changed, no");
    check(&nothing, None, None, ", -, no");
    assert!(keeps_at_least(&nothing, &two) && !keeps_at_least(&two, &nothing));
    // A different grammar, or no grammar, groups the images differently.
    for path in ["Tags", "Tags.Grammar"] {
        assert!(!keeps_at_least(&without(path), &two) && !keeps_at_least(&two, &without(path)));
        assert!(keeps_at_least(&without(path), &without(path)));
    }
}

#[test]
fn a_plan_that_only_reports_needs_no_confirmation_and_accepts_no_policy() {
    let report = with(&[("Retention.Enforcement", json!("report"))]);
    check(&report, None, None, &format!("{ALL}, -, no"));
    check(&two(), Some(&report), None, ", changed, no");
}

#[test]
fn a_confirmation_overrides_every_guard_except_the_one_against_bugs() {
    let images: Vec<(String, String)> = (0..40)
        .map(|nth| (nth.to_string(), format!("a-v1.{nth}.0, pushed {}", 100 - nth)))
        .collect();
    let images: Vec<(&str, &str)> =
        images.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (policy, inventory) = (two(), inventory(&images));
    let plan = || {
        let graph = Graph::build(&inventory).unwrap();
        plan_retention(&policy, &inventory, graph, &RunningImages::new(), now())
    };
    let mut stopped = plan();
    stopped.apply_confirmation(Some(&policy), None, now());
    assert!(matches!(stopped.stopped, Some(PlanBlocker::TooMany { removed: 38, .. })));
    let of_another_guard = confirmation(&policy, &["0", "1", "2"]);
    let mut unchanged = plan();
    unchanged.apply_confirmation(Some(&policy), Some(&of_another_guard), now());
    assert_eq!(unchanged.stopped, stopped.stopped);
    let confirmation = Confirmation { guard: "too-many".to_owned(), ..of_another_guard };
    let mut confirmed = plan();
    confirmed.apply_confirmation(Some(&policy), Some(&confirmation), now());
    assert_eq!((confirmed.stopped.clone(), confirmed.removed().count()), (None, 3));
    let mut faulty = plan();
    faulty.stopped = Some(PlanBlocker::Emptied("a".to_owned()));
    faulty.apply_confirmation(Some(&policy), Some(&confirmation), now());
    assert_eq!(faulty.stopped, Some(PlanBlocker::Emptied("a".to_owned())));
}

#[test]
fn each_setting_that_keeps_less_needs_a_confirmation_and_each_that_keeps_more_needs_none() {
    let accepted = with(&[
        ("Retention.Enforcement", json!("archive")),
        ("Retention.ProtectTags", json!("gold")),
    ]);
    let changed = |name: &str, value: Value| {
        let base = [
            ("Retention.Enforcement", json!("archive")),
            ("Retention.ProtectTags", json!("gold")),
            (name, value),
        ];
        with(&base)
    };
    for (name, less, more) in [
        ("Retention.Keep", json!(1), json!(100)),
        ("Retention.UntaggedDays", json!(1), json!(100)),
        ("Tags.QuarantineDays", json!(1), json!(100)),
        ("Tags.Enforcement", json!("archive"), json!("report")),
        ("Retention.Keep", json!(1), json!(100)),
        ("Retention.ProtectTags", json!("golden"), json!("gold silver")),
        ("Retention.ProtectPulledWithinDays", json!(1), json!(100)),
        ("Retention.MinimumAgeDays", json!(1), json!(100)),
        ("Retention.MaxRemovePercent", json!(100), json!(1)),
        ("Retention.Enforcement", json!("delete"), json!("report")),
        ("Retention.WhenReplicated", json!("act"), json!("report")),
    ] {
        assert!(!keeps_at_least(&changed(name, less.clone()), &accepted), "{name} {less}");
        assert!(keeps_at_least(&changed(name, more.clone()), &accepted), "{name} {more}");
    }
    // Neither grammar is known to keep more images.
    let other = changed("Tags.Grammar", json!("{component}-{semver}"));
    assert!(!keeps_at_least(&other, &accepted) && !keeps_at_least(&accepted, &other));
    let scope = changed("LifecycleScope", json!("repository"));
    assert!(!keeps_at_least(&scope, &accepted) && !keeps_at_least(&accepted, &scope));
    let inspector = changed("InUse", json!("inspector"));
    assert!(keeps_at_least(&inspector, &accepted) && !keeps_at_least(&accepted, &inspector));
    assert!(keeps_at_least(&accepted, &accepted));
    // An archived index holds images only where the policy would delete them.
    let deletes = changed("Retention.Enforcement", json!("delete"));
    assert!(!keeps_at_least(&accepted, &deletes));
    let [keeps, archives, removes] =
        ["report", "archive", "delete"].map(|mode| changed("Retention.Untagged", json!(mode)));
    assert!(keeps_at_least(&keeps, &removes) && !keeps_at_least(&archives, &removes));
    assert!(!keeps_at_least(&removes, &archives) && !keeps_at_least(&removes, &keeps));
}
