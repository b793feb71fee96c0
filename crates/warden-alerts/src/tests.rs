mod done;
mod hidden;
mod limits;
mod wire;

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use warden_core::enforcement::{
    EnforcementOutcome, EnforcementPlan, plan_enforcement, undo_archiving,
};
use warden_core::image::{Image, ImageStatus};
use warden_core::mutability::Mutability;
use warden_core::policy::{Policy, TagMutability};
use warden_core::tagging::{TagVerdict, judge};

/// The policy of the repository `infrastructure` of the guide.
const GUIDE: &str = r#"{
    "RepositoryName": "infrastructure",
    "Rule": "platform",
    "Mutability": {"ImageTagMutability": "IMMUTABLE"},
    "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "quarantine"},
    "Retention": {"Keep": 20, "UntaggedDays": 7, "Enforcement": "archive"}
}"#;

/// Parses a policy in which some properties are replaced. A dotted path names each property.
fn policy(properties: &str, changes: &[(&str, Value)]) -> Policy {
    let mut root: Value = serde_json::from_str(properties).unwrap();
    for (path, value) in changes {
        let parts = path.split('.');
        let property = parts.fold(&mut root, |object, part| &mut object[part]);
        property.clone_from(value);
    }
    Policy::parse(&root.to_string()).unwrap()
}

/// The tag mutability of a repository whose tags cannot move.
fn immutable() -> Mutability {
    Mutability { setting: TagMutability::Immutable, exclusion_filters: BTreeSet::new() }
}

fn digest() -> Digest {
    format!("sha256:{}", "0a".repeat(32)).parse().unwrap()
}

pub(super) fn about() -> About {
    About {
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        repository: "infrastructure".parse().unwrap(),
        digest: digest(),
        source: Source { id: "85fc3613".to_owned(), time: "2026-11-24T10:00:00Z".to_owned() },
    }
}

/// The alert about a tag on an image with these tags.
fn alert(policy: &Policy, tag: &str, tags: &[&str]) -> (Alert, EnforcementPlan) {
    let TagVerdict::Violation(violation) = judge(policy, tag) else { panic!("{tag} conforms") };
    let (tag, media_type) = (tag.parse().unwrap(), "application/vnd.oci.image.manifest.v1+json");
    let image = Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: Some(media_type.to_owned()),
        status: ImageStatus::Active,
    };
    let plan =
        plan_enforcement(policy, &tag, &image, Some(&immutable()), "2026-11-24".parse().unwrap());
    let others = OtherImages::default();
    (tag_violation(policy, &about(), &tag, &violation, &image, &plan, &[], &others), plan)
}

/// The notifier shows every command that this crate writes, also with the name of the stack.
pub(crate) fn assert_commands_are_shown(alert: &Alert) {
    let named = alert.clone().with_stack("warden-2");
    for remedy in alert.remedies.iter().chain(&named.remedies) {
        assert!(alert.could_have_written(remedy), "{remedy:?}");
        assert!(remedy.has_own_label(), "{remedy:?}");
    }
    let is_named = |command: &str| command.contains(" --stack warden-2 ");
    for remedy in named.remedies {
        assert_eq!(is_named(&remedy.command), remedy.command.starts_with("ecr-warden "));
    }
}

fn check_email(enforcement: &str, tag: &str, tags: &[&str], expected: &Expect) {
    let policy = policy(GUIDE, &[("Tags.Enforcement", enforcement.into())]);
    let (alert, _) = alert(&policy, tag, tags);
    assert_commands_are_shown(&alert);
    expected.assert_eq(&alert.email());
}

#[test]
fn an_email_states_the_event_the_reason_and_the_next_step() {
    check_email(
        "quarantine",
        "litellm-1.80.5",
        &["litellm-1.80.5"],
        &expect![[r#"
            The image infrastructure:litellm-1.80.5 was quarantined

            ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image now has the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.

            Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

            What to do: restore the image as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.

            Restore the image as litellm-v1.80.5:

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag litellm-v1.80.5

            Or with the AWS CLI:

                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-v1.80.5 --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json' && aws ecr batch-delete-image --region us-east-1 --repository-name infrastructure --image-ids imageTag=quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5

            Restore the tag litellm-1.80.5 (first change the grammar, or the enforcement to report: under this policy, the tag is removed again):

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag litellm-1.80.5

            Or with the AWS CLI:

                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-1.80.5 --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json'

            Severity    HIGH
            Repository  infrastructure
            Component   litellm
            Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            Tags        quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn an_image_with_the_suggested_tag_needs_no_other_tag() {
    check_email(
        "quarantine",
        "litellm-1.80.5",
        &["litellm-1.80.5", "litellm-v1.80.5"],
        &expect![[r#"
            The tag litellm-1.80.5 was removed from an image in infrastructure

            ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image is kept, with its other tags.

            Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

            What to do: nothing for this image, which also has the conforming tag litellm-v1.80.5. Correct the pipeline that pushed litellm-1.80.5.

            Restore the tag litellm-1.80.5 (first change the grammar, or the enforcement to report: under this policy, the tag is removed again):

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag litellm-1.80.5

            Or with the AWS CLI:

                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-1.80.5 --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json'

            Severity    HIGH
            Repository  infrastructure
            Component   litellm
            Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            Tags        litellm-v1.80.5
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn the_command_for_an_archived_image_names_its_digest() {
    check_email(
        "archive",
        "latest",
        &["latest"],
        &expect![[r#"
            The image infrastructure:latest was archived

            ECR Warden moved the image infrastructure:latest to the archive, with all its tags. The image cannot be pulled until it is restored, which takes about twenty minutes. ECR deletes the image after 90 days in the archive.

            Why: the tag latest does not match {component}-v{semver} (rule grammar).

            What to do: push the image again with a tag that conforms, or change the policy.

            Restore the image from the archive:

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a

            Or with the AWS CLI:

                aws ecr update-image-storage-class --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --target-storage-class STANDARD

            Severity    HIGH
            Repository  infrastructure
            Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            Tags        latest
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn a_report_states_that_nothing_was_changed_and_has_no_command() {
    check_email(
        "archive",
        "litellm-1.80.5",
        &["litellm-1.80.5", "litellm-v1.80.4"],
        &expect![[r#"
            The tag litellm-1.80.5 in infrastructure violates the policy

            An image was pushed to the repository infrastructure with the tag litellm-1.80.5, which violates the policy. Nothing was changed: the image also has an accepted tag.

            Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

            What to do: push the image again as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.

            Severity    MEDIUM
            Repository  infrastructure
            Component   litellm
            Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            Tags        litellm-1.80.5, litellm-v1.80.4
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn the_json_has_the_fields_of_the_contract() {
    let (alert, _) = alert(&policy(GUIDE, &[]), "litellm-1.80.5", &["litellm-1.80.5"]);
    let json: Value = serde_json::from_str(&alert.json()).unwrap();
    let mut without_commands = json.clone();
    for remedy in without_commands["remedies"].as_array_mut().unwrap() {
        remedy["command"] = "…".into();
        remedy["awsCli"] = "…".into();
    }
    expect![[r#"
        {
          "account": "123456789012",
          "component": "litellm",
          "details": {
            "action": "quarantined",
            "quarantineTag": "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5",
            "rule": "grammar",
            "suggestion": "litellm-v1.80.5",
            "tag": "litellm-1.80.5"
          },
          "image": {
            "digest": "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "tags": [
              "quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5"
            ]
          },
          "kind": "tag-violation",
          "region": "us-east-1",
          "remedies": [
            {
              "awsCli": "…",
              "command": "…",
              "label": "Restore the image as litellm-v1.80.5"
            },
            {
              "awsCli": "…",
              "command": "…",
              "label": "Restore the tag litellm-1.80.5 (first change the grammar, or the enforcement to report: under this policy, the tag is removed again)"
            }
          ],
          "repository": "infrastructure",
          "severity": "HIGH",
          "source": {
            "id": "85fc3613",
            "time": "2026-11-24T10:00:00Z"
          },
          "text": "ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image now has the tag quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.\n\nWhy: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).\n\nWhat to do: restore the image as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.",
          "title": "The image infrastructure:litellm-1.80.5 was quarantined",
          "version": 2
        }"#]].assert_eq(&format!("{without_commands:#}"));
}

/// The violations of the schema of custom notifications by a notification:
/// <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>.
fn schema_violations(notification: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let within = |value: &Value, most: usize| {
        value.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= most)
    };
    let names = |value: &Value, known: &[&str]| {
        value
            .as_object()
            .is_some_and(|fields| fields.keys().all(|name| known.contains(&name.as_str())))
    };
    let all = |value: &Value, most: usize| {
        value.as_array().is_some_and(|list| list.iter().all(|text| within(text, most)))
    };
    expect(names(notification, &["version", "source", "id", "content", "metadata"]), "names");
    expect(notification["version"] == "1.0", "version");
    expect(notification["source"] == "custom", "source");
    expect(notification["id"].is_string(), "id");
    let content = &notification["content"];
    let known = ["textType", "title", "description", "nextSteps", "keywords"];
    expect(names(content, &known), "content's names");
    expect(content["textType"] == "client-markdown", "textType");
    expect(within(&content["title"], 250), "title");
    expect(within(&content["description"], 8_000), "description");
    expect(all(&content["nextSteps"], 350), "nextSteps");
    expect(all(&content["keywords"], 75), "keywords");
    let metadata = &notification["metadata"];
    let known = ["threadId", "summary", "eventType", "relatedResources", "additionalContext"];
    expect(names(metadata, &known), "metadata's names");
    for name in ["threadId", "summary", "eventType"] {
        expect(within(&metadata[name], usize::MAX), name);
    }
    expect(all(&metadata["relatedResources"], usize::MAX), "relatedResources");
    let additional = metadata["additionalContext"].as_object();
    expect(
        additional.is_some_and(|fields| fields.values().all(Value::is_string)),
        "additionalContext",
    );
    wrong
}

/// The violations of the limits of SNS, and of the formats of the readers, by a message.
pub(super) fn limit_violations(message: &Message) -> Vec<String> {
    let mut wrong = Vec::new();
    if message.body.len() > LARGEST_MESSAGE {
        wrong.push(format!("{} bytes", message.body.len()));
    }
    if !(1..100).contains(&message.subject.len()) || !message.subject.is_ascii() {
        wrong.push(format!("the subject {:?}", message.subject));
    }
    let texts: Value = serde_json::from_str(&message.body).unwrap();
    let text = |name: &str| serde_json::from_str::<Value>(texts[name].as_str().unwrap()).unwrap();
    wrong.extend(schema_violations(&text("https")));
    let written = text("default");
    if written["version"] != 2 {
        wrong.push("the JSON has no version".to_owned());
    }
    match Alert::deserialize(&written) {
        Ok(read) if json!(read) == written => {}
        Ok(_) => wrong.push("the JSON is not read as it was written".to_owned()),
        Err(error) => wrong.push(format!("the JSON is not an alert: {error}")),
    }
    let email = texts["email"].as_str().unwrap();
    if email.contains(|c| c != '\n' && is_hidden(c)) {
        wrong.push("the e-mail has hidden characters".to_owned());
    }
    wrong
}

#[test]
fn every_rendering_has_the_runbook() {
    let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
    let url = "https://example.com/docs/runbooks/tag-violation.md";
    let message: Value =
        serde_json::from_str(&alert.with_runbook("https://example.com/docs").message("aws").body)
            .unwrap();
    for protocol in ["default", "email", "https"] {
        assert!(message[protocol].as_str().unwrap().contains(url), "{protocol}");
    }
    let published = slack::Notification::read(message["default"].as_str().unwrap()).unwrap();
    let payloads = [slack::render(&published), slack::render_without_blocks(&published)];
    assert!(payloads.iter().all(|payload| payload.json().contains(url)));
}

#[test]
fn the_notification_for_amazon_q_has_its_schema() {
    let (alert, plan) = alert(&policy(GUIDE, &[]), "litellm-1.80.5", &["litellm-1.80.5"]);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    let notification = alert.amazon_q("aws");
    let description = notification["content"]["description"].as_str().unwrap();
    assert_eq!(description.matches("```").count(), 8, "{description}");
    assert!(description.contains(plan.quarantine_tag.unwrap().as_str()), "{description}");
}

/// Every name and text has its largest length, and characters that escaping makes several times as long.
#[test]
fn the_largest_alert_is_within_amazon_q_s_schema() {
    let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
    let longest = "\"".repeat(LONGEST_COMMAND);
    let remedy = Remedy::tool("\"".repeat(400), longest.clone(), longest);
    let tags: Vec<Tag> = (0..1_000).map(|n| format!("{n:0>128}").parse().unwrap()).collect();
    let largest = Alert {
        title: format!("x{}", "é".repeat(10_000)),
        text: "\u{1f433}".repeat(100_000),
        account: "1".repeat(12),
        region: "r".repeat(32),
        repository: Some("r".repeat(256).parse().unwrap()),
        component: Some("c".repeat(128).parse().unwrap()),
        image: Some(Subject { digest: digest(), tags }),
        details: Map::from_iter([("all".to_owned(), "x".repeat(1_000_000).into())]),
        remedies: vec![remedy; 20],
        source: Source { id: "i".repeat(64), time: "2026-11-24T10:00:00Z".to_owned() },
        ..alert
    };
    assert_eq!(limit_violations(&largest.message("aws")), Vec::<String>::new());
}

/// The check of the schema finds each violation.
#[test]
fn a_notification_with_a_wrong_field_violates_the_schema() {
    let good = alert(&policy(GUIDE, &[]), "latest", &["latest"]).0.amazon_q("aws");
    for (pointer, value, expected) in [
        ("/surprise", json!(1), "names"),
        ("/version", json!(1), "version"),
        ("/source", json!("aws"), "source"),
        ("/id", json!(1), "id"),
        ("/content/surprise", json!("x"), "content's names"),
        ("/content/textType", json!("plain"), "textType"),
        ("/content/title", json!("x".repeat(251)), "title"),
        ("/content/description", json!(""), "description"),
        ("/content/nextSteps", json!(["x".repeat(351)]), "nextSteps"),
        ("/content/keywords", json!("x"), "keywords"),
        ("/metadata/surprise", json!("x"), "metadata's names"),
        ("/metadata/threadId", json!(1), "threadId"),
        ("/metadata/summary", Value::Null, "summary"),
        ("/metadata/eventType", json!([]), "eventType"),
        ("/metadata/relatedResources", json!([1]), "relatedResources"),
        ("/metadata/additionalContext/Tags", json!(["x"]), "additionalContext"),
    ] {
        let mut bad = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = bad.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
        parent.insert(name.to_owned(), value);
        assert_eq!(schema_violations(&bad), [expected], "{pointer}");
    }
    assert_eq!(schema_violations(&good), [""; 0]);
}

#[test]
fn an_alert_about_an_image_with_a_thousand_tags_is_within_the_limits() {
    let tags: Vec<String> = (0..1_000).map(|n| format!("{n:0>128}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (alert, _) = alert(&policy(GUIDE, &[]), tags[0], &tags);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
}

/// The names are the longest that ECR accepts.
#[test]
fn every_enforcement_has_its_commands_with_the_longest_names() {
    let (repository, component) = ("r".repeat(256), "c".repeat(121));
    let properties = [("RepositoryName", repository.clone().into())];
    let (policy, tag) = (policy(GUIDE, &properties), format!("{component}-1.80.5"));
    let (alert, plan) = alert(&policy, &tag, &[&tag]);
    let alert = Alert { repository: Some(repository.parse().unwrap()), ..alert };
    assert_eq!((plan.action, tag.len()), (EnforcementOutcome::Quarantined, 128));
    let message: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    let json: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    let remedies = json["remedies"].as_array().unwrap();
    assert_eq!(remedies.len(), 1, "the suggested tag is too long");
    let shorter = &tag[1..];
    let (alert, _) = self::alert(&policy, shorter, &[shorter]);
    let commands = alert.remedies.iter().flat_map(|remedy| &remedy.aws_cli);
    let longest = commands.map(String::len).max().unwrap();
    assert!((LONGEST_COMMAND / 2..LONGEST_COMMAND).contains(&(longest + 3 * 256)), "{longest}");
}

#[test]
fn the_alert_about_a_repository_without_a_rule_says_how_to_govern_it() {
    let alert = repository_violation(&about(), None);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    expect![[r#"
        An image was pushed to infrastructure, which no rule of the policy governs

        An image was pushed to the repository infrastructure. Nothing was changed.

        Why: no rule of the policy matches the name infrastructure, and Unmatched is report.

        What to do: add the repository to a rule of infra/sam/policy.yaml, or delete the repository. The next pushes to the repository send no alert.

        Severity    MEDIUM
        Repository  infrastructure
        Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
        Tags        none
        Account     123456789012, us-east-1
        Event       85fc3613 at 2026-11-24T10:00:00Z
    "#]].assert_eq(&alert.email());
}

/// A text of up to `most` equal characters, whose escaped form is longer.
fn texts(most: usize) -> impl Strategy<Value = String> {
    let characters =
        prop::sample::select(vec!['x', '"', '\\', '\n', '\u{1}', '\u{202e}', 'é', '\u{1f433}']);
    (characters, prop_oneof![Just(most), 0..most])
        .prop_map(|(character, times)| format!("x{}", character.to_string().repeat(times)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_message_of_any_alert_is_within_all_limits(
        title in texts(600),
        text in texts(12_000),
        remedies in prop::collection::vec((texts(600), texts(2_500)), 0..12),
        details in prop::collection::vec(texts(4_000), 0..12),
    ) {
        let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
        let remedy = |(label, command): (String, String)| Remedy {
            label,
            aws_cli: Some(command.clone()),
            command,
        };
        let remedies = remedies.into_iter().map(remedy).collect();
        let details = Map::from_iter([("all".to_owned(), json!(details))]);
        let message = Alert { title, text, details, remedies, ..alert }.message("aws");
        prop_assert_eq!(limit_violations(&message), Vec::<String>::new());
    }
}
