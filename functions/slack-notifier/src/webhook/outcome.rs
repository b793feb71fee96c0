//! What an answer of Slack means: taken, to be tried again, or refused for good.
//!
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors> and
//! <https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks>.

use std::time::Duration;

use warden_aws::http::Answer;
use warden_core::text::one_line;

use super::url::WebhookUrl;

/// What is made of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the channel.
    Taken,
    /// To be sent again after this time; or later each time, where Slack does not say when.
    Wait(Option<Duration>),
    /// To be sent again, for what it is worth; the reason.
    Failed(String),
    /// The blocks are not understood; the reason.
    Blocks(String),
    /// Never to be sent again as it is; the reason, and what to do.
    Refused(String),
}

/// How much of an answer is repeated.
const LONGEST_BODY: usize = 200;

const NEW_WEBHOOK: &str = "make a new webhook, and put its URL into the secret";
const OTHER_CHANNEL: &str =
    "the channel is gone or archived; make a webhook for another, and put its URL into the secret";
const SETTINGS: &str = "a setting of the workspace forbids it; ask those who administer it";
const DEFECT: &str = "a defect of ECR Warden, please report it";
const LOOK: &str = "see whether the secret has the URL of a webhook of Slack";

/// What Slack says that will not change by sending it again, and what to do.
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

/// What is refused only because of its blocks, or may be.
const OF_BLOCKS: [&str; 4] =
    ["invalid_blocks", "invalid_blocks_format", "invalid_payload", "msg_too_long"];

/// Reads an answer. `has_blocks` says whether there is something to leave out.
pub fn outcome(answer: &Answer, has_blocks: bool, url: &WebhookUrl) -> Outcome {
    let body = answer.body.trim();
    if answer.status == 200 && body == "ok" {
        return Outcome::Taken;
    }
    if answer.status == 429 {
        // A date, which the standard allows too, is nothing that Slack sends. No time at all would
        // make the function send without a pause.
        let seconds = answer.retry_after.as_deref();
        let seconds = seconds.and_then(|seconds| seconds.trim().parse::<u64>().ok());
        let seconds = seconds.filter(|seconds| *seconds > 0);
        return Outcome::Wait(seconds.map(Duration::from_secs));
    }
    let said = said(answer.status, &one_line(&url.redact(body)));
    let known = REFUSALS.iter().find(|(code, _)| *code == body).filter(|_| answer.status < 500);
    let is_for_good = matches!(answer.status, 400..=499) && !matches!(answer.status, 408 | 425);
    match known {
        Some(_) if has_blocks && OF_BLOCKS.contains(&body) => Outcome::Blocks(said),
        Some((_, what)) => Outcome::Refused(format!("{said}: {what}")),
        None if has_blocks && answer.status == 413 => Outcome::Blocks(said),
        None if is_for_good => Outcome::Refused(format!("{said}: {LOOK}")),
        None => Outcome::Failed(format!("Slack answered with {said}")),
    }
}

/// An answer in a few words.
fn said(status: u16, body: &str) -> String {
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
        check(200, None, "ok", &expect!["Taken"]);
        check(200, None, "ok\n", &expect!["Taken"]);
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
    fn how_long_to_wait_is_what_slack_says_if_that_is_a_time() {
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
    fn a_refusal_for_good_says_what_to_do() {
        check(
            404,
            None,
            "no_service",
            &expect![[
                r#"Refused("status 404, no_service: make a new webhook, and put its URL into the secret")"#
            ]],
        );
        check(
            410,
            None,
            "channel_is_archived",
            &expect![[
                r#"Refused("status 410, channel_is_archived: the channel is gone or archived; make a webhook for another, and put its URL into the secret")"#
            ]],
        );
        check(
            403,
            None,
            "action_prohibited",
            &expect![[
                r#"Refused("status 403, action_prohibited: a setting of the workspace forbids it; ask those who administer it")"#
            ]],
        );
        check(
            200,
            None,
            "invalid_token",
            &expect![[
                r#"Refused("status 200, invalid_token: make a new webhook, and put its URL into the secret")"#
            ]],
        );
        check(
            400,
            None,
            "no_text",
            &expect![[
                r#"Refused("status 400, no_text: a defect of ECR Warden, please report it")"#
            ]],
        );
        check(
            403,
            None,
            "",
            &expect![[
                r#"Refused("status 403: see whether the secret has the URL of a webhook of Slack")"#
            ]],
        );
        check(
            404,
            None,
            "Cannot POST /services/T000/marked-secret",
            &expect![[
                r#"Refused("status 404, Cannot POST …: see whether the secret has the URL of a webhook of Slack")"#
            ]],
        );
        check(
            405,
            None,
            &"x".repeat(1_000),
            &expect![[
                r#"Refused("status 405, xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…: see whether the secret has the URL of a webhook of Slack")"#
            ]],
        );
    }

    #[test]
    fn what_may_be_the_blocks_fault_is_told_apart() {
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
