//! The secret: read once, and again when it is of no use any more.

use expect_test::expect;
use local_aws::Fault;
use local_aws::slack::{self, Reply};

use crate::{Function, SECRET, event};

const GET: &str = "GetSecretValue";

#[tokio::test(start_paused = true)]
async fn it_is_read_once_for_many_invocations() {
    let function = Function::new().await;
    for _ in 0..5 {
        function.handle(&event("tag-violation")).await.unwrap();
    }
    // What passes by itself is not its fault.
    function.slack().always(Some(Reply::Answer(500, "")));
    function.fail().await;
    function.slack().always(None);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.calls(), [GET]);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_for_good_it_is_read_again() {
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
async fn what_is_wrong_with_it_is_said_without_what_it_is() {
    for (value, expected) in [
        (
            format!("http://example.com/services/{SECRET}"),
            expect![
                "the secret ARN: its URL is of http: expected https, or a host that is this machine"
            ],
        ),
        (
            format!(r#"{{"url": "https://example.com/{SECRET}"}}"#),
            expect![
                "the secret ARN: its value is JSON: expected the webhook's URL and nothing else, as plain text"
            ],
        ),
        (
            SECRET.to_owned(),
            expect!["the secret ARN: its value is no URL: it lacks a scheme or a host"],
        ),
        (
            format!("https://example.com/{SECRET} {SECRET}"),
            expect!["the secret ARN: its value is no URL"],
        ),
    ] {
        let function = Function::with_secret(&value).await;
        expected.assert_eq(&function.fail().await.replace(&function.arn, "ARN"));
        // It may have been corrected.
        function
            .put_secret("SecretString", &format!("https://{}/services/T1/B1/another", slack::HOST))
            .await;
        function.handle(&event("tag-violation")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_a_text_is_an_error() {
    let function = Function::new().await;
    function.put_secret("SecretBinary", "bWFya2VkLXNlY3JldA==").await;
    expect!["the secret has no text: store the URL as one"].assert_eq(&function.fail().await);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_an_error_with_aws_s_reason() {
    let function = Function::new().await;
    function.aws.fault("GetSecretValue", 0, Fault::Error(400, "AccessDeniedException"));
    let error = function.fail().await;
    expect!["reading the secret ARN: AccessDeniedException: made to fail"]
        .assert_eq(&error.replace(&function.arn, "ARN"));
    // Nor is one that hangs waited for longer than there is time.
    function.aws.heal();
    function.aws.fault("GetSecretValue", 0, Fault::Hang);
    expect!["no time was left to read the secret"].assert_eq(&function.fail().await);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_it_prints() {
    let function = Function::new().await;
    function.handle(&event("tag-violation")).await.unwrap();
    let printed = format!("{:?}", function.context);
    assert!(!printed.contains(SECRET) && !printed.contains("hooks"), "{printed}");
}
