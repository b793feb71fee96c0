//! Deliveries with the HTTP client of the deployed function, over a port.

use std::net::Ipv4Addr;
use std::time::Duration;

use expect_test::expect;
use local_aws::slack::{Reply, Server};
use slack_notifier::Context;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::{Function, SECRET, config, event};

/// A function that reaches the webhook and AWS over ports.
async fn on_a_port() -> (Function, Server, local_aws::server::Server) {
    let mut function = Function::new().await;
    let slack = function.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let aws = function.aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    function
        .put_secret("SecretString", &format!("{}/services/T000/B000/{SECRET}", slack.endpoint()))
        .await;
    let sdk = function.aws.config().to_builder();
    let sdk = sdk
        .http_client(::warden_aws::http::client(::warden_aws::http::Roots::AtStart))
        .endpoint_url(aws.endpoint())
        .build();
    function.context = Context::new(config(&function.arn), &sdk).unwrap();
    (function, slack, aws)
}

#[tokio::test]
async fn messages_are_delivered_to_the_channel() {
    let (function, _slack, _aws) = on_a_port().await;
    for name in ["tag-violation", "scan-findings", "cloudwatch-alarm"] {
        function.handle(&event(name)).await.unwrap();
    }
    assert_eq!(function.slack().take_messages().len(), 3);
}

#[tokio::test]
async fn a_reset_connection_and_a_server_error_are_retried() {
    let (function, _slack, _aws) = on_a_port().await;
    function.slack().next([Reply::Reset, Reply::Answer(500, "fatal_error")]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_attempts(), 3);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test]
async fn a_webhook_that_never_responds_is_given_up_in_time() {
    let (function, _slack, _aws) = on_a_port().await;
    function.slack().always(Some(Reply::Hang));
    let started = Instant::now();
    let until = started + Duration::from_secs(2);
    let handled = slack_notifier::handle(&function.context, &event("tag-violation"), until).await;
    let error = format!("{:#}", handled.unwrap_err());
    assert!(!error.contains(SECRET), "{error}");
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let seconds = error.split(' ').find(is_number).unwrap();
    expect![
        "no complete response within SECONDS s, and the function has no time for another attempt"
    ]
    .assert_eq(&error.replace(seconds, "SECONDS"));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn the_error_of_an_unreachable_host_does_not_have_the_url() {
    let (function, slack, aws) = on_a_port().await;
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    drop(slack);
    for origin in [nobody.as_str(), "https://webhook.invalid"] {
        function.put_secret("SecretString", &format!("{origin}/services/T000/B000/{SECRET}")).await;
        let sdk = function.aws.config().to_builder();
        let sdk = sdk
            .http_client(::warden_aws::http::client(::warden_aws::http::Roots::AtStart))
            .endpoint_url(aws.endpoint())
            .build();
        let context = Context::new(config(&function.arn), &sdk).unwrap();
        let until = Instant::now() + Duration::from_millis(1_500);
        let handled = slack_notifier::handle(&context, &event("tag-violation"), until).await;
        let error = format!("{:#}", handled.unwrap_err());
        // The rest of the error depends on the operating system.
        expect!["dispatch failure"].assert_eq(error.split(':').next().unwrap());
        assert!(!error.contains(SECRET) && !error.contains("services"), "{error}");
    }
}
