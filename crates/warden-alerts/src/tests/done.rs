//! The text of an alert for each outcome of enforcement.

use super::*;

/// Checks the alert about the tag `latest` on an image with these tags, after this plan.
fn check_outcome(
    policy: &Policy,
    tags: &[&str],
    plan: &EnforcementPlan,
    hit: Option<&Digest>,
    expected: &Expect,
) {
    let TagVerdict::Violation(violation) = judge(policy, "latest") else {
        panic!("the tag conforms")
    };
    let image = Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: None,
        status: ImageStatus::Active,
    };
    let tag = "latest".parse().unwrap();
    let others = OtherImages { lost_tag: hit.cloned(), ..OtherImages::default() };
    let alert = tag_violation(policy, &about(), &tag, &violation, &image, plan, &[], &others);
    let tags: Vec<&str> =
        alert.image.iter().flat_map(|image| &image.tags).map(Tag::as_str).collect();
    let mut lines = format!("{} {tags:?}\n{}\n{}\n", alert.severity, alert.title, alert.text);
    for Remedy { label, command, aws_cli } in &alert.remedies {
        lines += &format!("{label}: {command}\n  {}\n", aws_cli.as_deref().unwrap_or("-"));
    }
    expected.assert_eq(&lines);
}

#[test]
fn an_alert_states_the_change_the_reason_and_the_next_step() {
    let today = "2026-11-24".parse().unwrap();
    let quarantines = policy(GUIDE, &[]);
    let archives = policy(GUIDE, &[("Tags.Enforcement", "archive".into())]);
    let natively = policy(GUIDE, &[("LifecycleScope", "repository".into())]);
    let image = |tags: &[&str], status| Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: None,
        status,
    };
    let decided = |policy: &Policy, tags: &[&str], mutability: Option<&Mutability>| {
        let image = image(tags, ImageStatus::Active);
        plan_enforcement(policy, &"latest".parse().unwrap(), &image, mutability, today)
    };
    // The tag may be able to move, so enforcement only reports.
    let reported = decided(&quarantines, &["latest"], None);
    check_outcome(
        &quarantines,
        &["latest"],
        &reported,
        None,
        &expect![[r#"
            MEDIUM ["latest"]
            The tag latest in infrastructure violates the policy
            An image was pushed to the repository infrastructure with the tag latest, which violates the policy. Nothing was changed: the tag mutability of the repository lets the tag move to another image.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.
        "#]],
    );
    // An earlier attempt quarantined the image, and was killed before it published.
    let tags = ["quarantine-20261124-0a0a0a0a0a0a-latest"];
    let gone = decided(&quarantines, &tags, Some(&immutable()));
    check_outcome(
        &quarantines,
        &tags,
        &gone,
        None,
        &expect![[r#"
            HIGH ["quarantine-20261124-0a0a0a0a0a0a-latest"]
            The image infrastructure:latest was quarantined
            ECR Warden removed the tag latest from an image in the repository infrastructure. The image now has the tag quarantine-20261124-0a0a0a0a0a0a-latest, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.
            Restore the tag latest (first change the grammar, or the enforcement to report: under this policy, the tag is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
    // Native lifecycle rules of ECR do not wait for the end of a quarantine.
    let counted = decided(&natively, &["latest"], Some(&immutable()));
    check_outcome(
        &natively,
        &["latest"],
        &counted,
        None,
        &expect![[r#"
            HIGH ["quarantine-20261124-0a0a0a0a0a0a-latest"]
            The image infrastructure:latest was quarantined
            ECR Warden removed the tag latest from an image in the repository infrastructure. The image now has the tag quarantine-20261124-0a0a0a0a0a0a-latest, and can be pulled by that tag and by its digest.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.
            Restore the tag latest (first change the grammar, or the enforcement to report: under this policy, the tag is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
    // The image got a conforming tag in the meantime.
    let tags = ["latest", "litellm-v1.80.5"];
    let back = undo_archiving(&archives, &image(&tags, ImageStatus::Archived)).unwrap();
    check_outcome(
        &archives,
        &tags,
        &back,
        None,
        &expect![[r#"
            MEDIUM ["latest", "litellm-v1.80.5"]
            The tag latest in infrastructure violates the policy
            ECR Warden moved the image infrastructure:latest to the archive, and is restoring it, because the image got a conforming tag in the meantime. The image cannot be pulled for about twenty minutes.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: wait until the image is restored, and correct the pipeline that pushed latest.
        "#]],
    );
    // The tag was moved, and the other image lost the tag.
    let hit = format!("sha256:{}", "0b".repeat(32)).parse().unwrap();
    let taken = decided(&quarantines, &tags, Some(&immutable()));
    check_outcome(
        &quarantines,
        &tags,
        &taken,
        Some(&hit),
        &expect![[r#"
            HIGH ["litellm-v1.80.5"]
            The tag latest was removed from an image in infrastructure
            ECR Warden removed the tag latest from an image in the repository infrastructure. The image is kept, with its other tags.

            In the meantime, somebody had moved the tag to the image sha256:0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b, and that image lost the tag. ECR deletes an image that loses its last tag. Check whether the image still exists, and push it again if it does not.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.
            Restore the tag latest (first change the grammar, or the enforcement to report: under this policy, the tag is removed again): ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag latest
              m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag latest --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}"
        "#]],
    );
}

#[test]
fn a_suggested_tag_of_another_image_is_in_no_command_and_the_text_names_that_image() {
    let policy = policy(GUIDE, &[]);
    let TagVerdict::Violation(violation) = judge(&policy, "litellm-1.80.5") else {
        panic!("the tag conforms")
    };
    let tag: Tag = "litellm-1.80.5".parse().unwrap();
    let image = Image {
        digest: digest(),
        tags: vec![tag.clone()],
        media_type: None,
        status: ImageStatus::Active,
    };
    let owner = format!("sha256:{}", "0b".repeat(32)).parse().unwrap();
    let others = OtherImages { has_suggestion: Some(owner), ..OtherImages::default() };
    for enforcement in ["quarantine", "archive"] {
        let policy = self::policy(GUIDE, &[("Tags.Enforcement", enforcement.into())]);
        let plan = plan_enforcement(
            &policy,
            &tag,
            &image,
            Some(&immutable()),
            "2026-11-24".parse().unwrap(),
        );
        let alert = tag_violation(&policy, &about(), &tag, &violation, &image, &plan, &[], &others);
        assert_eq!(alert.details["suggestion"], Value::Null, "{enforcement}");
        for Remedy { label, command, aws_cli } in &alert.remedies {
            let texts = [Some(label), Some(command), aws_cli.as_ref()];
            let names = texts.iter().flatten().any(|text| text.contains("litellm-v1.80.5"));
            assert!(!names, "{enforcement}: {label}: {command}");
        }
        let (_, next) = alert.text.split_once("What to do: ").unwrap();
        assert_eq!(
            next,
            format!(
                "push the image again with another tag that conforms, and correct the pipeline that \
                 pushed litellm-1.80.5. The tag litellm-v1.80.5, which was probably meant, belongs to \
                 another image, sha256:{}.",
                "0b".repeat(32)
            )
        );
    }
}
