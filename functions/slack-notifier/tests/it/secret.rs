//! The secret: the function reads it once, and again after Slack refused the URL.

use expect_test::expect;
use local_aws::Fault;
use local_aws::slack::{self, Reply};

use crate::{Function, SECRET, event};

const GET: &str = "GetSecretValue";

#[tokio::test(start_paused = true)]
async fn the_secret_is_read_once_for_many_invocations() {
    let function = Function::new().await;
    for _ in 0..5 {
        function.handle(&event("tag-violation")).await.unwrap();
    }
    // A temporary failure is not the fault of the secret.
    function.slack().always(Some(Reply::Answer(500, "")));
    function.fail().await;
    function.slack().always(None);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.calls(), [GET]);
}

#[tokio::test(start_paused = true)]
async fn the_secret_is_read_again_after_a_permanent_refusal() {
    let function = Function::new().await;
    function.slack().next([Reply::Answer(404, "no_service")]);
    function.fail().await;
    function
        .put_secret("SecretString", &format!("https://{}/services/T1/B1/another", slack::HOST))
        .await;
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.calls(), [GET, GET]);
}

#[tokio::test(start_paused = true)]
async fn an_error_about_the_secret_does_not_have_its_value() {
    for (value, expected) in [
        (
            format!("http://example.com/services/{SECRET}"),
            expect![
                "the secret ARN: the URL is of http: expected https, or a host that is this machine"
            ],
        ),
        (
            format!(r#"{{"url": "https://example.com/{SECRET}"}}"#),
            expect![
                "the secret ARN: the value is JSON: expected only the URL of the webhook, as plain text"
            ],
        ),
        (
            SECRET.to_owned(),
            expect!["the secret ARN: the value is not a URL: the scheme or the host is missing"],
        ),
        (
            format!("https://example.com/{SECRET} {SECRET}"),
            expect!["the secret ARN: the value is not a URL"],
        ),
    ] {
        let function = Function::with_secret(&value).await;
        expected.assert_eq(&function.fail().await.replace(&function.arn, "ARN"));
        // The function reads a corrected secret.
        function
            .put_secret("SecretString", &format!("https://{}/services/T1/B1/another", slack::HOST))
            .await;
        function.handle(&event("tag-violation")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_text_is_an_error() {
    let function = Function::new().await;
    function.put_secret("SecretBinary", "bWFya2VkLXNlY3JldA==").await;
    expect!["the secret has no text value: store the URL as text"]
        .assert_eq(&function.fail().await);
}

#[tokio::test(start_paused = true)]
async fn the_error_of_an_unreadable_secret_has_the_reason_of_aws() {
    let function = Function::new().await;
    function.aws.fault("GetSecretValue", 0, Fault::Error(400, "AccessDeniedException"));
    let error = function.fail().await;
    expect!["reading the secret ARN: AccessDeniedException: made to fail"]
        .assert_eq(&error.replace(&function.arn, "ARN"));
    // A call that hangs ends in time.
    function.aws.heal();
    function.aws.fault("GetSecretValue", 0, Fault::Hang);
    expect!["reading the secret took too long"].assert_eq(&function.fail().await);
}

#[tokio::test(start_paused = true)]
async fn no_debug_output_has_the_secret() {
    let function = Function::new().await;
    function.handle(&event("tag-violation")).await.unwrap();
    let printed = format!("{:?}", function.context);
    assert!(!printed.contains(SECRET) && !printed.contains("hooks"), "{printed}");
}
