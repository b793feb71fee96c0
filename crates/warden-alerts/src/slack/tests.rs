mod limits;
mod properties;

use std::fmt::Write as _;

use expect_test::{Expect, expect, expect_file};
use local_aws::slack;
use serde_json::{Value, json};
use warden_core::text::is_hidden;

use super::layout::LONGEST_MESSAGE;
use super::*;

/// The text of the message of an event in `events/slack-notifier`.
fn event(name: &str) -> String {
    let path = format!("{}/../../events/slack-notifier/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    event["Records"][0]["Sns"]["Message"].as_str().unwrap().to_owned()
}

/// An alert about findings, with some fields replaced, each named by its JSON pointer.
fn alert(changes: &[(&str, Value)]) -> Value {
    let mut alert: Value = serde_json::from_str(&event("scan-findings")).unwrap();
    for (pointer, value) in changes {
        alert.pointer_mut(pointer).unwrap().clone_from(value);
    }
    assert!(matches!(Notification::read(&alert.to_string()), Some(Notification::Alert(_))));
    alert
}

/// The payloads of a message, with and without blocks. Slack accepts both, and neither has a hidden
/// character.
fn payloads(notification: &Notification) -> [Value; 2] {
    let payloads = [render(notification), render_without_blocks(notification)];
    payloads.map(|payload| {
        let payload: Value = serde_json::from_str(&payload.json()).unwrap();
        assert_eq!(slack::check(&payload), [""; 0], "{payload:#}");
        let texts = texts(&payload);
        let characters = texts.iter().map(|text| length(text)).sum::<usize>();
        assert!(characters <= LONGEST_MESSAGE, "{characters} characters");
        for text in texts {
            assert!(!text.contains(|c| c != '\n' && is_hidden(c)), "{text:?}");
        }
        payload
    })
}

/// The payload with blocks of a message with this text.
fn payload(text: &str) -> Value {
    let [payload, _] = payloads(&Notification::read(text).unwrap());
    payload
}

/// Every text in a payload.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if name == "text" => vec![text],
                _ => texts(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        _ => vec![],
    }
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&slack::render(&payload(text)));
}

#[test]
fn a_tag_violation_has_the_commands_that_undo_it() {
    check(
        &event("tag-violation"),
        &expect![[r#"
            HIGH: The image infrastructure:litellm-1.80.5 was quarantined

            ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image now has the tag quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.

            Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

            What to do: restore the image as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.

            Restore the image as litellm-v1.80.5:
                ecr-warden restore --region us-east-1 infrastructure@sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --tag litellm-v1.80.5

            Or with the AWS CLI:
                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-v1.80.5 --image-digest sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json' && aws ecr batch-delete-image --region us-east-1 --repository-name infrastructure --image-ids imageTag=quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5

            Restore the tag litellm-1.80.5 (first change the grammar, or the enforcement to report: under this policy, the tag is removed again):
                ecr-warden restore --region us-east-1 infrastructure@sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --tag litellm-1.80.5

            Or with the AWS CLI:
                m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-1.80.5 --image-digest sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json'

            Runbook: tag-violation.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/tag-violation.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5`

            123456789012, us-east-1  |  tag-violation  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn findings_are_listed_in_their_order_and_the_others_are_counted() {
    check(
        &event("scan-findings"),
        &expect![[r#"
            CRITICAL: infrastructure:litellm-v1.80.6 has 3 new findings: 2 CRITICAL, 1 HIGH

            The scan of infrastructure:litellm-v1.80.6 found 40 findings at or above HIGH (2 CRITICAL, 38 HIGH), and 82 findings in all. Compared with the previous version litellm-v1.80.5, 3 findings are new and 2 are gone. Fixed packages exist for 27 findings. 3 tasks or pods use the image.

            Findings
            • CRITICAL CVE-2026-10001 (https://nvd.nist.gov/vuln/detail/CVE-2026-10001) in `openssl` `3.0.1`: fixed in `3.0.2`, an exploit is known, EPSS 93.0 %, new
            • CRITICAL CVE-2026-10002 (https://nvd.nist.gov/vuln/detail/CVE-2026-10002) in `libxml2` `3.1.1`: fixed in `3.1.2`, new
            • HIGH CVE-2026-10003 (https://nvd.nist.gov/vuln/detail/CVE-2026-10003) in `zlib` `3.2.1`: EPSS 31.0 %, new
            • HIGH CVE-2026-10004 (https://nvd.nist.gov/vuln/detail/CVE-2026-10004) in `curl` `3.3.1`: fixed in `3.3.2`
            • HIGH CVE-2026-10005 (https://nvd.nist.gov/vuln/detail/CVE-2026-10005) in `expat` `3.4.1`: fixed in `3.4.2`, EPSS 18.6 %
            • HIGH CVE-2026-10006 (https://nvd.nist.gov/vuln/detail/CVE-2026-10006) in `glibc` `3.5.1`
            • HIGH CVE-2026-10007 (https://nvd.nist.gov/vuln/detail/CVE-2026-10007) in `krb5` `3.6.1`: fixed in `3.6.2`, EPSS 13.3 %
            • HIGH CVE-2026-10008 (https://nvd.nist.gov/vuln/detail/CVE-2026-10008) in `sqlite` `3.7.1`: fixed in `3.7.2`
            • HIGH CVE-2026-10009 (https://nvd.nist.gov/vuln/detail/CVE-2026-10009) in `urllib3` `3.8.1`: EPSS 10.3 %
            • HIGH CVE-2026-10010 (https://nvd.nist.gov/vuln/detail/CVE-2026-10010) in `requests` `3.9.1`: fixed in `3.9.2`
            and 30 more: all findings (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)

            Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

            What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image.

            List all findings:
                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a

            Runbook: scan-findings.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/scan-findings.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `litellm-v1.80.6`
            Findings      2 CRITICAL, 38 HIGH, 21 MEDIUM, 12 LOW, 9 INFORMATIONAL
            Threshold     `HIGH`
            Compared with `litellm-v1.80.5`: 3 new, 2 fixed
            Accepted      1
            In use        3 tasks or pods

            123456789012, us-east-1  |  scan-findings  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn an_alert_about_resolved_findings_is_short() {
    check(
        &event("scan-resolved"),
        &expect![[r#"
            INFORMATIONAL: infrastructure:litellm-v1.80.7 has no open findings any more

            The scan of infrastructure:litellm-v1.80.7 found no open finding at or above HIGH.

            Why: an earlier alert reported findings in litellm.

            What to do: deploy this version. Older versions may still have the findings.

            Runbook: scan-resolved.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/scan-resolved.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `litellm-v1.80.7`

            123456789012, us-east-1  |  scan-resolved  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn an_alarm_states_its_purpose_and_its_reason() {
    check(
        &event("cloudwatch-alarm"),
        &expect![[r#"
            ALARM: ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL

            A function of ECR Warden failed all attempts for an event. The event and the error wait in the queue FailedEvents. Correct the cause, and invoke the function again with the event. Runbook https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/alarm-failed-events.md

            Why: Threshold Crossed: 1 out of the last 1 datapoints [1.0 (24/11/26 09:59:00)] was greater than the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition).

            Alarm         ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL (https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#alarmsV2:alarm/ecr%2Dwarden%2DFailedEventsAlarm%2D1ABCDEFGHIJKL)
            State         `ALARM`, before `OK`
            Metric        `AWS/SQS ApproximateNumberOfMessagesVisible`
            Dimensions    `QueueName ecr-warden-FailedEvents-XyZ123abc`

            123456789012, us-east-1  |  2026-11-24T10:00:01.512+0000
        "#]],
    );
}

#[test]
fn a_message_of_an_unknown_kind_is_shown_as_its_text() {
    let show = |message: UnknownMessage, expected: &Expect| {
        let [payload, _] = payloads(&Notification::Unknown(message));
        expected.assert_eq(&slack::render(&payload));
    };
    let message = UnknownMessage {
        subject: Some("Maintenance".to_owned()),
        text: "The registry moves on Thursday.\nSee http://wiki.example.com/registry.".to_owned(),
        is_json: false,
        topic: Some("arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L".to_owned()),
        id: Some("95df01b4".to_owned()),
        time: Some("2026-11-24T10:00:03.112Z".to_owned()),
    };
    show(
        message.clone(),
        &expect![[r#"
        Maintenance

        The registry moves on Thursday.
        See http://wiki.example.com/registry.

        arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L  |  Message 95df01b4  |  2026-11-24T10:00:03.112Z
    "#]],
    );
    let json = UnknownMessage {
        subject: None,
        text: "{\n  \"a\": 1\n}".to_owned(),
        is_json: true,
        ..message
    };
    show(
        json.clone(),
        &expect![[r#"
        A message for ecr-warden-AlertTopic-1J2K3L

            {
              "a": 1
            }

        arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L  |  Message 95df01b4  |  2026-11-24T10:00:03.112Z
    "#]],
    );
    show(
        UnknownMessage { topic: None, id: None, time: None, ..json },
        &expect![[r#"
        A message

            {
              "a": 1
            }
    "#]],
    );
    show(
        UnknownMessage::default(),
        &expect![[r#"
        A message
    "#]],
    );
}

#[test]
fn an_alert_of_another_version_is_shown_as_far_as_it_is_readable() {
    let alert = json!({
        "version": 7,
        "kind": "comet",
        "title": "Seen over infrastructure",
        "severity": {"level": 3},
        "text": ["one", "two"],
        "account": 123_456_789_012_u64,
        "image": "sha256:0",
        "remedies": [{"label": "Look up"}, "duck", {"command": "date"}],
        "details": null,
    });
    check(
        &alert.to_string(),
        &expect![[r#"
            Seen over infrastructure

            one, two

            Command:
                date

                account: 123456789012
                image: sha256:0
                version: 7

            comet
        "#]],
    );
    let alert = json!({"kind": "scan-findings", "title": "x", "text": "one\n\ntwo"});
    check(
        &alert.to_string(),
        &expect![[r#"
        x

        one

        two

        scan-findings
    "#]],
    );
}

#[test]
fn an_alert_with_one_malformed_field_keeps_its_texts_facts_and_commands() {
    let mut alert: Value = serde_json::from_str(&event("tag-violation")).unwrap();
    alert["component"] = json!("Lite LLM");
    alert["remedies"] = json!([{"label": "Undo", "command": "date"}]);
    check(
        &alert.to_string(),
        &expect![[r#"
            HIGH: The image infrastructure:litellm-1.80.5 was quarantined

            ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image now has the tag quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.

            Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

            What to do: restore the image as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.

            Undo:
                date

                account: 123456789012
                component: Lite LLM
                image digest: sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a
                image tags: quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5
                owner: platform-team
                policy: 0123456789abcdef
                region: us-east-1
                repository: infrastructure
                runbook: https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/tag-violation.md
                source id: 85fc3613-e913-7fc4-a80c-a3753e4aa9ae
                source time: 2026-11-24T10:00:00Z
                version: 2

            tag-violation
        "#]],
    );
}

#[test]
fn the_text_lists_the_findings_where_the_details_are_malformed() {
    let alert =
        alert(&[("/details", json!({"omitted": "too many bytes"})), ("/remedies", json!([]))]);
    check(
        &alert.to_string(),
        &expect![[r#"
            CRITICAL: infrastructure:litellm-v1.80.6 has 3 new findings: 2 CRITICAL, 1 HIGH

            The scan of infrastructure:litellm-v1.80.6 found 40 findings at or above HIGH (2 CRITICAL, 38 HIGH), and 82 findings in all. Compared with the previous version litellm-v1.80.5, 3 findings are new and 2 are gone. Fixed packages exist for 27 findings. 3 tasks or pods use the image.

            New findings:
            - CRITICAL CVE-2026-10001 in openssl 3.0.1, fixed in 3.0.2; an exploit is known; EPSS 0.93
            - CRITICAL CVE-2026-10002 in libxml2 3.1.1, fixed in 3.1.2
            - HIGH CVE-2026-10003 in zlib 3.2.1; EPSS 0.31

            Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

            What to do: update the packages that have a fix and push a new version, or accept a finding that does not affect the image.

            Runbook: scan-findings.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/scan-findings.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `litellm-v1.80.6`

            123456789012, us-east-1  |  scan-findings  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn findings_with_few_fields_are_shown() {
    let finding = |id: &str, severity: &str| json!({"id": id, "severity": severity, "packages": 0, "new": true});
    let mut second = finding("CVE-2", "HIGH");
    second["url"] = json!("http://example.com");
    second["epss"] = json!(93.0);
    second["package"] = json!("a`b");
    let mut third = finding("CVE-3", "COSMIC");
    third["url"] = json!("https://example.com/a|b");
    third["exploitKnown"] = json!(true);
    let alert = alert(&[
        ("/text", json!("one\n\ntwo")),
        ("/severity", json!("LOW")),
        ("/title", json!("x")),
        ("/details/counts", json!({"UNTRIAGED": 2, "LOW": 1, "COSMIC": 3})),
        ("/details/complete", json!(false)),
        ("/details/baseline", Value::Null),
        ("/details/acceptedTotal", json!(0)),
        ("/details/inUse", json!(1)),
        ("/details/findings", json!([finding("CVE-1", "LOW"), second, third])),
        ("/details/findingsTotal", json!(3)),
        ("/remedies", json!([])),
    ]);
    check(
        &alert.to_string(),
        &expect![[r#"
            LOW: x

            one

            two

            Findings
            • LOW `CVE-1`
            • HIGH `CVE-2` in `a'b`
            • UNTRIAGED CVE-3 (https://example.com/a%7Cb): an exploit is known

            Runbook: scan-findings.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/scan-findings.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `litellm-v1.80.6`
            Findings      1 LOW, 5 UNTRIAGED, and maybe more, because not all could be read
            Threshold     `HIGH`
            In use        1 task or pod

            123456789012, us-east-1  |  scan-findings  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

/// A text with mentions, formats, links and hidden characters.
const HOSTILE: &str =
    "<!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;\u{202e}evil\u{7}";

fn hostile_remedies() -> Value {
    json!([
        {"label": HOSTILE, "command": "echo '<!channel>' > x && y"},
        {"label": "Hidden", "command": "rm -r x\u{202e}"},
        {"label": "Breaks out", "command": "```<!channel>"},
    ])
}

#[test]
fn text_from_outside_is_never_a_format_a_link_or_a_mention() {
    let finding = json!({
        "id": HOSTILE, "severity": "HIGH", "package": HOSTILE, "packages": 1,
        "installed": HOSTILE, "fixed": HOSTILE, "url": "javascript:alert(1)", "new": false,
    });
    let alert = alert(&[
        ("/title", json!(HOSTILE)),
        ("/text", json!(HOSTILE)),
        ("/region", json!("evil.example/")),
        ("/details/findings", json!([finding])),
        ("/details/findingsTotal", json!(1)),
        ("/remedies", hostile_remedies()),
        ("/source", json!({"id": HOSTILE, "time": HOSTILE})),
    ]);
    check(
        &alert.to_string(),
        &expect![[r#"
            CRITICAL: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            Findings
            • HIGH `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil` in `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil` `<!channel> *bold* <https://evil.example|click…`: fixed in `<!channel> *bold* <https://evil.example|click…`

            <!channel> bold <https://evil.example|click> http://evil.example 'x' &lt;evil:
                echo '<!channel>' > x && y

            2 remedies do not fit into this message. The e-mail of this alert has all remedies.

            Runbook: scan-findings.md (https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/scan-findings.md)

            Repository    `infrastructure`
            Component     `litellm`
            Image         `sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a`
            Tags          `litellm-v1.80.6`
            Findings      2 CRITICAL, 38 HIGH, 21 MEDIUM, 12 LOW, 9 INFORMATIONAL
            Threshold     `HIGH`
            Compared with `litellm-v1.80.5`: 3 new, 2 fixed
            Accepted      1
            In use        3 tasks or pods

            123456789012, evil.example/  |  scan-findings  |  Event <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil at <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil
        "#]],
    );
}

#[test]
fn a_malformed_alert_is_never_a_format_a_link_or_a_mention() {
    let alert = json!({
        "kind": HOSTILE,
        "severity": "<!here>",
        "title": HOSTILE,
        "text": HOSTILE,
        "repository": HOSTILE,
        HOSTILE: HOSTILE,
        "image": {"digest": HOSTILE, "tags": [HOSTILE, "```"]},
        "remedies": hostile_remedies(),
    });
    check(
        &alert.to_string(),
        &expect![[r#"
            HERE: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            <!channel> bold <https://evil.example|click> http://evil.example 'x' &lt;evil:
                echo '<!channel>' > x && y

            2 remedies do not fit into this message. The e-mail of this alert has all remedies.

                <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil
                image digest: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil
                image tags: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil, '''
                repository: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil
        "#]],
    );
}

#[test]
fn without_blocks_the_text_is_code() {
    let mut shown = String::new();
    let partial = json!({"kind": "k", "title": "a `title`", "text": "```a text```"}).to_string();
    let messages = ["tag-violation", "cloudwatch-alarm"].map(event);
    let messages = messages.iter().chain([&partial]).filter_map(|text| Notification::read(text));
    let unknown = UnknownMessage {
        subject: Some("Maintenance".to_owned()),
        text: "See http://wiki.example.com/registry.".to_owned(),
        ..UnknownMessage::default()
    };
    for notification in messages.chain([Notification::Unknown(unknown)]) {
        let [_, payload] = payloads(&notification);
        let _ = writeln!(shown, "{}", payload["text"].as_str().unwrap());
    }
    expect![[r#"
        HIGH: The image infrastructure:litellm-1.80.5 was quarantined
        ```
        ECR Warden removed the tag litellm-1.80.5 from an image in the repository infrastructure. The image now has the tag quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.

        Why: the tag litellm-1.80.5 does not match {component}-v{semver} (rule grammar).

        What to do: restore the image as litellm-v1.80.5, which was probably meant, and correct the pipeline that pushed litellm-1.80.5.

        Runbook: https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/tag-violation.md
        ```
        ALARM: ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL
        ```
        A function of ECR Warden failed all attempts for an event. The event and the error wait in the queue FailedEvents. Correct the cause, and invoke the function again with the event. Runbook https://github.com/ecr-warden/ecr-warden/blob/main/docs/runbooks/alarm-failed-events.md

        Why: Threshold Crossed: 1 out of the last 1 datapoints [1.0 (24/11/26 09:59:00)] was greater than the threshold (0.0) (minimum 1 datapoint for OK -&gt; ALARM transition).
        ```
        a 'title'
        ```
        '''a text'''
        ```
        Maintenance
        ```
        See http://wiki.example.com/registry.
        ```
    "#]].assert_eq(&shown);
}

#[test]
fn the_payload_follows_the_reference_of_slack() {
    let payload = payload(&event("scan-findings"));
    expect_file!["./scan-findings.json"].assert_eq(&format!("{payload:#}\n"));
}
