//! What Slack answers, and what becomes of the message.

use std::time::Duration;

use expect_test::expect;
use local_aws::slack::Reply;
use tokio::time::Instant;

use crate::{Function, TIME, event};

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_slack_asks() {
    let function = Function::new().await;
    function.slack().next([Reply::Busy(Some("30")), Reply::Busy(None)]);
    let started = Instant::now();
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 31);
    assert_eq!(function.slack().take_attempts(), 3);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_does_not_wait_longer_than_it_has_time() {
    let function = Function::new().await;
    for seconds in ["44", "3600", "18446744073709551615"] {
        function.slack().next([Reply::Busy(Some(seconds))]);
        let started = Instant::now();
        let error = function.fail().await;
        expect!["Slack asks to wait SECONDS s, and the function has no time left for that"]
            .assert_eq(&error.replace(seconds, "SECONDS"));
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(function.slack().take_attempts(), 1);
    }
    // Again and again is too long too.
    function.slack().always(Some(Reply::Busy(Some("5"))));
    let started = Instant::now();
    function.fail().await;
    assert!(started.elapsed() <= TIME);
    assert_eq!(function.slack().take_attempts(), 9);
}

// B21
#[tokio::test(start_paused = true)]
async fn it_backs_off_where_slack_does_not_say_how_long_to_wait() {
    let no_time = [None, Some("-5"), Some("0"), Some("Fri, 31 Dec 1999 23:59:59 GMT")];
    for retry_after in no_time.into_iter().chain([Some("99999999999999999999")]) {
        let function = Function::new().await;
        function.slack().always(Some(Reply::Busy(retry_after)));
        let started = Instant::now();
        let error = function.fail().await;
        expect!["Slack asks to wait, and does not say how long, and the function has no time left for that"].assert_eq(&error);
        assert!(started.elapsed() <= TIME, "{retry_after:?}");
        // After 1, 3, 9 and 27 seconds.
        assert_eq!(function.slack().take_attempts(), 5, "{retry_after:?}");
    }
    // And it arrives when Slack takes it.
    let function = Function::new().await;
    function.slack().next([Reply::Busy(None), Reply::Busy(Some("-1"))]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again() {
    let mut errors = String::new();
    // 23
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

        // But not for ever, and never taken for success.
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
        Answer(500, "fatal_error"): Slack answered with status 500, fatal_error, the last of 4 attempts
        Answer(503, ""): Slack answered with status 503, the last of 4 attempts
        Answer(408, ""): Slack answered with status 408, the last of 4 attempts
        Answer(302, ""): Slack answered with status 302, the last of 4 attempts
        Answer(200, "<html>Sign in to the network</html>"): Slack answered with status 200, <html>Sign in to the network</html>, the last of 4 attempts
        Answer(200, ""): Slack answered with status 200, the last of 4 attempts
        Reset: dispatch failure: io error: connection reset by peer, the last of 4 attempts
        Hang: no answer within 1 s, the last of 4 attempts
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_what_slack_said() {
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
        Slack answered with status 500, fatal_error, the last of 4 attempts
        Slack answered with status 200, <html>Sign in</html>, the last of 4 attempts
        dispatch failure: io error: connection reset by peer, the last of 4 attempts
        no answer within 1 s, the last of 4 attempts
        Slack refused it for good: status 404, no_service: make a new webhook, and put its URL into the secret
        Slack refused it for good: status 404, Cannot POST …: see whether the secret has the URL of a webhook of Slack
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn slow_is_not_too_late() {
    let function = Function::new().await;
    function.slack().next([Reply::Slow(Duration::from_secs(9))]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_attempts(), 1);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_may_tell_it_twice() {
    let function = Function::new().await;
    function.slack().next([Reply::ResetAfter]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_messages().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_sent_once() {
    let mut errors = String::new();
    // 23
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
        Slack refused it for good: status 400, no_text: a defect of ECR Warden, please report it
        Slack refused it for good: status 400, user_not_found: make a new webhook, and put its URL into the secret
        Slack refused it for good: status 403, action_prohibited: a setting of the workspace forbids it; ask those who administer it
        Slack refused it for good: status 403, invalid_token: make a new webhook, and put its URL into the secret
        Slack refused it for good: status 404, channel_not_found: the channel is gone or archived; make a webhook for another, and put its URL into the secret
        Slack refused it for good: status 404, no_service: make a new webhook, and put its URL into the secret
        Slack refused it for good: status 404, no_team: make a new webhook, and put its URL into the secret
        Slack refused it for good: status 410, channel_is_archived: the channel is gone or archived; make a webhook for another, and put its URL into the secret
        Slack refused it for good: status 403: see whether the secret has the URL of a webhook of Slack
        Slack refused it for good: status 200, invalid_token: make a new webhook, and put its URL into the secret
    "#]].assert_eq(&errors);
}

#[tokio::test(start_paused = true)]
async fn blocks_that_slack_does_not_take_are_left_out_once() {
    let mut errors = String::new();
    for body in ["invalid_blocks", "invalid_payload"] {
        let function = Function::new().await;
        function.slack().next([Reply::Answer(400, body)]);
        function.handle(&event("tag-violation")).await.unwrap();
        assert_eq!(function.slack().take_attempts(), 2);
        let messages = function.slack().take_messages();
        assert_eq!(messages[0].get("blocks"), None);
        let text = messages[0]["text"].as_str().unwrap();
        expect!["HIGH: infrastructure:litellm-1.80.5 was quarantined"]
            .assert_eq(text.lines().next().unwrap());

        // If that is no help, it is over.
        function.slack().always(Some(Reply::Answer(400, body)));
        let error = function.fail().await;
        errors += &format!("{error}\n");
        assert_eq!(function.slack().take_attempts(), 2);
    }
    expect![[r#"
        without blocks too: Slack refused it for good: status 400, invalid_blocks: a defect of ECR Warden, please report it
        without blocks too: Slack refused it for good: status 400, invalid_payload: a defect of ECR Warden, please report it
    "#]].assert_eq(&errors);
}
