//! What must hold of the services, whoever keeps their state.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::*;
use crate::inspector::{Coverage, image_arn};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";

async fn send(services: &Services, service: &str, target: &str, body: String) -> (u16, String) {
    send_from(services, service, target, body, "AKIDEXAMPLE/20261124/us-east-1").await
}

/// The same, signed for `key` and region, as in `AKIDEXAMPLE/20261124/us-east-1`.
async fn send_from(
    services: &Services,
    service: &str,
    target: &str,
    body: String,
    scope: &str,
) -> (u16, String) {
    assert!(services.serves(service));
    let scope = format!("{scope}/{service}/aws4_request");
    let request = Request::post("/")
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=x"))
        .header("x-amz-target", target)
        .body(Bytes::from(body))
        .unwrap();
    let response = services.handle(service, request).await;
    (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
}

/// Calls an operation of a JSON protocol.
async fn call(services: &Services, service: &str, operation: &str, input: Value) -> Value {
    let (status, body) =
        send(services, service, &format!("any.{operation}"), input.to_string()).await;
    let output: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status == 200, output.get("__type").is_none(), "{operation}: {output}");
    output
}

async fn dynamodb(services: &Services, operation: &str, mut input: Value) -> Value {
    if input.get("RequestItems").is_none() && input.get("TransactItems").is_none() {
        input["TableName"] = "ledger".into();
    }
    call(services, "dynamodb", operation, input).await
}

fn code(output: &Value) -> &str {
    output["__type"].as_str().unwrap_or("accepted").rsplit('#').next().unwrap()
}

/// Calls an operation of the query protocol.
async fn sns(services: &Services, fields: &[(&str, &str)]) -> (u16, String) {
    let mut form = String::new();
    for (name, value) in fields {
        write!(form, "{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC)).unwrap();
    }
    send(services, "sns", "", form).await
}

async fn with_topic() -> Services {
    let services = Services::new();
    let (status, body) = sns(&services, &[("Action", "CreateTopic"), ("Name", "alerts")]).await;
    assert!(status == 200 && body.contains(TOPIC), "{body}");
    services
}

async fn subscribe(services: &Services, protocol: &str, endpoint: &str) -> (u16, String) {
    let fields = [
        ("Action", "Subscribe"),
        ("TopicArn", TOPIC),
        ("Protocol", protocol),
        ("Endpoint", endpoint),
    ];
    sns(services, &fields).await
}

async fn publish(services: &Services, more: &[(&str, &str)]) -> (u16, String) {
    let topic = [("Action", "Publish"), ("TopicArn", TOPIC)];
    sns(services, &[&topic, more].concat()).await
}

async fn with_table() -> Services {
    let services = Services::new();
    let table = json!({
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    });
    let made = dynamodb(&services, "CreateTable", table).await;
    assert_eq!(made["TableDescription"]["TableStatus"], "ACTIVE");
    services
}

fn item(sk: &str, n: u32) -> Value {
    json!({"pk": {"S": "a"}, "sk": {"S": sk}, "n": {"N": n.to_string()}})
}

fn key(sk: &str) -> Value {
    json!({"pk": {"S": "a"}, "sk": {"S": sk}})
}

#[tokio::test]
async fn an_operation_that_is_not_served_is_never_a_success() {
    let services = Services::new();
    for service in ["dynamodb", "ssm", "secretsmanager", "sqs"] {
        for operation in ["NoSuchThing", "TagResource", ""] {
            let output = call(&services, service, operation, json!({})).await;
            assert_eq!(code(&output), "UnknownOperationException", "{service} {operation}");
        }
    }
    for action in ["NoSuchThing", "PublishBatch", "SetSMSAttributes", ""] {
        let (status, body) = sns(&services, &[("Action", action)]).await;
        assert_eq!((status, body.contains("<Code>InvalidAction</Code>")), (400, true), "{body}");
    }
    assert!(!services.serves("iam") && !services.serves("ecr"));
    let request = Request::post("/").body(Bytes::new()).unwrap();
    assert_eq!(services.handle("iam", request).await.status(), 400);
}

#[tokio::test]
async fn a_malformed_body_is_refused() {
    let services = with_table().await;
    for (service, operation) in [
        ("dynamodb", "PutItem"),
        ("ssm", "GetParameter"),
        ("secretsmanager", "GetSecretValue"),
        ("sqs", "SendMessage"),
    ] {
        let target = format!("any.{operation}");
        for body in [
            "",
            "{not",
            "[]",
            "null",
            "\"\"",
            r#"{"TableName": 3, "Name": 3, "SecretId": 3, "QueueUrl": 3}"#,
        ] {
            let (status, answer) = send(&services, service, &target, body.to_owned()).await;
            assert_eq!(status, 400, "{service} {body}: {answer}");
        }
    }
    for body in ["", "%", "Action", "Action=%ff", "=&=&"] {
        assert_eq!(send(&services, "sns", "", body.to_owned()).await.0, 400, "{body}");
    }
}

#[tokio::test]
async fn regions_are_apart() {
    let services = with_table().await;
    let tables = async |scope: &str| {
        send_from(&services, "dynamodb", "any.ListTables", "{}".to_owned(), scope).await.1
    };
    assert!(tables("AKIDEXAMPLE/20261124/us-east-1").await.contains("ledger"));
    assert!(tables("123456789012/20261124/us-east-1").await.contains("ledger"));
    assert_eq!(tables("AKIDEXAMPLE/20261124/eu-west-1").await, r#"{"TableNames":[]}"#);
}

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
    let got: Vec<_> = sent.iter().map(|it| (&*it.protocol, &*it.endpoint, &*it.message)).collect();
    let texts = ["e", "d", "für Λ & <co>", "d"];
    let expected: Vec<_> = endpoints.into_iter().zip(texts).map(|((p, e), t)| (p, e, t)).collect();
    assert_eq!(got, expected);
    assert!(sent.iter().all(|it| it.attributes.is_empty() && body.contains(&it.message_id)));
    assert!(services.take_deliveries().is_empty(), "told once");

    let plain = [&[("Message", "plain")], &attribute[..]].concat();
    publish(&services, &plain).await;
    let sent = services.take_deliveries();
    assert!(
        sent.iter().all(|it| it.message == "plain" && it.attributes["severity"].value == "HIGH")
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
async fn a_queue_gets_the_text_alone_only_when_it_asked_for_that() {
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
async fn what_sns_refuses_reaches_nobody() {
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

#[tokio::test]
async fn a_claim_is_taken_once_and_the_loser_learns_by_whom() {
    let services = with_table().await;
    let claim = |n: u32| {
        json!({
            "Item": item("claim", n),
            "ConditionExpression": "attribute_not_exists(pk) OR #n < :now",
            "ExpressionAttributeNames": {"#n": "n"},
            "ExpressionAttributeValues": {":now": {"N": "5"}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    };
    assert_eq!(dynamodb(&services, "PutItem", claim(7)).await, json!({}));
    let lost = dynamodb(&services, "PutItem", claim(8)).await;
    assert_eq!(code(&lost), "ConditionalCheckFailedException");
    assert_eq!(lost["Item"], item("claim", 7));
    let mut quiet = claim(8);
    quiet["ReturnValuesOnConditionCheckFailure"] = "NONE".into();
    assert_eq!(dynamodb(&services, "PutItem", quiet).await.get("Item"), None);
    let update = json!({
        "Key": key("claim"),
        "UpdateExpression": "SET n = :now",
        "ConditionExpression": "n < :now",
        "ExpressionAttributeValues": {":now": {"N": "5"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(dynamodb(&services, "UpdateItem", update.clone()).await["Item"], lost["Item"]);
    let put = json!({"TableName": "ledger", "Item": item("other", 1)});
    let mut update = update;
    update["TableName"] = "ledger".into();
    let both = json!({"TransactItems": [{"Put": put}, {"Update": update}]});
    let cancelled = dynamodb(&services, "TransactWriteItems", both).await;
    assert_eq!(code(&cancelled), "TransactionCanceledException");
    assert_eq!(cancelled["CancellationReasons"][1]["Item"], lost["Item"]);
    let other = dynamodb(&services, "GetItem", json!({"Key": key("other")})).await;
    assert_eq!(other, json!({}), "all or nothing");
}

#[tokio::test]
async fn updates_count_and_keep_what_is_there() {
    let services = with_table().await;
    let update = json!({
        "Key": key("baseline"),
        "UpdateExpression": "SET seen = if_not_exists(seen, :one) ADD n :one, ids :ids REMOVE gone",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":ids": {"SS": ["a"]}},
        "ReturnValues": "ALL_NEW",
    });
    dynamodb(&services, "UpdateItem", update.clone()).await;
    let twice = dynamodb(&services, "UpdateItem", update.clone()).await;
    assert_eq!(twice["Attributes"]["n"], json!({"N": "2"}));
    assert_eq!(twice["Attributes"]["seen"], json!({"N": "1"}));
    let mut old = update;
    old["ReturnValues"] = "ALL_OLD".into();
    assert_eq!(dynamodb(&services, "UpdateItem", old.clone()).await["Attributes"]["n"]["N"], "2");
    old["ReturnValues"] = "UPDATED_NEW".into();
    assert_eq!(code(&dynamodb(&services, "UpdateItem", old).await), "UnknownOperationException");
    let get = json!({"Key": key("baseline"), "ConsistentRead": true, "ProjectionExpression": "n"});
    assert_eq!(dynamodb(&services, "GetItem", get).await, json!({"Item": {"n": {"N": "3"}}}));
}

#[tokio::test]
async fn many_keys_are_answered_by_what_is_there_and_was_asked_for_as_far_as_it_fits() {
    let services = with_table().await;
    let big = "x".repeat(350 * 1024);
    for nth in 0..50 {
        let item = json!({"pk": {"S": "a"}, "sk": {"S": nth.to_string()}, "b": {"S": big}});
        dynamodb(&services, "PutItem", json!({"Item": item})).await;
    }
    let keys: Vec<Value> = (0..52).map(|nth| key(&nth.to_string())).collect();
    let ask = json!({"RequestItems": {"ledger": {
        "Keys": keys, "ProjectionExpression": "#s", "ExpressionAttributeNames": {"#s": "sk"},
    }}});
    let first = dynamodb(&services, "BatchGetItem", ask).await;
    let found = first["Responses"]["ledger"].as_array().unwrap();
    assert_eq!((found.len(), found[0].as_object().unwrap().len()), (46, 1));
    let left = &first["UnprocessedKeys"];
    assert_eq!(left["ledger"]["Keys"].as_array().unwrap().len(), 4);
    let rest = dynamodb(&services, "BatchGetItem", json!({"RequestItems": left})).await;
    assert_eq!(rest["Responses"]["ledger"].as_array().unwrap().len(), 4);
    assert_eq!(rest["UnprocessedKeys"], json!({}));
    let twice = vec![key("x"), key("x")];
    for (keys, attributes, message) in [
        (vec![], "pk", "1 to 100"),
        ((0..101).map(|nth| key(&nth.to_string())).collect(), "pk", "1 to 100"),
        (twice, "pk", "duplicates"),
        (vec![json!({"pk": {"S": "a"}})], "pk", "does not match the schema"),
        (vec![key("x")], "pk, owner", "reserved keyword: owner"),
    ] {
        let asked = json!({"Keys": keys, "ProjectionExpression": attributes});
        let ask = json!({"RequestItems": {"ledger": asked}});
        let output = dynamodb(&services, "BatchGetItem", ask).await;
        assert_eq!(code(&output), "ValidationException");
        let told = output["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
    }
}

#[tokio::test]
async fn a_query_comes_in_pages() {
    let services = with_table().await;
    let put = |n: u32| json!({"PutRequest": {"Item": item(&format!("told#{n}"), n)}});
    let batch = json!({"RequestItems": {"ledger": (0..5).map(put).collect::<Vec<_>>()}});
    assert_eq!(dynamodb(&services, "BatchWriteItem", batch).await["UnprocessedItems"], json!({}));
    let mut query = json!({
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :told)",
        "ExpressionAttributeValues": {":pk": {"S": "a"}, ":told": {"S": "told#"}},
        "Limit": 3,
    });
    let first = dynamodb(&services, "Query", query.clone()).await;
    assert_eq!(first["Items"], json!([item("told#0", 0), item("told#1", 1), item("told#2", 2)]));
    query["ExclusiveStartKey"] = first["LastEvaluatedKey"].clone();
    let second = dynamodb(&services, "Query", query.clone()).await;
    assert_eq!(second["Items"], json!([item("told#3", 3), item("told#4", 4)]));
    assert_eq!(second.get("LastEvaluatedKey"), None);
    query["Select"] = "COUNT".into();
    assert_eq!(dynamodb(&services, "Query", query).await.get("Items"), None);
    let ttl = json!({"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}});
    dynamodb(&services, "UpdateTimeToLive", ttl).await;
    let told = dynamodb(&services, "DescribeTimeToLive", json!({})).await;
    let expected = json!({"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"});
    assert_eq!(told["TimeToLiveDescription"], expected);
}

#[tokio::test]
async fn what_dynamodb_refuses_is_refused() {
    let services = with_table().await;
    let values = json!({":v": {"S": "x"}});
    let put = |condition: &str, names: Value, values: Value| {
        (
            "PutItem",
            json!({
                "Item": item("x", 1),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }),
        )
    };
    let update = |expression: &str| {
        (
            "UpdateItem",
            json!({
                "Key": key("x"),
                "UpdateExpression": expression,
                "ExpressionAttributeValues": values,
            }),
        )
    };
    let batch =
        |requests: Vec<Value>| ("BatchWriteItem", json!({"RequestItems": {"ledger": requests}}));
    let put_request = |n: u32| json!({"PutRequest": {"Item": item(&n.to_string(), n)}});
    let big = "x".repeat(400 * 1024);
    for ((operation, input), message) in [
        (put("ttl > :v", Value::Null, values.clone()), "reserved keyword: ttl"),
        (put("a.Status = :v", Value::Null, values.clone()), "reserved keyword: Status"),
        (put("size(owner) > :v", Value::Null, values.clone()), "reserved keyword: owner"),
        (
            put("attribute_exists(pk)", Value::Null, values.clone()),
            "unused in expressions: keys: {:v}",
        ),
        (put("attribute_exists(pk)", json!({"#n": "n"}), Value::Null), "keys: {#n}"),
        (put("n < :w", Value::Null, Value::Null), ":w"),
        (put("n <", Value::Null, Value::Null), "operand"),
        (("PutItem", json!({"Item": {"pk": {"S": "a"}}})), "Missing the key sk"),
        (
            ("PutItem", json!({"Item": {"pk": {"S": ""}, "sk": {"S": "x"}}})),
            "empty string value. Key: pk",
        ),
        (
            ("PutItem", json!({"Item": {"pk": {"N": "1"}, "sk": {"S": "x"}}})),
            "Type mismatch for key pk",
        ),
        (
            ("PutItem", json!({"Item": {"pk": {"S": "a"}, "sk": {"S": "x"}, "b": {"S": big}}})),
            "Item size",
        ),
        (("GetItem", json!({"Key": {"pk": {"S": "a"}}})), "does not match the schema"),
        (("DeleteItem", json!({"Key": item("x", 1)})), "does not match the schema"),
        (update("SET pk = :v"), "Cannot update attribute pk"),
        (update("SET a = if_not_exists(sk, :v), #name = :v"), "#name"),
        (update("SET a = :v REMOVE b, sk"), "Cannot update attribute sk"),
        (batch((0..26).map(put_request).collect()), "1 to 25"),
        (batch(vec![put_request(1), put_request(1)]), "duplicates"),
        (
            (
                "Query",
                json!({
                    "KeyConditionExpression": "pk = :v AND n = :v",
                    "ExpressionAttributeValues": values,
                }),
            ),
            "key condition not supported: n",
        ),
    ] {
        let output = dynamodb(&services, operation, input.clone()).await;
        assert_eq!(code(&output), "ValidationException", "{input:.200}");
        let told = output["message"].as_str().unwrap();
        assert!(told.contains(message), "{told}");
    }
    let scan = dynamodb(&services, "Scan", json!({})).await;
    assert_eq!(scan["Count"], 0, "nothing was written");
    // What is on the right of an assignment may be the key.
    let (_, input) = update("SET a = if_not_exists(sk, :v)");
    assert_eq!(code(&dynamodb(&services, "UpdateItem", input).await), "accepted");
    for operation in ["PutItem", "Query"] {
        let mut input = json!({"Item": item("x", 1), "TableName": "none"});
        if operation == "Query" {
            input = json!({
                "TableName": "none",
                "KeyConditionExpression": "pk = :v",
                "ExpressionAttributeValues": values,
            });
        }
        let output = call(&services, "dynamodb", operation, input).await;
        assert_eq!(code(&output), "ResourceNotFoundException");
    }
}

#[tokio::test]
async fn a_parameter_has_the_tier_that_its_size_needs() {
    let services = Services::new();
    let put = |size: usize, tier: &'static str| {
        let value = "x".repeat(size);
        let input = json!({
            "Name": "/warden/policy", "Value": value, "Type": "String", "Tier": tier, "Overwrite": true,
        });
        call(&services, "ssm", "PutParameter", input)
    };
    let tiering = "Intelligent-Tiering";
    assert_eq!(put(4096, tiering).await, json!({"Version": 1, "Tier": "Standard"}));
    assert_eq!(put(4097, tiering).await, json!({"Version": 2, "Tier": "Advanced"}));
    assert_eq!(code(&put(8193, tiering).await), "ValidationException");
    assert_eq!(put(1, tiering).await["Tier"], "Advanced", "there is no way back");
    put(4097, tiering).await;
    for name in ["/warden/policy", "arn:aws:ssm:us-east-1:123456789012:parameter/warden/policy"] {
        let got = call(&services, "ssm", "GetParameter", json!({"Name": name})).await;
        assert_eq!(got["Parameter"]["Version"], 4);
        assert_eq!(got["Parameter"]["Value"].as_str().unwrap().len(), 4097);
    }
    let refused = |operation: &'static str, input: Value| {
        let services = &services;
        async move { code(&call(services, "ssm", operation, input).await).to_owned() }
    };
    let again = json!({"Name": "/warden/policy", "Value": "x", "Type": "String"});
    assert_eq!(refused("PutParameter", again).await, "ParameterAlreadyExists");
    let untyped = json!({"Name": "/warden/other", "Value": "x"});
    assert_eq!(refused("PutParameter", untyped).await, "ValidationException");
    let large = json!({"Name": "/warden/other", "Value": "x".repeat(4097), "Type": "String"});
    assert_eq!(refused("PutParameter", large).await, "ValidationException");
    assert_eq!(
        refused("GetParameter", json!({"Name": "/warden/other"})).await,
        "ParameterNotFound"
    );
    let theirs = json!({"Name": "/aws/x", "Value": "x", "Type": "String"});
    assert_eq!(refused("PutParameter", theirs).await, "ValidationException");
    assert_eq!(refused("GetParameter", json!({"Name": "/none"})).await, "ParameterNotFound");
    let first = call(&services, "ssm", "GetParameter", json!({"Name": "/warden/policy:1"})).await;
    assert_eq!(first["Parameter"]["Value"].as_str().unwrap().len(), 4096);
    let version = json!({"Name": "/warden/policy:5"});
    assert_eq!(refused("GetParameter", version).await, "ParameterVersionNotFound");
    let names = json!({"Names": ["/warden/policy", "/none"]});
    let several = call(&services, "ssm", "GetParameters", names).await;
    assert_eq!(several["InvalidParameters"], json!(["/none"]));
    let gone = json!({"Name": "/warden/policy"});
    assert_eq!(refused("DeleteParameter", gone.clone()).await, "accepted");
    assert_eq!(refused("DeleteParameter", gone).await, "ParameterNotFound");
}

#[tokio::test]
async fn a_secret_is_found_by_name_and_by_arn() {
    let services = Services::new();
    let ask = |operation: &'static str, input: Value| {
        let services = &services;
        async move { call(services, "secretsmanager", operation, input).await }
    };
    let made = ask("CreateSecret", json!({"Name": "slack", "SecretString": "old"})).await;
    ask("PutSecretValue", json!({"SecretId": "slack", "SecretString": "nëw"})).await;
    for id in [&json!("slack"), &made["ARN"]] {
        let got = ask("GetSecretValue", json!({"SecretId": id})).await;
        assert_eq!((&got["SecretString"], &got["Name"]), (&json!("nëw"), &json!("slack")));
    }
    let before = json!({"SecretId": "slack", "VersionStage": "AWSPREVIOUS"});
    assert_eq!(ask("GetSecretValue", before).await["SecretString"], "old");
    let again = ask("CreateSecret", json!({"Name": "slack", "SecretString": "x"})).await;
    assert_eq!(code(&again), "ResourceExistsException");
    let none = ask("GetSecretValue", json!({"SecretId": "none"})).await;
    assert_eq!(code(&none), "ResourceNotFoundException");
    ask("DeleteSecret", json!({"SecretId": "slack"})).await;
    let deleted = ask("GetSecretValue", json!({"SecretId": "slack"})).await;
    assert_eq!(code(&deleted), "InvalidRequestException");
}

#[tokio::test]
async fn a_queue_counts_what_waits_in_it() {
    let services = Services::new();
    let ask = |operation: &'static str, input: Value| {
        let services = &services;
        async move { call(services, "sqs", operation, input).await }
    };
    let url = ask("CreateQueue", json!({"QueueName": "failed"})).await["QueueUrl"].clone();
    let sent = ask("SendMessage", json!({"QueueUrl": url, "MessageBody": "hëllo"})).await;
    assert_eq!(sent["MD5OfMessageBody"], "b261eed3f3910ac129822ffa4ffa1a80");
    let names = json!(["ApproximateNumberOfMessages"]);
    let count = json!({"QueueUrl": url, "AttributeNames": names});
    let waiting = |n: &str| json!({"Attributes": {"ApproximateNumberOfMessages": n}});
    assert_eq!(ask("GetQueueAttributes", count.clone()).await, waiting("1"));
    let receive = json!({"QueueUrl": url, "MaxNumberOfMessages": 10});
    let got = ask("ReceiveMessage", receive.clone()).await;
    assert_eq!(got["Messages"][0]["Body"], "hëllo");
    assert_eq!(ask("GetQueueAttributes", count).await, waiting("0"));
    assert_eq!(ask("ReceiveMessage", receive).await.get("Messages"), None);
    let handle = &got["Messages"][0]["ReceiptHandle"];
    ask("DeleteMessage", json!({"QueueUrl": url, "ReceiptHandle": handle})).await;

    for input in [
        json!({"QueueUrl": url, "MaxNumberOfMessages": 11}),
        json!({"QueueUrl": url, "MaxNumberOfMessages": 0}),
    ] {
        let refused = ask("ReceiveMessage", input).await;
        assert_eq!(code(&refused), "InvalidParameterValueException");
    }
    let long = json!({"QueueUrl": url, "MessageBody": "x".repeat(1_048_577)});
    assert_eq!(code(&ask("SendMessage", long).await), "InvalidParameterValueException");
    let none = ask("GetQueueUrl", json!({"QueueName": "none"})).await;
    assert_eq!(code(&none), "QueueDoesNotExist");
}

#[tokio::test]
async fn inspector_answers_from_what_was_put_in() {
    let services = Services::new();
    services.inspector().images.push(Coverage {
        repository: "deployments".to_owned(),
        digest: "sha256:1".to_owned(),
        tags: Vec::new(),
        in_use_count: Some(2),
        last_in_use_at: None,
        pulled_at: None,
        status: ("ACTIVE", "SUCCESSFUL"),
    });
    let request = Request::post("/coverage/list").body(Bytes::from("{}")).unwrap();
    let response = services.handle("inspector2", request).await;
    let output: Value = serde_json::from_slice(response.body()).unwrap();
    let id = image_arn("deployments", "sha256:1");
    assert_eq!(output["coveredResources"][0]["resourceId"], id);
}
