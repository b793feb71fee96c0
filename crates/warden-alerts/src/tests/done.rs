//! What an alert says of what was done, of what was not, and why.

use super::*;

/// What is said of `latest` on an image with these tags, where this is what was done.
fn check_done(
    policy: &Policy,
    tags: &[&str],
    plan: &EnforcementPlan,
    hit: Option<&Digest>,
    expected: &Expect,
) {
    let TagVerdict::Violation(violation) = judge(policy, "latest") else { panic!("it conforms") };
    let image = Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: None,
        status: ImageStatus::Active,
    };
    let tag = "latest".parse().unwrap();
    let alert = tag_violation(policy, &about(), &tag, &violation, &image, plan, &[], hit);
    let tags: Vec<&str> = alert.image.iter().flat_map(|it| &it.tags).map(Tag::as_str).collect();
    let mut lines = format!("{} {tags:?}\n{}\n{}\n", alert.severity, alert.title, alert.text);
    for Remedy { label, command, aws_cli } in &alert.remedies {
        lines += &format!("{label}: {command}\n  {}\n", aws_cli.as_deref().unwrap_or("-"));
    }
    expected.assert_eq(&lines);
}

#[test]
fn an_alert_says_what_was_done_what_was_not_and_why() {
    let today = "2026-11-24".parse().unwrap();
    let quarantines = policy(GUIDE, &[]);
    let archives = policy(GUIDE, &[("Governance.Tags.Enforcement", "archive".into())]);
    let natively = policy(GUIDE, &[("LifecycleScope", "repository".into())]);
    let image = |tags: &[&str], status| Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: None,
        status,
    };
    let decided = |policy: &Policy, tags: &[&str], is_immutable| {
        let image = image(tags, ImageStatus::Active);
        plan_enforcement(policy, &"latest".parse().unwrap(), &image, is_immutable, today)
    };
    // It could not be done.
    let reported = decided(&quarantines, &["latest"], false);
    check_done(
        &quarantines,
        &["latest"],
        &reported,
        None,
        &expect![[r#"
        MEDIUM ["latest"]
        infrastructure:latest breaks the rules of tags
        The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
        Nothing was changed: the repository's tags are not immutable any more.
    "#]],
    );
    // It was done before, and what did it was cut off.
    let tags = ["quarantine-20261124-0a0a0a0a0a0a-latest"];
    let gone = decided(&quarantines, &tags, true);
    check_done(
        &quarantines,
        &tags,
        &gone,
        None,
        &expect![[r#"
            HIGH ["quarantine-20261124-0a0a0a0a0a0a-latest"]
            infrastructure:latest was quarantined
            The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
            It was taken away. The image is now quarantine-20261124-0a0a0a0a0a0a-latest and is kept for 14 days at least; it can be pulled by that tag and by its digest.
            Restore it as latest, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
    // ECR's own rules ask nobody.
    let counted = decided(&natively, &["latest"], true);
    check_done(
        &natively,
        &["latest"],
        &counted,
        None,
        &expect![[r#"
            HIGH ["quarantine-20261124-0a0a0a0a0a0a-latest"]
            infrastructure:latest was quarantined
            The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
            It was taken away. The image is now quarantine-20261124-0a0a0a0a0a0a-latest; it can be pulled by that tag and by its digest.
            Restore it as latest, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
    // It got a conforming tag meanwhile.
    let tags = ["latest", "litellm-v1.80.5"];
    let back = undo_archiving(&archives, &image(&tags, ImageStatus::Archived)).unwrap();
    check_done(
        &archives,
        &tags,
        &back,
        None,
        &expect![[r#"
        MEDIUM ["latest", "litellm-v1.80.5"]
        infrastructure:latest breaks the rules of tags
        The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
        The image was moved to the archive, and is brought back, since it got a conforming tag meanwhile: it cannot be pulled for some twenty minutes.
    "#]],
    );
    // Another image lost the tag.
    let hit = format!("sha256:{}", "0b".repeat(32)).parse().unwrap();
    let taken = decided(&quarantines, &tags, true);
    check_done(
        &quarantines,
        &tags,
        &taken,
        Some(&hit),
        &expect![[r#"
            HIGH ["litellm-v1.80.5"]
            infrastructure:latest was taken away from its image
            The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
            It was taken away. The image is kept, with its other tags.
            Meanwhile somebody had moved the tag to sha256:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b: it was that image which lost it, and ECR deletes an image with its last tag. See whether it is there, and push it again if it is not.
            Restore it as latest, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
}
