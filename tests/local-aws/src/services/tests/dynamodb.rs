use super::*;

#[tokio::test]
async fn a_claim_succeeds_once_and_the_second_caller_receives_the_item() {
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
async fn a_batch_returns_the_requested_attributes_of_existing_items_up_to_the_maximum_size() {
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
        let found = output["message"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
}

#[tokio::test]
async fn a_query_comes_in_pages() {
    let services = with_table().await;
    let put = |n: u32| json!({"PutRequest": {"Item": item(&format!("alert#{n}"), n)}});
    let batch = json!({"RequestItems": {"ledger": (0..5).map(put).collect::<Vec<_>>()}});
    assert_eq!(dynamodb(&services, "BatchWriteItem", batch).await["UnprocessedItems"], json!({}));
    let mut query = json!({
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :alert)",
        "ExpressionAttributeValues": {":pk": {"S": "a"}, ":alert": {"S": "alert#"}},
        "Limit": 3,
    });
    let first = dynamodb(&services, "Query", query.clone()).await;
    assert_eq!(first["Items"], json!([item("alert#0", 0), item("alert#1", 1), item("alert#2", 2)]));
    query["ExclusiveStartKey"] = first["LastEvaluatedKey"].clone();
    let second = dynamodb(&services, "Query", query.clone()).await;
    assert_eq!(second["Items"], json!([item("alert#3", 3), item("alert#4", 4)]));
    assert_eq!(second.get("LastEvaluatedKey"), None);
    query["Select"] = "COUNT".into();
    assert_eq!(dynamodb(&services, "Query", query).await.get("Items"), None);
    let ttl = json!({"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}});
    dynamodb(&services, "UpdateTimeToLive", ttl).await;
    let described = dynamodb(&services, "DescribeTimeToLive", json!({})).await;
    let expected = json!({"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"});
    assert_eq!(described["TimeToLiveDescription"], expected);
}

#[tokio::test]
async fn an_invalid_request_is_refused_as_dynamodb_does() {
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
        let found = output["message"].as_str().unwrap();
        assert!(found.contains(message), "{found}");
    }
    let scan = dynamodb(&services, "Scan", json!({})).await;
    assert_eq!(scan["Count"], 0, "nothing was written");
    // The key may occur on the right side of an assignment.
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
