mod done;
mod hidden;
mod limits;
mod wire;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use warden_core::enforcement::{
    EnforcementOutcome, EnforcementPlan, plan_enforcement, undo_archiving,
};
use warden_core::image::{Image, ImageStatus};
use warden_core::policy::Policy;
use warden_core::tagging::{TagVerdict, judge};

/// The guide's `infrastructure` repository.
const GUIDE: &str = r#"{
    "RepositoryName": "infrastructure",
    "ImageTagMutability": "IMMUTABLE",
    "LifecycleTagCount": 20,
    "LifecycleUntaggedDays": 7,
    "Governance": {
        "Tags": {"Grammar": "{component}-v{semver}", "Enforcement": "quarantine"},
        "Retention": {"Enforcement": "archive"}
    }
}"#;

/// Parses a policy with some properties replaced, each named by its dotted path.
fn policy(properties: &str, changes: &[(&str, Value)]) -> Policy {
    let mut root: Value = serde_json::from_str(properties).unwrap();
    for (path, value) in changes {
        let parts = path.split('.');
        let property = parts.fold(&mut root, |object, part| &mut object[part]);
        property.clone_from(value);
    }
    Policy::parse(&root.to_string()).unwrap()
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

/// The alert of a tag on an image with these.
fn alert(policy: &Policy, tag: &str, tags: &[&str]) -> (Alert, EnforcementPlan) {
    let TagVerdict::Violation(violation) = judge(policy, tag) else { panic!("{tag} conforms") };
    let (tag, media_type) = (tag.parse().unwrap(), "application/vnd.oci.image.manifest.v1+json");
    let image = Image {
        digest: digest(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        media_type: Some(media_type.to_owned()),
        status: ImageStatus::Active,
    };
    let plan = plan_enforcement(policy, &tag, &image, true, "2026-11-24".parse().unwrap());
    (tag_violation(policy, &about(), &tag, &violation, &image, &plan, &[], None), plan)
}

/// The notifier shows every command that this crate writes.
pub(crate) fn assert_commands_are_shown(alert: &Alert) {
    for remedy in &alert.remedies {
        assert!(alert.could_have_written(remedy), "{remedy:?}");
        assert!(remedy.has_own_label(), "{remedy:?}");
    }
}

fn check_email(enforcement: &str, tag: &str, tags: &[&str], expected: &Expect) {
    let policy = policy(GUIDE, &[("Governance.Tags.Enforcement", enforcement.into())]);
    let (alert, _) = alert(&policy, tag, tags);
    assert_commands_are_shown(&alert);
    expected.assert_eq(&alert.email());
}

#[test]
fn an_email_says_what_happened_and_how_to_undo_it() {
    check_email(
        "quarantine",
        "litellm-1.80.5",
        &["litellm-1.80.5"],
        &expect![[r#"
            infrastructure:litellm-1.80.5 was quarantined

            The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.
            It was taken away. The image is now quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5 and is kept for 14 days at least; it can be pulled by that tag and by its digest.

            Restore it as litellm-v1.80.5:

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag litellm-v1.80.5

            Or with the AWS CLI:

                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-v1.80.5 --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json' && aws ecr batch-delete-image --region us-east-1 --repository-name infrastructure --image-ids imageTag=quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5

            Restore it as litellm-1.80.5, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again):

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
fn an_image_that_has_the_right_tag_already_needs_no_other() {
    check_email(
        "quarantine",
        "litellm-1.80.5",
        &["litellm-1.80.5", "litellm-v1.80.5"],
        &expect![[r#"
            infrastructure:litellm-1.80.5 was taken away from its image

            The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. The image has litellm-v1.80.5 too.
            It was taken away. The image is kept, with its other tags.

            Restore it as litellm-1.80.5, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again):

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
fn an_archived_image_is_restored_by_its_digest() {
    check_email(
        "archive",
        "latest",
        &["latest"],
        &expect![[r#"
            infrastructure:latest was archived

            The tag latest in infrastructure is not made of {component}-v{semver}. Push it again under a tag that conforms, or change the policy.
            The image was moved to the archive, with its tags: it cannot be pulled until it is restored, which takes some twenty minutes, and ECR deletes it after 90 days there.

            Restore it as it was:

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
fn a_report_says_that_nothing_was_changed() {
    check_email(
        "report",
        "litellm-1.80.5",
        &["litellm-1.80.5"],
        &expect![[r#"
            infrastructure:litellm-1.80.5 breaks the rules of tags

            The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.
            Nothing was changed.

            Tag it litellm-v1.80.5 too:

                ecr-warden restore --region us-east-1 infrastructure@sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --tag litellm-v1.80.5

            Or with the AWS CLI:

                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-v1.80.5 --image-digest sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json'

            Severity    MEDIUM
            Repository  infrastructure
            Component   litellm
            Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
            Tags        litellm-1.80.5
            Account     123456789012, us-east-1
            Event       85fc3613 at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn the_json_is_the_contract_s() {
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
              "label": "Restore it as litellm-v1.80.5"
            },
            {
              "awsCli": "…",
              "command": "…",
              "label": "Restore it as litellm-1.80.5, as it was (first change the grammar, or the enforcement to report: under this policy it is removed again)"
            }
          ],
          "repository": "infrastructure",
          "severity": "HIGH",
          "source": {
            "id": "85fc3613",
            "time": "2026-11-24T10:00:00Z"
          },
          "text": "The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.\nIt was taken away. The image is now quarantine-20261124-0a0a0a0a0a0a-litellm-1.80.5 and is kept for 14 days at least; it can be pulled by that tag and by its digest.",
          "title": "infrastructure:litellm-1.80.5 was quarantined",
          "version": 1
        }"#]].assert_eq(&format!("{without_commands:#}"));
}

/// What is wrong with a custom notification, by the schema at
/// <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>.
fn against_the_schema(notification: &Value) -> Vec<String> {
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
        value.as_object().is_some_and(|it| it.keys().all(|name| known.contains(&name.as_str())))
    };
    let all = |value: &Value, most: usize| {
        value.as_array().is_some_and(|list| list.iter().all(|it| within(it, most)))
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
    expect(additional.is_some_and(|it| it.values().all(Value::is_string)), "additionalContext");
    wrong
}

/// What is wrong with a message, by SNS and by whoever reads it.
pub(super) fn against_the_limits(message: &Message) -> Vec<String> {
    let mut wrong = Vec::new();
    if message.body.len() > LARGEST_MESSAGE {
        wrong.push(format!("{} bytes", message.body.len()));
    }
    if !(1..100).contains(&message.subject.len()) || !message.subject.is_ascii() {
        wrong.push(format!("the subject {:?}", message.subject));
    }
    let texts: Value = serde_json::from_str(&message.body).unwrap();
    let text = |name: &str| serde_json::from_str::<Value>(texts[name].as_str().unwrap()).unwrap();
    wrong.extend(against_the_schema(&text("https")));
    let written = text("default");
    if written["version"] != 1 {
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
fn amazon_q_gets_its_own_schema() {
    let (alert, plan) = alert(&policy(GUIDE, &[]), "litellm-1.80.5", &["litellm-1.80.5"]);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    let notification = alert.amazon_q("aws");
    let description = notification["content"]["description"].as_str().unwrap();
    assert_eq!(description.matches("```").count(), 8, "{description}");
    assert!(description.contains(plan.quarantine_tag.unwrap().as_str()), "{description}");
}

/// Every name and text as long as it can come, and of what is escaped to several times its size.
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
    assert_eq!(against_the_limits(&largest.message("aws")), Vec::<String>::new());
}

/// What is held against the schema would be found out.
#[test]
fn a_notification_that_amazon_q_would_not_take_is_noticed() {
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
        assert_eq!(against_the_schema(&bad), [expected], "{pointer}");
    }
    assert_eq!(against_the_schema(&good), [""; 0]);
}

#[test]
fn an_image_with_a_thousand_tags_has_an_alert_too() {
    let tags: Vec<String> = (0..1_000).map(|n| format!("{n:0>128}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let (alert, _) = alert(&policy(GUIDE, &[]), tags[0], &tags);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
}

/// The longest names that ECR takes.
#[test]
fn every_enforcement_has_its_commands_however_long_the_names_are() {
    let (repository, component) = ("r".repeat(256), "c".repeat(121));
    let properties = [("RepositoryName", repository.clone().into())];
    let (policy, tag) = (policy(GUIDE, &properties), format!("{component}-1.80.5"));
    let (alert, plan) = alert(&policy, &tag, &[&tag]);
    let alert = Alert { repository: Some(repository.parse().unwrap()), ..alert };
    assert_eq!((plan.action, tag.len()), (EnforcementOutcome::Quarantined, 128));
    let message: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    let json: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    let remedies = json["remedies"].as_array().unwrap();
    assert_eq!(remedies.len(), 1, "the tag that was meant would be too long");
    let shorter = &tag[1..];
    let (alert, _) = self::alert(&policy, shorter, &[shorter]);
    let commands = alert.remedies.iter().flat_map(|remedy| &remedy.aws_cli);
    let longest = commands.map(String::len).max().unwrap();
    assert!((LONGEST_COMMAND / 2..LONGEST_COMMAND).contains(&(longest + 3 * 256)), "{longest}");
}

#[test]
fn where_tags_can_be_moved_no_command_gives_one() {
    let mutable = [
        ("ImageTagMutability", "MUTABLE".into()),
        ("Governance.Tags.Enforcement", "report".into()),
    ];
    let (alert, _) = alert(&policy(GUIDE, &mutable), "litellm-1.80.5", &["litellm-1.80.5"]);
    assert_eq!(alert.remedies, []);
    assert_eq!(alert.details["suggestion"], "litellm-v1.80.5");
    expect![[r#"
        The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.
        Nothing was changed."#]].assert_eq(&alert.text);
}

#[test]
fn an_unexpected_repository_is_told_with_what_was_expected() {
    let patterns = ["infrastructure", "team-*"].map(|pattern| pattern.parse().unwrap());
    let alert = repository_violation(&about(), &patterns, None);
    assert_eq!(alert.details["patterns"], json!(["infrastructure", "team-*"]));
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    expect![[r#"
        An image was pushed to infrastructure, a name that is not expected

        The repository infrastructure is like none of RepositoryNamePatterns (infrastructure team-*), and an image was pushed to it. Nothing was changed. Delete the repository, or add its name to the patterns: this is told once a day.

        Severity    MEDIUM
        Repository  infrastructure
        Image       sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a
        Tags        none
        Account     123456789012, us-east-1
        Event       85fc3613 at 2026-11-24T10:00:00Z
    "#]].assert_eq(&alert.email());
}

/// A text of one character that takes more room than it seems, up to so many of them.
fn texts(most: usize) -> impl Strategy<Value = String> {
    let characters =
        prop::sample::select(vec!['x', '"', '\\', '\n', '\u{1}', '\u{202e}', 'é', '\u{1f433}']);
    (characters, prop_oneof![Just(most), 0..most])
        .prop_map(|(character, times)| format!("x{}", character.to_string().repeat(times)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_it_is_made_of_a_message_is_within_all_limits(
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
        prop_assert_eq!(against_the_limits(&message), Vec::<String>::new());
    }
}
