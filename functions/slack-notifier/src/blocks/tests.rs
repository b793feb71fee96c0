use std::fmt::Write as _;

use expect_test::{Expect, expect, expect_file};
use local_aws::slack;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::message;

fn event(name: &str) -> Value {
    let path = format!("{}/../../events/slack-notifier/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What SNS sends of this message.
fn of_sns(message: &str) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": message}}]})
}

/// The payloads of an event's one message, with and without blocks, which Slack takes.
fn payloads(event: &Value) -> [Value; 2] {
    let records = message::read(event).unwrap();
    let [record] = records.as_slice() else { panic!("{} messages", records.len()) };
    let payloads = [render(&record.message), plain(&record.message)];
    payloads.map(|payload| {
        let payload: Value = serde_json::from_str(&payload.json()).unwrap();
        assert_eq!(slack::check(&payload), [""; 0], "{payload:#}");
        let characters = texts(&payload).iter().map(|text| length(text)).sum::<usize>();
        assert!(characters <= LONGEST_MESSAGE, "{characters} characters");
        payload
    })
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

fn check(event: &Value, expected: &Expect) {
    expected.assert_eq(&slack::render(&payloads(event)[0]));
}

fn check_alert(alert: &Value, expected: &Expect) {
    check(&of_sns(&alert.to_string()), expected);
}

#[test]
fn a_tag_violation_comes_with_the_commands_that_undo_it() {
    check(
        &event("tag-violation"),
        &expect![[r#"
        HIGH: infrastructure:litellm-1.80.5 was quarantined

        The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.
        It was taken away. The image is now quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5 and is kept for 14 days at least; it can be pulled by that tag and by its digest.

        Repository    `infrastructure`
        Component     `litellm`
        Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
        Tags          `quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5`

        Restore it as litellm-v1.80.5:
            m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-v1.80.5 --image-digest sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json' && aws ecr batch-delete-image --region us-east-1 --repository-name infrastructure --image-ids imageTag=quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5

        Restore it as litellm-1.80.5, as it was (first change the grammar, or the enforcement to report: under this policy it is taken away again):
            m=$(aws ecr batch-get-image --region us-east-1 --repository-name infrastructure --image-ids imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --accepted-media-types 'application/vnd.oci.image.manifest.v1+json' --query 'images[0].imageManifest' --output text && printf x) && aws ecr put-image --region us-east-1 --repository-name infrastructure --image-tag litellm-1.80.5 --image-digest sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a --image-manifest "${m%??}" --image-manifest-media-type 'application/vnd.oci.image.manifest.v1+json'

        123456789012, us-east-1  |  tag-violation  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
    "#]],
    );
}

#[test]
fn findings_are_listed_in_their_order_and_the_others_counted() {
    check(
        &event("scan-findings"),
        &expect![[r#"
            CRITICAL: 3 new findings in infrastructure:litellm-v1.80.6

            The scan of infrastructure:litellm-v1.80.6 found 13 vulnerabilities at HIGH or above, 3 of them new since litellm-v1.80.5.

            Repository    `infrastructure`
            Component     `litellm`
            Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
            Tags          `litellm-v1.80.6`
            Findings      2 CRITICAL, 38 HIGH, 21 MEDIUM, 12 LOW, 9 INFORMATIONAL
            Threshold     `HIGH`
            Compared with `litellm-v1.80.5`: 3 new, 2 fixed
            Accepted      1
            In use        in 3 places

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
            and 30 more: all of them (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)

            See all findings:
                aws ecr describe-image-scan-findings --region us-east-1 --repository-name infrastructure --image-id imageDigest=sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a

            123456789012, us-east-1  |  scan-findings  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
        "#]],
    );
}

#[test]
fn what_is_resolved_is_short() {
    check(
        &event("scan-resolved"),
        &expect![[r#"
        INFORMATIONAL: litellm in infrastructure has no findings at HIGH or above any more

        litellm-v1.80.7 has none of the 40 findings that litellm-v1.80.6 had.

        Repository    `infrastructure`
        Component     `litellm`
        Image         sha256:3d1a3d1a3d1a (https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/infrastructure/_/image/sha256:3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a3d1a/details?region=us-east-1)
        Tags          `litellm-v1.80.7`

        123456789012, us-east-1  |  scan-resolved  |  Event 85fc3613-e913-7fc4-a80c-a3753e4aa9ae at 2026-11-24T10:00:00Z
    "#]],
    );
}

#[test]
fn an_alarm_says_what_it_is_for_and_why() {
    check(
        &event("cloudwatch-alarm"),
        &expect![[r#"
        ALARM: ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL

        A function of ECR Warden failed for good; the events and the reasons wait in the queue FailedEvents.
        Threshold Crossed: 1 out of the last 1 datapoints [1.0 (24/11/26 09:59:00)] was greater than the threshold (0.0) (minimum 1 datapoint for OK -> ALARM transition).

        Alarm         ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL (https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#alarmsV2:alarm/ecr%2Dwarden%2DFailedEventsAlarm%2D1ABCDEFGHIJKL)
        State         `ALARM`, before `OK`
        Metric        `AWS/SQS ApproximateNumberOfMessagesVisible`
        Of            `QueueName ecr-warden-FailedEvents-XyZ123abc`

        123456789012, us-east-1  |  2026-11-24T10:00:01.512+0000
    "#]],
    );
}

#[test]
fn what_is_of_no_kind_is_shown_as_it_is() {
    check(
        &event("by-hand"),
        &expect![[r#"
        Maintenance

        The registry moves on Thursday at 18:00 UTC.
        Pushes fail for ten minutes; see http://wiki.example.com/registry.

        arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L  |  Message 95df01b4-ee98-5cb9-9903-4c221d41eb5e  |  2026-11-24T10:00:03.112Z
    "#]],
    );
    check(
        &event("event-of-a-rule"),
        &expect![[r#"
        ECR Pull Through Cache Action

            {
              "account": "123456789012",
              "detail": {
                "ecr-repository-prefix": "ecr-public",
                "failure-code": "UPSTREAM_UNAVAILABLE",
                "image-tag": "latest",
                "repository-name": "ecr-public/docker/library/alpine",
                "rule-version": "1",
                "sync-status": "FAILED",
                "upstream-registry-url": "public.ecr.aws"
              },
              "detail-type": "ECR Pull Through Cache Action",
              "id": "4c5a1b2e-6f0d-4f0c-9a53-0c5f1a2b3c4d",
              "region": "us-east-1",
              "resources": [
                "arn:aws:ecr:us-east-1:123456789012:repository/ecr-public/docker/library/alpine"
              ],
              "source": "aws.ecr",
              "time": "2026-11-24T10:00:00Z",
              "version": "0"
            }

        arn:aws:sns:us-east-1:123456789012:ecr-warden-AlertTopic-1J2K3L  |  Message 95df01b4-ee98-5cb9-9903-4c221d41eb5e  |  2026-11-24T10:00:03.112Z
    "#]],
    );
    check(
        &of_sns(""),
        &expect![[r#"
        A message
    "#]],
    );
    check(
        &json!({"Records": [{"Sns": {"Message": {"a": 1}}}]}),
        &expect![[r#"
        A message

            {
              "a": 1
            }
    "#]],
    );
    check(
        &json!({"Records": [{"surprise": true}]}),
        &expect![[r#"
        A message

            {
              "surprise": true
            }
    "#]],
    );
}

#[test]
fn an_alert_of_another_version_is_shown_as_far_as_it_is_understood() {
    check_alert(
        &json!({
            "version": 7,
            "kind": "comet",
            "title": "Seen over infrastructure",
            "severity": {"level": 3},
            "text": ["one", "two"],
            "account": 123_456_789_012_u64,
            "image": "sha256:0",
            "remedies": [{"label": "Look up"}, "duck", {"command": "date"}],
            "details": null,
        }),
        &expect![[r#"
            Seen over infrastructure

            Command:
                date

            123456789012  |  comet
        "#]],
    );
    check_alert(
        &json!({"kind": "scan-findings", "title": "x", "text": "one\n\ntwo"}),
        &expect![[r#"
        x

        one

        two

        scan-findings
    "#]],
    );
}

#[test]
fn findings_with_next_to_nothing_said_of_them_are_shown() {
    check_alert(
        &json!({
            "kind": "scan-findings",
            "severity": "LOW",
            "title": "x",
            "text": "one\n\ntwo",
            "details": {
                "counts": {"UNTRIAGED": 2, "LOW": 1, "ODD ONE": 3},
                "complete": false,
                "baseline": null,
                "newTotal": 2,
                "inUse": 1,
                "findings": [
                    {"id": "CVE-1"},
                    {"severity": "HIGH"},
                    {"id": "CVE-2", "url": "http://example.com", "epss": 93.0, "package": "a`b", "fixed": null},
                    {"id": "CVE-3", "url": "https://example.com/a|b", "severity": "*LOW*", "exploitKnown": true},
                ],
            },
        }),
        &expect![[r#"
            LOW: x

            one

            Findings      1 LOW, 2 UNTRIAGED, 3 ODDONE, and maybe more: not all could be read
            In use        in 1 place

            Findings
            • `CVE-1`
            • `CVE-2` in `a'b`
            • LOW CVE-3 (https://example.com/a%7Cb): an exploit is known

            scan-findings
        "#]],
    );
}

#[test]
fn what_somebody_else_wrote_means_nothing() {
    let text = "<!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;\u{202e}evil\u{7}";
    check_alert(
        &json!({
            "kind": "scan-findings",
            "severity": "<!here>",
            "title": text,
            "text": text,
            "repository": text,
            "component": text,
            "region": "evil.example/",
            "account": "123456789012",
            "image": {"digest": text, "tags": [text]},
            "details": {"findings": [{"id": text, "package": text, "url": "javascript:alert(1)"}]},
            "remedies": [
                {"label": text, "command": "echo '<!channel>' > x && y"},
                {"label": "Hidden", "command": "rm -r x\u{202e}"},
                {"label": "Breaks out", "command": "```<!channel>"},
            ],
            "source": {"id": text, "time": text},
        }),
        &expect![[r#"
            HERE: <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil

            Repository    `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil`
            Component     `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil`
            Image         `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil`
            Tags          `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil`

            Findings
            • `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil` in `<!channel> *bold* <https://evil.example|click> http://evil.example 'x' &lt;evil`

            <!channel> bold <https://evil.example|click> http://evil.example 'x' &lt;evil:
                echo '<!channel>' > x && y

            2 remedies do not fit in here; the e-mail of this alert has all of them.

            123456789012, evil.example/  |  scan-findings  |  Event <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil at <!channel> *bold* <https://evil.example|click> http://evil.example `x` &lt;evil
        "#]],
    );
}

#[test]
fn a_title_that_is_too_long_stands_in_the_text_as_a_whole() {
    let title = format!("{} end", "x".repeat(170));
    let [payload, _] = payloads(&of_sns(&json!({"kind": "k", "title": title}).to_string()));
    let shown = slack::render(&payload);
    assert!(shown.starts_with(&format!("{}…\n", "x".repeat(149))), "{shown}");
    assert!(shown.contains(&format!("\n{title}\n")), "{shown}");
}

/// The largest alert that there can be of findings, its texts escaped to several times their size.
fn largest() -> Value {
    let wide = |length: usize| "<&>".repeat(length / 3);
    let finding = json!({
        "id": wide(300),
        "severity": "CRITICAL",
        "package": wide(300),
        "installed": wide(300),
        "fixed": wide(300),
        "exploitKnown": true,
        "epss": 0.5,
        "url": format!("https://example.com/{}", "&".repeat(150)),
        "new": true,
    });
    let remedy = json!({"label": wide(300), "command": "x".repeat(2_600)});
    json!({
        "version": 1,
        "kind": "scan-findings",
        "severity": "CRITICAL",
        "title": wide(300),
        "text": wide(8_000),
        "account": "123456789012",
        "region": "us-east-1",
        "repository": "a".repeat(256),
        "component": wide(300),
        "image": {
            "digest": format!("sha256:{}", "0a".repeat(32)),
            "tags": vec![wide(128); 50],
        },
        "details": {
            "counts": {"CRITICAL": u64::MAX, "HIGH": u64::MAX},
            "threshold": wide(300),
            "baseline": {"tag": wide(128)},
            "newTotal": 7,
            "findings": vec![finding; 200],
            "findingsTotal": 400,
            "inUse": 12,
        },
        "remedies": vec![remedy; 4],
        "source": {"id": wide(300), "time": wide(300)},
    })
}

#[test]
fn the_largest_alert_is_cut_at_its_end_and_says_so() {
    let [payload, _] = payloads(&of_sns(&largest().to_string()));
    let shown = slack::render(&payload);
    let findings = shown.lines().filter(|line| line.starts_with("• ")).count();
    assert!(findings >= 3, "{findings}");
    assert!(shown.contains(&format!("and {} more", 400 - findings)), "{shown}");
    assert!(shown.contains("4 remedies do not fit in here"), "{shown}");
    // What is short of room is not what could have it: there is no such number of findings that
    // has all of its commands left out.
    let mut alert = largest();
    alert["text"] = "short".into();
    alert["details"]["findings"] = json!([]);
    let shown = slack::render(&payloads(&of_sns(&alert.to_string()))[0]);
    assert_eq!(shown.matches(&"x".repeat(2_600)).count(), 2, "{shown}");
    assert!(shown.contains("2 remedies do not fit in here"), "{shown}");
}

#[test]
fn a_command_is_whole_or_left_out() {
    for (length, is_shown) in [(2_980, true), (2_990, false)] {
        let command = "x".repeat(length);
        let remedies =
            json!([{"label": "Undo", "command": command}, {"label": "y", "command": "z"}]);
        let alert = json!({"kind": "k", "title": "t", "remedies": remedies});
        let shown = slack::render(&payloads(&of_sns(&alert.to_string()))[0]);
        assert_eq!(shown.contains(&command), is_shown, "{length}");
        assert_eq!(shown.contains("xxx"), is_shown, "{length}");
        assert!(shown.contains("    z\n"), "{shown}");
        assert_eq!(shown.contains("1 remedy does not fit in here"), !is_shown, "{length}");
    }
}

#[test]
fn a_hundred_commands_are_ten_and_the_number_of_the_others() {
    let remedies = vec![json!({"label": "y", "command": "z"}); 100];
    let alert = json!({"kind": "k", "title": "t", "remedies": remedies});
    let shown = slack::render(&payloads(&of_sns(&alert.to_string()))[0]);
    assert_eq!(shown.matches("    z\n").count(), 10, "{shown}");
    assert!(shown.contains("90 remedies do not fit in here"), "{shown}");
}

/// Without blocks there is less of it, and no more that means anything.
#[test]
fn without_blocks_the_text_is_code() {
    let mut shown = String::new();
    for name in ["tag-violation", "cloudwatch-alarm", "by-hand"] {
        let _ = writeln!(shown, "{}", payloads(&event(name))[1]["text"].as_str().unwrap());
    }
    expect![[r#"
        HIGH: infrastructure:litellm-1.80.5 was quarantined
        ```
        The tag litellm-1.80.5 in infrastructure is not made of {component}-v{semver}. Probably litellm-v1.80.5 was meant.
        It was taken away. The image is now quarantine-20261124-3d1a3d1a3d1a-litellm-1.80.5 and is kept for 14 days at least; it can be pulled by that tag and by its digest.
        ```
        ALARM: ecr-warden-FailedEventsAlarm-1ABCDEFGHIJKL
        ```
        A function of ECR Warden failed for good; the events and the reasons wait in the queue FailedEvents.
        Threshold Crossed: 1 out of the last 1 datapoints [1.0 (24/11/26 09:59:00)] was greater than the threshold (0.0) (minimum 1 datapoint for OK -&gt; ALARM transition).
        ```
        Maintenance
        ```
        The registry moves on Thursday at 18:00 UTC.
        Pushes fail for ten minutes; see http://wiki.example.com/registry.
        ```
    "#]].assert_eq(&shown);
}

/// The payload as it is sent.
#[test]
fn the_payload_is_what_slack_s_reference_says() {
    let payload = &payloads(&event("scan-findings"))[0];
    expect_file!["./scan-findings.json"].assert_eq(&format!("{payload:#}\n"));
}

/// Texts that mean something somewhere, and any others.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<!channel>".to_owned()),
        Just("<https://evil.example|x>".to_owned()),
        Just("http://evil.example".to_owned()),
        Just("javascript:alert(1)".to_owned()),
        Just("https://example.com/a?b&c|d".to_owned()),
        Just("```".to_owned()),
        Just("`".to_owned()),
        Just("\u{202e}\u{200b}\u{0}\u{1b}".to_owned()),
        Just("&amp;&lt;&".to_owned()),
        Just("👩‍👩‍👧".to_owned()),
        Just("\n\n".to_owned()),
        Just(String::new()),
        Just("us-east-1".to_owned()),
        Just("sha256:".to_owned() + &"0a".repeat(32)),
        ".{0,40}",
        "\\PC{0,400}",
        (".{1,8}", 1_usize..2_000).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// Anything that JSON can be, at most so deep.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => hostile().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([[]])),
        1 => Just(json!({"a": {}})),
    ]
}

fn object(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    proptest::collection::vec(proptest::option::of(any_value()), names.len()).prop_map(
        move |values| {
            let fields = names.iter().zip(values);
            fields.filter_map(|(name, value)| Some(((*name).to_owned(), value?))).collect()
        },
    )
}

prop_compose! {
    fn any_alert()(
        mut alert in object(&["severity", "text", "account", "region", "repository", "component", "image", "details"]),
        kind in prop_oneof![Just("scan-findings".to_owned()), hostile()],
        title in hostile(),
        image in object(&["digest"]),
        tags in proptest::collection::vec(any_value(), 0..60),
        mut details in object(&["counts", "threshold", "complete", "baseline", "newTotal", "findingsTotal", "inUse"]),
        findings in proptest::collection::vec(object(&["id", "severity", "package", "installed", "fixed", "epss", "url", "new"]), 0..30),
        remedies in proptest::collection::vec(object(&["label", "command"]), 0..60),
        source in object(&["id", "time"]),
        is_whole in any::<bool>(),
    ) -> Value {
        alert["kind"] = kind.into();
        alert["title"] = title.into();
        alert["source"] = source;
        alert["remedies"] = remedies.into();
        if is_whole {
            alert["image"] = image;
            alert["image"]["tags"] = tags.into();
            details["findings"] = findings.into();
            alert["details"] = details;
        }
        alert
    }
}

prop_compose! {
    fn any_alarm()(
        mut alarm in object(&["AlarmDescription", "NewStateValue", "OldStateValue", "NewStateReason", "StateChangeTime", "Region", "AWSAccountId", "AlarmArn"]),
        name in hostile(),
        mut trigger in object(&["Namespace", "MetricName"]),
        dimensions in proptest::collection::vec(object(&["name", "value"]), 0..12),
    ) -> Value {
        trigger["Dimensions"] = dimensions.into();
        alarm["AlarmName"] = name.into();
        alarm["Trigger"] = trigger;
        alarm
    }
}

proptest! {
    #[test]
    fn whatever_an_alert_says_slack_takes_it(alert in any_alert()) {
        payloads(&of_sns(&alert.to_string()));
    }

    #[test]
    fn whatever_an_alarm_says_slack_takes_it(alarm in any_alarm()) {
        payloads(&of_sns(&alarm.to_string()));
    }

    #[test]
    fn whatever_anybody_writes_slack_takes_it(message in hostile(), subject in any_value()) {
        let mut event = of_sns(&message);
        event["Records"][0]["Sns"]["Subject"] = subject;
        payloads(&event);
        payloads(&of_sns(&json!([message]).to_string()));
    }

    #[test]
    fn whatever_comes_instead_of_an_event_is_no_panic(event in any_value()) {
        let _ = message::read(&event);
        let _ = message::read(&json!({"Records": event}));
    }
}
