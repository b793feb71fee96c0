//! The meaning of a response of Slack: accepted, to be retried, or permanently refused.
//!
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors> and
//! <https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use std::time::Duration;

use warden_aws::http::Answer;
use warden_core::text::one_line;

use super::url::WebhookUrl;

/// The meaning of a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is in the channel.
    Accepted,
    /// The message is sent again after this time, or after growing pauses if Slack gives no time.
    Wait(Option<Duration>),
    /// The message is sent again a few times. The text is the reason.
    Failed(String),
    /// Slack refused the blocks. The text is the reason.
    Blocks(String),
    /// Slack refuses the message permanently. The text has the reason and the next step.
    Refused(String),
}

/// The most characters of a response in an error.
const LONGEST_BODY: usize = 200;

const NEW_WEBHOOK: &str = "create a new webhook, and store its URL in the secret";
const OTHER_CHANNEL: &str = "the channel is deleted or archived; create a webhook for another channel, and store its URL in the secret";
const SETTINGS: &str =
    "a setting of the workspace forbids the message; ask an administrator of the workspace";
const DEFECT: &str = "this is a defect of ECR Warden; please report it";
const CHECK_SECRET: &str = "check that the secret has the URL of a Slack webhook";

/// The permanent errors of Slack, each with the next step.
const REFUSALS: [(&str, &str); 23] = [
    ("invalid_blocks", DEFECT),
    ("invalid_blocks_format", DEFECT),
    ("invalid_payload", DEFECT),
    ("invalid_attachments", DEFECT),
    ("too_many_attachments", DEFECT),
    ("no_text", DEFECT),
    ("msg_too_long", DEFECT),
    ("channel_is_archived", OTHER_CHANNEL),
    ("channel_not_found", OTHER_CHANNEL),
    ("is_archived", OTHER_CHANNEL),
    ("user_not_found", NEW_WEBHOOK),
    ("invalid_token", NEW_WEBHOOK),
    ("token_revoked", NEW_WEBHOOK),
    ("account_inactive", NEW_WEBHOOK),
    ("no_active_hooks", NEW_WEBHOOK),
    ("no_service", NEW_WEBHOOK),
    ("no_service_id", NEW_WEBHOOK),
    ("no_team", NEW_WEBHOOK),
    ("team_disabled", NEW_WEBHOOK),
    ("action_prohibited", SETTINGS),
    ("posting_to_general_channel_denied", SETTINGS),
    ("restricted_action", SETTINGS),
    ("access_denied", SETTINGS),
];

/// The errors whose cause is, or may be, the blocks.
const BLOCK_ERRORS: [&str; 4] =
    ["invalid_blocks", "invalid_blocks_format", "invalid_payload", "msg_too_long"];

/// Reads a response. `has_blocks` states whether the message has blocks, without which it can be sent again.
pub fn outcome(answer: &Answer, has_blocks: bool, url: &WebhookUrl) -> Outcome {
    let body = answer.body.trim();
    if answer.status == 200 && body == "ok" {
        return Outcome::Accepted;
    }
    if answer.status == 429 {
        // The standard allows a date too, but Slack sends seconds. With zero seconds, the function would
        // send without a pause.
        let seconds = answer.retry_after.as_deref();
        let seconds = seconds.and_then(|seconds| seconds.trim().parse::<u64>().ok());
        let seconds = seconds.filter(|seconds| *seconds > 0);
        return Outcome::Wait(seconds.map(Duration::from_secs));
    }
    let described = describe(answer.status, &one_line(&url.redact(body)));
    let known = REFUSALS.iter().find(|(code, _)| *code == body).filter(|_| answer.status < 500);
    let is_for_good = matches!(answer.status, 400..=499) && !matches!(answer.status, 408 | 425);
    match known {
        Some(_) if has_blocks && BLOCK_ERRORS.contains(&body) => Outcome::Blocks(described),
        Some((_, next_step)) => Outcome::Refused(format!("{described}: {next_step}")),
        None if has_blocks && answer.status == 413 => Outcome::Blocks(described),
        None if is_for_good => Outcome::Refused(format!("{described}: {CHECK_SECRET}")),
        None => Outcome::Failed(format!("Slack answered with {described}")),
    }
}

/// The status and the body of a response.
fn describe(status: u16, body: &str) -> String {
    let shown: String = body.chars().take(LONGEST_BODY).collect();
    let cut = if shown.len() < body.len() { "…" } else { "" };
    if shown.is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}, {shown}{cut}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(status: u16, retry_after: Option<&str>, body: &str, expected: &Expect) {
        let url = WebhookUrl::parse("https://example.com/services/T000/marked-secret").unwrap();
        let (retry_after, body) = (retry_after.map(str::to_owned), body.to_owned());
        let outcome = outcome(&Answer { status, retry_after, body }, true, &url);
        expected.assert_eq(&format!("{outcome:?}"));
    }

    #[test]
    fn only_200_with_ok_is_success() {
        check(200, None, "ok", &expect!["Accepted"]);
        check(200, None, "ok\n", &expect!["Accepted"]);
        check(201, None, "ok", &expect![[r#"Failed("Slack answered with status 201, ok")"#]]);
        check(200, None, "", &expect![[r#"Failed("Slack answered with status 200")"#]]);
        check(200, None, "OK", &expect![[r#"Failed("Slack answered with status 200, OK")"#]]);
        check(
            200,
            None,
            "<html>\n\u{1b}captive",
            &expect![[r#"Failed("Slack answered with status 200, <html> captive")"#]],
        );
        check(302, None, "", &expect![[r#"Failed("Slack answered with status 302")"#]]);
        check(
            500,
            None,
            "invalid_blocks",
            &expect![[r#"Failed("Slack answered with status 500, invalid_blocks")"#]],
        );
        check(408, None, "", &expect![[r#"Failed("Slack answered with status 408")"#]]);
    }

    #[test]
    fn the_time_to_wait_is_the_number_of_seconds_that_slack_sends() {
        check(429, Some("30"), "", &expect!["Wait(Some(30s))"]);
        check(429, Some("0"), "", &expect!["Wait(None)"]);
        check(429, Some("-5"), "", &expect!["Wait(None)"]);
        check(429, Some("1.5"), "", &expect!["Wait(None)"]);
        check(429, None, "rate_limited", &expect!["Wait(None)"]);
        check(429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), "", &expect!["Wait(None)"]);
        check(429, Some("18446744073709551615"), "", &expect!["Wait(Some(18446744073709551615s))"]);
        check(429, Some("99999999999999999999"), "", &expect!["Wait(None)"]);
    }

    #[test]
    fn a_permanent_refusal_has_the_next_step() {
        check(
            404,
            None,
            "no_service",
            &expect![[
                r#"Refused("status 404, no_service: create a new webhook, and store its URL in the secret")"#
            ]],
        );
        check(
            410,
            None,
            "channel_is_archived",
            &expect![[
                r#"Refused("status 410, channel_is_archived: the channel is deleted or archived; create a webhook for another channel, and store its URL in the secret")"#
            ]],
        );
        check(
            403,
            None,
            "action_prohibited",
            &expect![[
                r#"Refused("status 403, action_prohibited: a setting of the workspace forbids the message; ask an administrator of the workspace")"#
            ]],
        );
        check(
            200,
            None,
            "invalid_token",
            &expect![[
                r#"Refused("status 200, invalid_token: create a new webhook, and store its URL in the secret")"#
            ]],
        );
        check(
            400,
            None,
            "no_text",
            &expect![[
                r#"Refused("status 400, no_text: this is a defect of ECR Warden; please report it")"#
            ]],
        );
        check(
            403,
            None,
            "",
            &expect![[
                r#"Refused("status 403: check that the secret has the URL of a Slack webhook")"#
            ]],
        );
        check(
            404,
            None,
            "Cannot POST /services/T000/marked-secret",
            &expect![[
                r#"Refused("status 404, Cannot POST …: check that the secret has the URL of a Slack webhook")"#
            ]],
        );
        check(
            405,
            None,
            &"x".repeat(1_000),
            &expect![[
                r#"Refused("status 405, xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: check that the secret has the URL of a Slack webhook")"#
            ]],
        );
    }

    #[test]
    fn an_error_that_the_blocks_may_cause_has_its_own_outcome() {
        check(400, None, "invalid_blocks", &expect![[r#"Blocks("status 400, invalid_blocks")"#]]);
        check(400, None, "invalid_payload", &expect![[r#"Blocks("status 400, invalid_payload")"#]]);
        check(413, None, "", &expect![[r#"Blocks("status 413")"#]]);
        let url = WebhookUrl::parse("https://example.com/services/T000/marked-secret").unwrap();
        let answer = Answer { status: 400, retry_after: None, body: "invalid_blocks".to_owned() };
        assert_eq!(
            outcome(&answer, false, &url),
            Outcome::Refused(format!("status 400, invalid_blocks: {DEFECT}"))
        );
    }
}
