//! The same by the HTTP client that is deployed, over a port.

use std::net::Ipv4Addr;
use std::time::Duration;

use expect_test::expect;
use local_aws::slack::{Reply, Server};
use slack_notifier::Context;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::{Function, SECRET, config, event};

/// A function whose webhook is on a port, and which speaks with AWS by one too.
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
async fn a_message_comes_into_the_channel() {
    let (function, _slack, _aws) = on_a_port().await;
    for name in ["tag-violation", "scan-findings", "cloudwatch-alarm"] {
        function.handle(&event(name)).await.unwrap();
    }
    assert_eq!(function.slack().take_messages().len(), 3);
}

#[tokio::test]
async fn what_breaks_off_or_is_out_of_order_is_tried_again() {
    let (function, _slack, _aws) = on_a_port().await;
    function.slack().next([Reply::Reset, Reply::Answer(500, "fatal_error")]);
    function.handle(&event("tag-violation")).await.unwrap();
    assert_eq!(function.slack().take_attempts(), 3);
    assert_eq!(function.slack().take_messages().len(), 1);
}

#[tokio::test]
async fn what_never_answers_is_given_up_in_time() {
    let (function, _slack, _aws) = on_a_port().await;
    function.slack().always(Some(Reply::Hang));
    let started = Instant::now();
    let until = started + Duration::from_secs(2);
    let handled = slack_notifier::handle(&function.context, &event("tag-violation"), until).await;
    let error = format!("{:#}", handled.unwrap_err());
    assert!(!error.contains(SECRET), "{error}");
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let seconds = error.split(' ').find(is_number).unwrap();
    expect!["no answer within SECONDS s, and the function has no time left for that"]
        .assert_eq(&error.replace(seconds, "SECONDS"));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn nobody_there_and_no_such_host_are_errors_without_the_url() {
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
        // The operating system words the rest.
        expect!["dispatch failure"].assert_eq(error.split(':').next().unwrap());
        assert!(!error.contains(SECRET) && !error.contains("services"), "{error}");
    }
}
