use expect_test::expect;

use super::super::remedy::READ_PLAN;
use super::super::tests::{assert_commands_are_shown, limit_violations};
use super::*;

fn digest_of(
    owner: Option<&str>,
    governed: usize,
    found: Vec<(String, RepositoryReport)>,
) -> Alert {
    let source = Source { id: "request-1".to_owned(), time: "2026-11-30T12:00:00Z".to_owned() };
    let place = RoundContext {
        account: "123456789012",
        region: "us-east-1",
        function: "ecr-warden-ImageSweepFunction-1",
        source: &source,
    };
    let owner: Option<Owner> = owner.map(|owner| owner.parse().unwrap());
    let names: Vec<RepositoryName> = found.iter().map(|(name, _)| name.parse().unwrap()).collect();
    let found = names.iter().zip(found.into_iter().map(|(_, report)| report)).collect();
    let week = DigestWeek { week: "2026-W48", is_over: true };
    report(&place, week, owner.as_ref(), governed, found)
}

fn repository(
    name: &str,
    images: usize,
    tags: &[&str],
    further: u64,
) -> (String, RepositoryReport) {
    let example = |tag: &&str| ReportedViolation {
        tag: tag.parse().unwrap(),
        digest: format!("sha256:{}", "0a".repeat(32)).parse().unwrap(),
        reason: "does not match {component}-v{semver}".to_owned(),
    };
    let plan = (images > 0).then(|| ReportedPlan { images, bytes: images as u64 * 1_500_000_000 });
    (
        name.to_owned(),
        RepositoryReport {
            examples: tags.iter().map(example).collect(),
            further,
            plan,
            uncovered: None,
        },
    )
}

fn title(governed: usize, found: Vec<(String, RepositoryReport)>) -> String {
    digest_of(Some("platform-team"), governed, found).title
}

#[test]
fn the_title_has_the_owner_and_the_numbers() {
    expect!["platform-team: 2 of 12 repositories would lose images, 41 tags violate their rule"]
        .assert_eq(&title(
            12,
            vec![repository("aa", 3, &["latest"], 0), repository("bb", 1, &["x"], 39)],
        ));
    expect!["platform-team: 1 repository would lose images"]
        .assert_eq(&title(1, vec![repository("aa", 3, &[], 0)]));
    expect!["platform-team: 1 tag violates its rule"]
        .assert_eq(&title(2, vec![repository("aa", 0, &["latest"], 0)]));
}

// See case B15 in docs/contributing/prior-art.md.
#[test]
fn b15_the_digest_says_how_many_images_no_rule_covers() {
    let uncovered = |name: &str, images: usize, tags: &[&str]| {
        let examples = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let bytes = images as u64 * 200_000_000;
        let (name, report) = repository(name, 0, &[], 0);
        (
            name,
            RepositoryReport {
                uncovered: Some(UncoveredImages { images, bytes, examples }),
                ..report
            },
        )
    };
    let found = vec![
        uncovered("apps/api", 1, &["pr-7"]),
        uncovered("apps/web", 120, &["buildcache", "pr-1", "pr-2"]),
    ];
    let alert = digest_of(None, 7, found);
    assert_commands_are_shown(&alert);
    expect![[r#"
        Repositories without an owner: neither Keep nor Expire covers 121 images

        This is the digest of the week 2026-W48. The digest itself changes nothing. No sweep removes 121 images (24.2 GB), because of tags that neither Keep nor Expire covers.

        Why: Keep does not count these tags, and no entry of Expire matches them.

        What to do: write an entry of Expire or a template of the grammar for these tags.

        See what a changed policy would do, before you deploy it:

            ecr-warden policy test infra/sam/policy.yaml --region us-east-1

        Repositories, the most affected first:
        - apps/web: neither Keep nor Expire covers 120 images (24.0 GB), such as buildcache, pr-1, pr-2
        - apps/api: neither Keep nor Expire covers 1 image (200.0 MB): pr-7

        Severity    INFORMATIONAL
        Account     123456789012, us-east-1
        Event       request-1 at 2026-11-30T12:00:00Z
    "#]].assert_eq(&alert.email());
}

#[test]
fn an_email_lists_the_most_affected_repositories_first() {
    let found = vec![
        repository("apps/web", 0, &["latest"], 0),
        repository("apps/api", 2, &["latest", "main", "test", "x"], 3),
        repository("apps/jobs", 12, &[], 0),
    ];
    let alert = digest_of(None, 7, found);
    assert_commands_are_shown(&alert);
    assert_eq!((alert.kind, alert.severity), (AlertKind::Report, Severity::Informational));
    expect![[r#"
        Repositories without an owner: 2 of 7 repositories would lose images, 8 tags violate their rule

        This is the digest of the week 2026-W48. The digest itself changes nothing. By the last sweeps, the cleanup would remove 14 images (21.0 GB). 8 pushed tags violated the rules.

        Why: the enforcement of the tags or of the cleanup is report in the rules of these repositories.

        What to do: correct the tags or the rules, and read the plan of a repository before you enforce its rule.

        Read the plan:

            ecr-warden plan apps/jobs --region us-east-1

        Or with the AWS CLI:

            printf '%s' '{"mode":"report","repository":"apps/jobs"}' > sweep.json && aws lambda invoke --region us-east-1 --function-name ecr-warden-ImageSweepFunction-1 --cli-read-timeout 900 --payload fileb://sweep.json answer.json && cat answer.json

        See what a changed policy would do, before you deploy it:

            ecr-warden policy test infra/sam/policy.yaml --region us-east-1

        Repositories, the most affected first:
        - apps/jobs: the cleanup would remove 12 images (18.0 GB)
        - apps/api: the cleanup would remove 2 images (3.0 GB); 7 tags violate the rule, such as latest (does not match {component}-v{semver}), main (does not match {component}-v{semver}), test (does not match {component}-v{semver})
        - apps/web: 1 tag violates the rule: latest (does not match {component}-v{semver})

        Severity    INFORMATIONAL
        Account     123456789012, us-east-1
        Event       request-1 at 2026-11-30T12:00:00Z
    "#]].assert_eq(&alert.email());
}

#[test]
fn a_command_about_a_repository_that_the_digest_does_not_list_is_not_shown() {
    let alert = digest_of(None, 2, vec![repository("apps/jobs", 12, &[], 0)]);
    for (command, is_shown) in [
        ("ecr-warden plan apps/jobs --region us-east-1", true),
        ("ecr-warden plan apps/web --region us-east-1", false),
        ("ecr-warden plan --region us-east-1", false),
        ("ecr-warden plan apps/jobs --region eu-west-1", false),
        ("ecr-warden policy test infra/sam/policy.yaml --region us-east-1", true),
        ("ecr-warden policy test other.yaml --region us-east-1", false),
        ("ecr-warden policy test --stack a;b infra/sam/policy.yaml --region us-east-1", false),
    ] {
        let remedy = Remedy::aws(TEST_POLICY, command.to_owned());
        assert_eq!(alert.could_have_written(&remedy), is_shown, "{command}");
    }
    // No other kind of alert has a list of repositories.
    let forged = Alert { kind: AlertKind::Cleanup, ..alert };
    let plan = Remedy::aws(READ_PLAN, "ecr-warden plan apps/jobs --region us-east-1".to_owned());
    assert!(!forged.could_have_written(&plan));
}

#[test]
fn ten_thousand_repositories_with_the_longest_names_fit_into_an_alert() {
    let name = |nth: usize| format!("{nth:05}{}", "/long".repeat(50));
    let tag = "x".repeat(128);
    let found = |count: usize| -> Vec<(String, RepositoryReport)> {
        (0..count)
            .map(|nth| {
                let (name, mut report) =
                    repository(&name(nth), 100_000, &[tag.as_str(); 5], 1_000_000);
                for violation in &mut report.examples {
                    violation.reason = "\u{1f980}\"".repeat(150);
                }
                (name, report)
            })
            .collect()
    };
    let alert = digest_of(Some(&"o".repeat(128)), 10_000, found(10_000));
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    let listed = alert.text.matches("\n- 0").count();
    assert!(listed >= 4, "{}", alert.text);
    assert!(alert.text.ends_with(&format!("\n- and {} more", 10_000 - listed)), "{}", alert.text);
    let text = alert.text.chars().count();
    assert!(text < super::super::LONGEST_TEXT, "the text has {text} characters and is cut off");
    assert_eq!(alert.details["repositoriesTotal"], 10_000);
    assert!(!alert.details["repositories"].as_array().unwrap().is_empty());
    assert_commands_are_shown(&alert);
    // Usual names fill the list.
    let found = (0..100).map(|nth| repository(&format!("team/app-{nth}"), 1, &["latest"], 0));
    let alert = digest_of(None, 100, found.collect());
    assert_eq!(alert.text.matches("\n- team/").count(), MOST_LISTED);
    assert!(alert.text.ends_with("\n- and 70 more"), "{}", alert.text);
    assert_eq!(alert.details["repositories"].as_array().unwrap().len(), MOST_LISTED);
}

#[test]
fn the_warnings_of_a_policy_fit_into_an_alert() {
    let source = Source { id: "request-1".to_owned(), time: "2026-11-30T12:00:00Z".to_owned() };
    let place = RoundContext {
        account: "123456789012",
        region: "us-east-1",
        function: "ecr-warden-ImageSweepFunction-1",
        source: &source,
    };
    let warnings = |count: usize, message: &str| -> Vec<Problem> {
        (0..count).map(|nth| Problem::new(format!("Rules[{nth}]"), message)).collect()
    };
    let alert = policy_warnings(&place, &warnings(2, "has no effect"));
    assert_eq!(
        alert.details["warnings"],
        json!(["Rules[0]: has no effect", "Rules[1]: has no effect"])
    );
    assert_eq!(alert.runbook_page(), "runbooks/self-audit.md#policy-warnings");
    expect![[r#"
        The policy has 2 warnings
        The policy of the deployment has 2 warnings. The deployment did not fail.

        Why: a part of a policy without effect is usually a mistake. The warnings of each version of the policy are published once.

        What to do: correct the policy, unless the part is for a later time.

        Warnings:
        - Rules[0]: has no effect
        - Rules[1]: has no effect"#]].assert_eq(&format!("{}\n{}", alert.title, alert.text));
    let alert = policy_warnings(&place, &warnings(1_000, &"x".repeat(400)));
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    let listed = alert.text.matches("\n- Rules").count();
    assert!(alert.text.ends_with(&format!("\n- and {} more", 1_000 - listed)), "{}", alert.text);
    assert!(alert.text.chars().count() < super::super::LONGEST_TEXT);
    assert_eq!(alert.details["warningsTotal"], 1_000);
}
