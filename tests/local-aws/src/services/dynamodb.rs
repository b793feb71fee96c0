//! Tables. The crate for `DynamoDB` evaluates expressions but checks few requests.
//!
//! This module refuses the mistakes of a ledger that AWS refuses: reserved words, unused placeholders,
//! keys that do not match the table, and batches and items that are too large. It serves one request
//! at a time, because the crate checks a condition and writes in two steps.

mod storage;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use winterbaume_core::MockResponse;
use winterbaume_dynamodb::DynamoDbService;

use self::storage::WithoutSnapshots;
use super::json::{input, output, text};
use super::reserved::is_reserved;
use super::{Answer, Call, Refusal};

const OPERATIONS: &[&str] = &[
    "BatchGetItem",
    "BatchWriteItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactWriteItems",
    "UpdateItem",
    "UpdateTimeToLive",
];

/// The maximum size of an answer to `BatchGetItem`, in bytes.
const MOST_ANSWERED: usize = 16 * 1024 * 1024;

/// The parameters that hold an expression.
const EXPRESSIONS: &[&str] = &[
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
];

/// Amazon `DynamoDB`.
pub struct DynamoDb {
    service: Mutex<DynamoDbService>,
}

impl Default for DynamoDb {
    fn default() -> Self {
        let storage = Arc::new(WithoutSnapshots::default());
        Self { service: Mutex::new(DynamoDbService::with_backend(storage)) }
    }
}

impl DynamoDb {
    pub async fn serve(&self, call: &Call) -> Answer {
        let input = input(call, OPERATIONS)?;
        let service = &*self.service.lock().await;
        let table = Table { service, call };
        let operation = call.operation.as_str();
        check_numbers(&input)?;
        if input.get("Limit").and_then(Value::as_i64).is_some_and(|limit| limit < 1) {
            let message = "Value at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1";
            return Err(invalid(message));
        }
        match operation {
            "PutItem" | "UpdateItem" | "DeleteItem" | "GetItem" => {
                table.check_one(operation, &input).await?;
            }
            "Query" | "Scan" => {
                check_expressions(&input)?;
                table.check_key_condition(&input).await?;
            }
            "BatchGetItem" => table.check_keys(&input).await?,
            "BatchWriteItem" => table.check_batch(&input).await?,
            "TransactWriteItems" => {
                for (operation, write) in writes(&input) {
                    table.check_one(operation, write).await?;
                }
            }
            _ => {}
        }
        let returned = text(&input, "ReturnValues");
        let before = match (operation, returned) {
            ("UpdateItem", "ALL_OLD") => table.item(&input).await,
            ("UpdateItem", "UPDATED_OLD" | "UPDATED_NEW") => {
                let message = format!("ReturnValues {returned} is not served here");
                return Err(Refusal::new("UnknownOperationException", message));
            }
            _ => None,
        };
        let mut answer = call.forward(service).await;
        let mut output = output(&answer);
        if answer.status == 200 {
            if let Some(before) = before {
                output["Attributes"] = before;
            }
            if text(&input, "Select") == "COUNT"
                && let Some(output) = output.as_object_mut()
            {
                output.remove("Items");
            }
            if operation == "BatchGetItem" {
                table.fit(&input, &mut output).await;
            }
        } else {
            table.add_the_old(&input, &mut output).await;
        }
        answer.body = Bytes::from(output.to_string());
        Ok(answer)
    }
}

/// The crate, for the questions that come before and after a request.
struct Table<'a> {
    service: &'a DynamoDbService,
    call: &'a Call,
}

impl Table<'_> {
    async fn ask(&self, operation: &str, input: &Value) -> MockResponse {
        self.call.forward_as(self.service, operation, input.to_string()).await
    }

    /// The names and the types of a table's key. Empty if the table does not exist, which the crate
    /// then reports.
    async fn key(&self, input: &Value) -> Vec<(String, String)> {
        let name = json!({"TableName": text(input, "TableName")});
        let described = output(&self.ask("DescribeTable", &name).await);
        let list = |of: &str| described.pointer(of).and_then(Value::as_array).cloned();
        let types = list("/Table/AttributeDefinitions").unwrap_or_default();
        let definition =
            |name: &str| types.iter().find(|found| text(found, "AttributeName") == name);
        list("/Table/KeySchema")
            .unwrap_or_default()
            .iter()
            .map(|part| text(part, "AttributeName"))
            .map(|name| (name, definition(name).map_or("", |found| text(found, "AttributeType"))))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .collect()
    }

    /// The current item with the key of a write.
    async fn item(&self, input: &Value) -> Option<Value> {
        let mut key = Map::new();
        let given = input.get("Key").or(input.get("Item"))?;
        for (name, _) in self.key(input).await {
            key.insert(name.clone(), given.get(&name)?.clone());
        }
        let get = json!({"TableName": text(input, "TableName"), "Key": key});
        output(&self.ask("GetItem", &get).await).get("Item").cloned()
    }

    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>,
    /// and the pages of the other three.
    async fn check_one(&self, operation: &str, input: &Value) -> Result<(), Refusal> {
        check_expressions(input)?;
        let key = self.key(input).await;
        match input.get("Item").and_then(Value::as_object) {
            Some(item) => check_item(&key, item)?,
            None => check_key(&key, input.get("Key"))?,
        }
        if matches!(operation, "UpdateItem" | "Update") {
            for target in targets(text(input, "UpdateExpression")) {
                let name = resolve(input, &target);
                if key.iter().any(|(part, _)| *part == name) {
                    return Err(invalid(format!(
                        "One or more parameter values were invalid: Cannot update attribute \
                         {name}. This attribute is part of the key"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Refuses conditions on attributes that are no key, which the crate ignores.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html>
    async fn check_key_condition(&self, input: &Value) -> Result<(), Refusal> {
        if input.get("IndexName").is_some() {
            return Ok(());
        }
        let key = self.key(input).await;
        for name in attributes(text(input, "KeyConditionExpression")) {
            let name = resolve(input, &name);
            if !key.is_empty() && key.iter().all(|(part, _)| *part != name) {
                return Err(invalid(format!("Query key condition not supported: {name}")));
            }
        }
        Ok(())
    }

    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
    async fn check_batch(&self, input: &Value) -> Result<(), Refusal> {
        let tables = input.get("RequestItems").and_then(Value::as_object);
        let mut number = 0;
        for (table, requests) in tables.into_iter().flatten() {
            let key = self.key(&json!({"TableName": table})).await;
            let mut seen = BTreeSet::new();
            for request in requests.as_array().into_iter().flatten() {
                number += 1;
                let item = request.pointer("/PutRequest/Item");
                if let Some(item) = item.and_then(Value::as_object) {
                    check_item(&key, item)?;
                } else {
                    check_key(&key, request.pointer("/DeleteRequest/Key"))?;
                }
                let item = item.or(request.pointer("/DeleteRequest/Key"));
                let parts = key.iter().map(|(name, _)| item.and_then(|item| item.get(name)));
                if !seen.insert(format!("{:?}", parts.collect::<Vec<_>>())) {
                    return Err(invalid("Provided list of item keys contains duplicates"));
                }
            }
        }
        if !(1..=25).contains(&number) {
            return Err(invalid("A batch holds 1 to 25 requests"));
        }
        Ok(())
    }

    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
    async fn check_keys(&self, input: &Value) -> Result<(), Refusal> {
        let tables = input.get("RequestItems").and_then(Value::as_object);
        let mut number = 0;
        for (table, request) in tables.into_iter().flatten() {
            check_expressions(request)?;
            let key = self.key(&json!({"TableName": table})).await;
            let mut seen = BTreeSet::new();
            for given in request.get("Keys").and_then(Value::as_array).into_iter().flatten() {
                number += 1;
                check_key(&key, Some(given))?;
                if !seen.insert(given.to_string()) {
                    return Err(invalid("Provided list of item keys contains duplicates"));
                }
            }
        }
        if !(1..=100).contains(&number) {
            return Err(invalid("A batch asks for 1 to 100 items"));
        }
        Ok(())
    }

    /// Limits an answer to its maximum size and to the requested attributes. The keys of the other items
    /// are unprocessed. The crate returns everything.
    async fn fit(&self, input: &Value, output: &mut Value) {
        let mut room = MOST_ANSWERED;
        let responses = output.get_mut("Responses").and_then(Value::as_object_mut);
        let mut unprocessed = Map::new();
        for (table, found) in responses.into_iter().flatten() {
            let key = self.key(&json!({"TableName": table})).await;
            let request = &input["RequestItems"][table];
            let items = found.as_array_mut().map(std::mem::take).unwrap_or_default();
            let mut left = Vec::new();
            let fitting = items.into_iter().filter_map(|mut item| {
                let item = item.as_object_mut()?;
                let bytes: usize = item.iter().map(|(name, it)| name.len() + size(it)).sum();
                let Some(rest) = room.checked_sub(bytes) else {
                    let key_of = |(name, _): &(String, String)| {
                        Some((name.clone(), item.get(name)?.clone()))
                    };
                    left.push(key.iter().filter_map(key_of).collect::<Map<_, _>>());
                    return None;
                };
                room = rest;
                let asked = attributes(text(request, "ProjectionExpression"));
                let asked: Vec<String> = asked.iter().map(|name| resolve(request, name)).collect();
                item.retain(|name, _| asked.is_empty() || asked.contains(name));
                Some(Value::from(std::mem::take(item)))
            });
            let fitting: Vec<Value> = fitting.collect();
            if !left.is_empty() {
                let mut again = request.clone();
                again["Keys"] = json!(left);
                unprocessed.insert(table.clone(), again);
            }
            *found = json!(fitting);
        }
        output["UnprocessedKeys"] = unprocessed.into();
    }

    /// Returns the item that failed a condition to a caller that requested it, which the crate never does.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html>
    async fn add_the_old(&self, input: &Value, output: &mut Value) {
        let asked = |of: &Value| text(of, "ReturnValuesOnConditionCheckFailure") == "ALL_OLD";
        if text(output, "__type").ends_with("#ConditionalCheckFailedException") && asked(input) {
            if let Some(item) = self.item(input).await {
                output["Item"] = item;
            }
            return;
        }
        let reasons = output.get_mut("CancellationReasons").and_then(Value::as_array_mut);
        for (reason, (_, write)) in reasons.into_iter().flatten().zip(writes(input)) {
            if text(reason, "Code") == "ConditionalCheckFailed"
                && asked(write)
                && let Some(item) = self.item(write).await
            {
                reason["Item"] = item;
            }
        }
    }
}

/// The writes of a transaction, each with its kind.
fn writes(input: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let items = input.get("TransactItems").and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_object()?.iter().next())
        .map(|(operation, write)| (operation.as_str(), write))
}

/// Checks that the key of an item matches the table and that the item has at most 400 KB.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
fn check_item(key: &[(String, String)], item: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, kind) in key {
        let Some(value) = item.get(name) else {
            return Err(invalid(format!(
                "One or more parameter values were invalid: Missing the key {name} in the item"
            )));
        };
        check_part(name, kind, value)?;
    }
    if item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() > 400 * 1024 {
        return Err(invalid("Item size has exceeded the maximum allowed size"));
    }
    Ok(())
}

fn check_key(key: &[(String, String)], given: Option<&Value>) -> Result<(), Refusal> {
    let given = given.and_then(Value::as_object);
    if key.is_empty() {
        return Ok(());
    }
    if given.map_or(0, Map::len) != key.len() {
        return Err(invalid("The provided key element does not match the schema"));
    }
    for (name, kind) in key {
        let Some(value) = given.and_then(|given| given.get(name)) else {
            return Err(invalid("The provided key element does not match the schema"));
        };
        check_part(name, kind, value)?;
    }
    Ok(())
}

fn check_part(name: &str, kind: &str, value: &Value) -> Result<(), Refusal> {
    match value.get(kind).and_then(Value::as_str) {
        Some("") => Err(invalid(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute \
             cannot contain an empty string value. Key: {name}"
        ))),
        Some(_) => Ok(()),
        None => Err(invalid(format!(
            "One or more parameter values were invalid: Type mismatch for key {name} expected: {kind}"
        ))),
    }
}

/// Refuses an invalid number anywhere in a request, such as `{"N": "soon"}`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html>
fn check_numbers(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(object) => object.iter().try_for_each(|(kind, value)| match value {
            Value::String(text) if kind == "N" && object.len() == 1 => {
                let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
                let message = format!("A value provided cannot be converted into a number: {text}");
                if finite { Ok(()) } else { Err(invalid(message)) }
            }
            other => check_numbers(other),
        }),
        Value::Array(values) => values.iter().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

/// The approximate size of a value. The size of a number is overestimated by its digits.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|element| 1 + size(element)).sum(),
        // The type, as in `{"S": …}`, takes nothing, a map's names do.
        Value::Object(map) => map
            .iter()
            .map(|(kind, value)| match (kind.as_str(), value) {
                ("M", Value::Object(map)) => {
                    map.iter().map(|(name, it)| name.len() + 1 + size(it)).sum()
                }
                _ => size(value),
            })
            .sum(),
        _ => 1,
    }
}

/// Checks that no attribute name is a reserved word and that every placeholder is used.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ExpressionAttributeNames.html>
fn check_expressions(input: &Value) -> Result<(), Refusal> {
    let mut used = BTreeSet::new();
    for parameter in EXPRESSIONS {
        let expression = text(input, parameter);
        used.extend(tokens(expression).filter(|token| token.starts_with(['#', ':'])));
        for name in attributes(expression) {
            if is_reserved(&name) {
                return Err(invalid(format!(
                    "Invalid {parameter}: Attribute name is a reserved keyword; reserved keyword: {name}"
                )));
            }
        }
    }
    for parameter in ["ExpressionAttributeNames", "ExpressionAttributeValues"] {
        let given = input.get(parameter).and_then(Value::as_object);
        for placeholder in given.into_iter().flat_map(|given| given.keys()) {
            if !used.contains(placeholder.as_str()) {
                return Err(invalid(format!(
                    "Value provided in {parameter} unused in expressions: keys: {{{placeholder}}}"
                )));
            }
        }
    }
    Ok(())
}

/// The words, placeholders and signs of an expression.
fn tokens(expression: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '#' | ':');
    let mut rest = expression;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let length = if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        Some(token)
    })
}

/// The attributes that an expression names, also by placeholders, without operators and functions.
fn attributes(expression: &str) -> Vec<String> {
    const OPERATORS: &[&str] =
        &["AND", "OR", "NOT", "BETWEEN", "IN", "SET", "ADD", "REMOVE", "DELETE"];
    let tokens: Vec<&str> = tokens(expression).collect();
    let next = tokens.iter().skip(1).chain([&""]);
    tokens
        .iter()
        .zip(next)
        .filter(|(token, next)| {
            token.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '#'))
                && **next != "("
                && !OPERATORS.iter().any(|operator| operator.eq_ignore_ascii_case(token))
        })
        .map(|(token, _)| (*token).to_owned())
        .collect()
}

/// The attributes that an update changes: the words after the keyword of a clause or after a comma.
fn targets(expression: &str) -> Vec<String> {
    let (mut depth, mut awaited, mut found) = (0_u32, false, Vec::new());
    for token in tokens(expression) {
        match token {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => awaited = true,
            _ if ["SET", "ADD", "REMOVE", "DELETE"]
                .iter()
                .any(|keyword| keyword.eq_ignore_ascii_case(token)) =>
            {
                awaited = true;
            }
            _ if awaited => {
                found.push(token.to_owned());
                awaited = false;
            }
            _ => {}
        }
    }
    found
}

/// The name behind a placeholder.
fn resolve(input: &Value, name: &str) -> String {
    let names = input.get("ExpressionAttributeNames");
    names.and_then(|names| names.get(name)).and_then(Value::as_str).unwrap_or(name).to_owned()
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("com.amazonaws.dynamodb.v20120810#ValidationException", message)
}
