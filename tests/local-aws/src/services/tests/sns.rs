use super::*;

#[tokio::test]
async fn each_subscriber_gets_the_text_for_its_protocol() {
    let services = with_topic().await;
    let function = "arn:aws:lambda:us-east-1:123456789012:function:slack-notifier";
    let endpoints = [
        ("email", "ops@example.com"),
        ("https", "https://example.com/q"),
        ("lambda", function),
        ("sqs", "arn:aws:sqs:us-east-1:123456789012:alerts"),
    ];
    for (protocol, endpoint) in endpoints {
        let first = subscribe(&services, protocol, endpoint).await;
        assert_eq!(first.0, 200, "{}", first.1);
        assert_eq!(subscribe(&services, protocol, endpoint).await, first, "it is the same one");
    }
    let texts = json!({"default": "d", "lambda": "für Λ & <co>", "email": "e", "https": 3});
    let message =
        [("Message", &*texts.to_string()), ("MessageStructure", "json"), ("Subject", "größer")];
    let attribute = [
        ("MessageAttributes.entry.1.Name", "severity"),
        ("MessageAttributes.entry.1.Value.DataType", "String"),
        ("MessageAttributes.entry.1.Value.StringValue", "HIGH"),
    ];
    let (status, body) = publish(&services, &[&message[..], &attribute].concat()).await;
    assert_eq!(status, 200, "{body}");
    let sent = services.take_deliveries();
    let got: Vec<_> =
        sent.iter().map(|sent| (&*sent.protocol, &*sent.endpoint, &*sent.message)).collect();
    let texts = ["e", "d", "für Λ & <co>", "d"];
    let expected: Vec<_> = endpoints.into_iter().zip(texts).map(|((p, e), t)| (p, e, t)).collect();
    assert_eq!(got, expected);
    assert!(sent.iter().all(|sent| sent.attributes.is_empty() && body.contains(&sent.message_id)));
    assert!(services.take_deliveries().is_empty(), "a delivery is taken once");

    let plain = [&[("Message", "plain")], &attribute[..]].concat();
    publish(&services, &plain).await;
    let sent = services.take_deliveries();
    assert!(
        sent.iter()
            .all(|sent| sent.message == "plain" && sent.attributes["severity"].value == "HIGH")
    );
}

#[tokio::test]
async fn a_function_gets_the_documented_event() {
    let services = with_topic().await;
    let function = "arn:aws:lambda:us-east-1:123456789012:function:slack-notifier";
    subscribe(&services, "lambda", function).await;
    publish(&services, &[("Message", "hello")]).await;
    let sent = services.take_deliveries();
    let event = lambda_event(&sent[0]);
    let record = &event["Records"][0];
    assert_eq!(record["EventSource"], "aws:sns");
    assert_eq!(record["EventVersion"], "1.0");
    assert_eq!(record["EventSubscriptionArn"], sent[0].subscription_arn);
    let message = &record["Sns"];
    assert_eq!(message["Type"], "Notification");
    assert_eq!(message["Message"], "hello");
    assert_eq!(message["TopicArn"], TOPIC);
    assert_eq!((&message["Subject"], &message["MessageAttributes"]), (&Value::Null, &json!({})));
    assert!(message["UnsubscribeUrl"].is_string() && message["SigningCertUrl"].is_string());
    let timestamp = message["Timestamp"].as_str().unwrap();
    assert!(timestamp.len() <= 24 && timestamp.ends_with('Z'), "{timestamp}");
}

#[tokio::test]
async fn a_queue_receives_the_raw_text_only_with_raw_delivery() {
    let services = with_topic().await;
    let queue = "arn:aws:sqs:us-east-1:123456789012:q";
    subscribe(&services, "sqs", queue).await;
    publish(&services, &[("Message", "hello")]).await;
    let body: Value = serde_json::from_str(&services.take_deliveries()[0].body()).unwrap();
    assert_eq!((&body["Message"], &body["Subject"]), (&json!("hello"), &Value::Null));
    let raw = [
        ("Action", "Subscribe"),
        ("TopicArn", TOPIC),
        ("Protocol", "sqs"),
        ("Endpoint", queue),
        ("Attributes.entry.1.key", "RawMessageDelivery"),
        ("Attributes.entry.1.value", "true"),
    ];
    assert_eq!(sns(&services, &raw).await.0, 200);
    publish(&services, &[("Message", "hello")]).await;
    assert_eq!(services.take_deliveries()[0].body(), "hello");
}

#[tokio::test]
async fn a_refused_message_reaches_no_subscriber() {
    let services = with_topic().await;
    subscribe(&services, "email", "ops@example.com").await;
    let long = "x".repeat(262_145);
    let subject = "x".repeat(100);
    let json = ("MessageStructure", "json");
    for fields in [
        vec![("Message", "")],
        vec![("Message", "x"), json],
        vec![("Message", "[]"), json],
        vec![("Message", "{}"), json],
        vec![("Message", r#"{"default": 3}"#), json],
        vec![("Message", r#"{"default": "d"}"#), ("MessageStructure", "xml")],
        vec![("Message", &long)],
        vec![("Message", "x"), ("Subject", &subject)],
        vec![("Message", "x"), ("Subject", "")],
        vec![("Message", "x"), ("Subject", "a\nb")],
    ] {
        let (status, body) = publish(&services, &fields).await;
        let refused = body.contains("<Code>InvalidParameter</Code>");
        assert_eq!((status, refused), (400, true), "{fields:.80?}: {body}");
    }
    publish(&services, &[("Message", &long[1..]), ("Subject", &subject[1..])]).await;
    assert_eq!(services.take_deliveries().len(), 1, "the longest that is allowed");
    let nowhere = [("Action", "Publish"), ("TopicArn", &*format!("{TOPIC}-2")), ("Message", "x")];
    let (status, body) = sns(&services, &nowhere).await;
    assert_eq!((status, body.contains("<Code>NotFound</Code>")), (404, true), "{body}");
    for (protocol, endpoint) in
        [("pigeon", "x"), ("email", "x"), ("https", "http://x"), ("lambda", "f"), ("sqs", "")]
    {
        assert_eq!(subscribe(&services, protocol, endpoint).await.0, 400, "{protocol}");
    }
    let name = [("Action", "CreateTopic"), ("Name", "a topic")];
    assert_eq!(sns(&services, &name).await.0, 400);
}
