//! Secrets Manager and SQS, and the reading of JSON protocols.

use bytes::Bytes;
use serde_json::Value;
use winterbaume_core::MockResponse;
use winterbaume_secretsmanager::SecretsManagerService;
use winterbaume_sqs::SqsService;

use super::{Answer, Call, Refusal};

/// The error codes of a missing queue, in the JSON protocol and in the query protocol.
///
/// <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html> (`awsQueryCompatible`)
pub const NO_QUEUE: (&str, &str) =
    ("com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender");

/// Reads the input of one of these operations.
pub fn input(call: &Call, operations: &[&str]) -> Result<Value, Refusal> {
    if !operations.contains(&call.operation.as_str()) {
        return Err(call.unknown());
    }
    match serde_json::from_slice(&call.body) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(Refusal::new("SerializationException", "expected an object")),
        Err(error) => Err(Refusal::new("SerializationException", error.to_string())),
    }
}

/// A text of the input. A missing text is empty.
pub fn text<'a>(input: &'a Value, name: &str) -> &'a str {
    input.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The body of an answer.
pub fn output(answer: &MockResponse) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Serves Secrets Manager.
pub async fn secrets(service: &SecretsManagerService, call: &Call) -> Answer {
    const OPERATIONS: &[&str] =
        &["CreateSecret", "DeleteSecret", "DescribeSecret", "GetSecretValue", "PutSecretValue"];
    let input = input(call, OPERATIONS)?;
    // <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || "-/_+=.@!".contains(character);
    if call.operation == "CreateSecret" && !text(&input, "Name").chars().all(is_allowed) {
        let message = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!";
        return Err(Refusal::new("ValidationException", message));
    }
    Ok(call.forward(service).await)
}

/// Serves SQS.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html>
pub async fn queues(service: &SqsService, call: &Call) -> Answer {
    const OPERATIONS: &[&str] = &[
        "ChangeMessageVisibilityBatch",
        "CreateQueue",
        "DeleteMessage",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
        "SendMessageBatch",
    ];
    let refused = |message: &str| {
        let code = "com.amazonaws.sqs#InvalidParameterValueException";
        Err(Refusal::new(code, format!("One or more parameters are invalid. Reason: {message}")))
    };
    let mut input = input(call, OPERATIONS)?;
    let entries = input.get("Entries").and_then(Value::as_array).map_or(0, Vec::len);
    if call.operation == "SendMessageBatch" && !(1..=10).contains(&entries) {
        let code = "com.amazonaws.sqs#TooManyEntriesInBatchRequest";
        let message =
            format!("Maximum number of entries per request are 10. You have sent {entries}.");
        return Err(Refusal::new(code, message));
    }
    let bytes = |message: &Value| text(message, "MessageBody").len();
    let sent = input.get("Entries").and_then(Value::as_array).into_iter().flatten();
    if sent.chain([&input]).map(bytes).sum::<usize>() > 1_048_576 {
        return refused("Message must be shorter than 1048576 bytes.");
    }
    if !remove_delays(&mut input) {
        return refused("DelaySeconds must be between 0 and 900.");
    }
    let most = input.get("MaxNumberOfMessages").and_then(Value::as_i64).unwrap_or(1);
    if !(1..=10).contains(&most) {
        return refused("MaxNumberOfMessages must be between 1 and 10.");
    }
    let body = input.to_string();
    let mut answer = call.forward_as(service, &call.operation, body).await;
    let mut output = output(&answer);
    if text(&output, "__type") == "AWS.SimpleQueueService.NonExistentQueue" {
        return Err(Refusal::new(NO_QUEUE.0, text(&output, "message")));
    }
    if call.operation == "GetQueueAttributes" && answer.status == 200 {
        // The crate answers with all attributes and ignores the requested names.
        let asked = input.get("AttributeNames").and_then(Value::as_array);
        let asked: Vec<&str> = asked.into_iter().flatten().filter_map(Value::as_str).collect();
        if let Some(attributes) = output.get_mut("Attributes").and_then(Value::as_object_mut)
            && !asked.contains(&"All")
        {
            attributes.retain(|name, _| asked.contains(&name.as_str()));
        }
        answer.body = Bytes::from(output.to_string());
    }
    Ok(answer)
}

/// Removes the delays of messages, because these messages are delivered at once. Returns whether they are
/// valid.
fn remove_delays(input: &mut Value) -> bool {
    let is_valid = |message: &mut Value| {
        let delay = message.as_object_mut().and_then(|message| message.remove("DelaySeconds"));
        delay.is_none_or(|delay| delay.as_u64().is_some_and(|seconds| seconds <= 900))
    };
    let is_whole_valid = is_valid(input);
    let entries = input.get_mut("Entries").and_then(Value::as_array_mut);
    entries.into_iter().flatten().fold(is_whole_valid, |is_each, entry| is_valid(entry) && is_each)
}
