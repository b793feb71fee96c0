//! The responses of Slack, and the outcome of the message.

use std::time::Duration;

use expect_test::expect;
use local_aws::slack::Reply;
use tokio::time::Instant;

use crate::{Function, TIME, event};

#[tokio::test(start_paused = true)]
async fn the_function_waits_as_long_as_slack_asks() {
    let function = Function::new().await;
    function.slack().next([Reply::Busy(Some("30")), Reply::Busy(None)]);
    let started = Instant::now();
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 31);
    assert_eq!(function.slack().take_attempts(), 3);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_function_does_not_wait_longer_than_it_has_time() {
    let function = Function::new().await;
    for seconds in ["44", "3600", "18446744073709551615"] {
        function.slack().next([Reply::Busy(Some(seconds))]);
        let started = Instant::now();
        let error = function.fail().await;
        expect![
            "Slack asks to wait for SECONDS s, and the function has no time for another attempt"
        ]
        .assert_eq(&error.replace(seconds, "SECONDS"));
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(function.slack().take_attempts(), 1);
    }
    // Many short waits end too.
    function.slack().always(Some(Reply::Busy(Some("5"))));
    let started = Instant::now();
    function.fail().await;
    assert!(started.elapsed() <= TIME);
    assert_eq!(function.slack().take_attempts(), 9);
}

// Case B21 of docs/contributing/prior-art.md.
#[tokio::test(start_paused = true)]
async fn the_pauses_grow_if_slack_gives_no_time_to_wait() {
    let no_time = [None, Some("-5"), Some("0"), Some("Fri, 31 Dec 1999 23:59:59 GMT")];
    for retry_after in no_time.into_iter().chain([Some("99999999999999999999")]) {
        let function = Function::new().await;
        function.slack().always(Some(Reply::Busy(retry_after)));
        let started = Instant::now();
        let error = function.fail().await;
        expect!["Slack asks to wait, and gives no time, and the function has no time for another attempt"].assert_eq(&error);
        assert!(started.elapsed() <= TIME, "{retry_after:?}");
        // After 1, 3, 9 and 27 seconds.
        assert_eq!(function.slack().take_attempts(), 5, "{retry_after:?}");
    }
    // The message is delivered when Slack accepts it.
    let function = Function::new().await;
    function.slack().next([Reply::Busy(None), Reply::Busy(Some("-1"))]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_temporary_failure_is_retried() {
    let mut errors = String::new();
    // Case 23 of docs/contributing/prior-art.md.
    for reply in [
        Reply::Answer(500, "fatal_error"),
        Reply::Answer(503, ""),
        Reply::Answer(408, ""),
        Reply::Answer(302, ""),
        Reply::Answer(200, "<html>Sign in to the network</html>"),
        Reply::Answer(200, ""),
        Reply::Reset,
        Reply::Hang,
    ] {
        let function = Function::new().await;
        function.slack().next([reply.clone(), reply.clone()]);
        function.handle(&event("tag-violation")).await.unwrap();
        assert_eq!(function.slack().take_attempts(), 3, "{reply:?}");
        assert_eq!(function.slack().take_messages().len(), 1, "{reply:?}");

        // The retries end, and the failure is never taken for a success.
        function.slack().always(Some(reply.clone()));
        let started = Instant::now();
        let error = function.fail().await;
        assert!(started.elapsed() <= TIME, "{reply:?}: {:?}", started.elapsed());
        let attempts = function.slack().take_attempts();
        assert!((3..=4).contains(&attempts), "{reply:?}: {attempts}");
        errors += &format!("{reply:?}: {error}\n");
        assert!(function.slack().take_messages().is_empty());
    }
    expect![[r#"
        Answer(500, "fatal_error"): Slack answered with status 500, fatal_error (attempt 4 of 4)
        Answer(503, ""): Slack answered with status 503 (attempt 4 of 4)
        Answer(408, ""): Slack answered with status 408 (attempt 4 of 4)
        Answer(302, ""): Slack answered with status 302 (attempt 4 of 4)
        Answer(200, "<html>Sign in to the network</html>"): Slack answered with status 200, <html>Sign in to the network</html> (attempt 4 of 4)
        Answer(200, ""): Slack answered with status 200 (attempt 4 of 4)
        Reset: dispatch failure: io error: connection reset by peer (attempt 4 of 4)
        Hang: no complete response within 1 s (attempt 4 of 4)
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn an_error_has_the_response_of_slack() {
    let function = Function::new().await;
    let mut errors = String::new();
    for reply in [
        Reply::Answer(500, "fatal_error"),
        Reply::Answer(200, "<html>Sign in\u{1b}</html>"),
        Reply::Reset,
        Reply::Hang,
        Reply::Answer(404, "no_service"),
        Reply::Answer(404, "Cannot POST /services/T0000000/B0000000/marked-secret"),
    ] {
        function.slack().always(Some(reply));
        errors += &format!("{}\n", function.fail().await);
    }
    expect![[r#"
        Slack answered with status 500, fatal_error (attempt 4 of 4)
        Slack answered with status 200, <html>Sign in</html> (attempt 4 of 4)
        dispatch failure: io error: connection reset by peer (attempt 4 of 4)
        no complete response within 1 s (attempt 4 of 4)
        Slack refused the message permanently: status 404, no_service: create a new webhook, and store its URL in the secret
        Slack refused the message permanently: status 404, Cannot POST …: check that the secret has the URL of a Slack webhook
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_is_accepted() {
    let function = Function::new().await;
    function.slack().next([Reply::Slow(Duration::from_secs(9))]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_attempts(), 1);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_arrives_twice_if_the_first_response_is_lost() {
    let function = Function::new().await;
    function.slack().next([Reply::ResetAfter]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_messages().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_permanently_refused_message_is_sent_once() {
    let mut errors = String::new();
    // Case 23 of docs/contributing/prior-art.md.
    for (status, body) in [
        (400, "no_text"),
        (400, "user_not_found"),
        (403, "action_prohibited"),
        (403, "invalid_token"),
        (404, "channel_not_found"),
        (404, "no_service"),
        (404, "no_team"),
        (410, "channel_is_archived"),
        (403, ""),
        (200, "invalid_token"),
    ] {
        let function = Function::new().await;
        function.slack().always(Some(Reply::Answer(status, body)));
        let started = Instant::now();
        let error = function.fail().await;
        errors += &format!("{error}\n");
        assert_eq!(function.slack().take_attempts(), 1, "{body}");
        assert!(started.elapsed() < Duration::from_secs(1));
    }
    expect![[r#"
        Slack refused the message permanently: status 400, no_text: this is a defect of ECR Warden; please report it
        Slack refused the message permanently: status 400, user_not_found: create a new webhook, and store its URL in the secret
        Slack refused the message permanently: status 403, action_prohibited: a setting of the workspace forbids the message; ask an administrator of the workspace
        Slack refused the message permanently: status 403, invalid_token: create a new webhook, and store its URL in the secret
        Slack refused the message permanently: status 404, channel_not_found: the channel is deleted or archived; create a webhook for another channel, and store its URL in the secret
        Slack refused the message permanently: status 404, no_service: create a new webhook, and store its URL in the secret
        Slack refused the message permanently: status 404, no_team: create a new webhook, and store its URL in the secret
        Slack refused the message permanently: status 410, channel_is_archived: the channel is deleted or archived; create a webhook for another channel, and store its URL in the secret
        Slack refused the message permanently: status 403: check that the secret has the URL of a Slack webhook
        Slack refused the message permanently: status 200, invalid_token: create a new webhook, and store its URL in the secret
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn a_message_with_refused_blocks_is_sent_once_without_blocks() {
    let mut errors = String::new();
    for body in ["invalid_blocks", "invalid_payload"] {
        let function = Function::new().await;
        function.slack().next([Reply::Answer(400, body)]);
        function.handle(&event("tag-violation")).await.unwrap();
        assert_eq!(function.slack().take_attempts(), 2);
        let messages = function.slack().take_messages();
        assert_eq!(messages[0].get("blocks"), None);
        let text = messages[0]["text"].as_str().unwrap();
        expect!["HIGH: The image infrastructure:litellm-1.80.5 was quarantined"]
            .assert_eq(text.lines().next().unwrap());

        // A second refusal is permanent.
        function.slack().always(Some(Reply::Answer(400, body)));
        let error = function.fail().await;
        errors += &format!("{error}\n");
        assert_eq!(function.slack().take_attempts(), 2);
    }
    expect![[r#"
        the message without blocks: Slack refused the message permanently: status 400, invalid_blocks: this is a defect of ECR Warden; please report it
        the message without blocks: Slack refused the message permanently: status 400, invalid_payload: this is a defect of ECR Warden; please report it
    "#]].assert_eq(&errors);
}
