use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Caller, Decision, Document, Request, wildcard};

const ROLE: &str = "arn:aws:iam::123456789012:role/ecr-warden/sweep";

fn caller() -> Caller {
    Caller::Role { arn: ROLE.to_owned(), session: "sweep".to_owned() }
}

/// A request of the role for this action on this resource.
fn request(action: &str, resource: &str, context: &[(&str, &[&str])]) -> Request {
    let context = context.iter().map(|(key, values)| {
        (key.to_lowercase(), values.iter().map(|value| (*value).to_owned()).collect())
    });
    Request {
        caller: caller(),
        action: action.to_owned(),
        resource: resource.to_owned(),
        context: context.collect::<BTreeMap<_, _>>(),
    }
}

fn document(statements: &Value) -> Document {
    Document::read(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

/// Whether a condition holds for a request with this context.
fn holds(condition: &Value, context: &[(&str, &[&str])]) -> bool {
    let statement =
        json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
    document(&statement).decide(&request("ecr:PutImage", "*", context)) == Decision::Allows
}

fn error(statement: &Value) -> String {
    Document::read(&json!({"Statement": statement})).unwrap_err().to_string()
}

#[test]
fn wildcards_stand_for_any_characters_or_for_one() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("a*c", "abbc", true),
        ("a*c", "abbcd", false),
        ("a*b*c", "aXbXbXc", true),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("**a", "bca", true),
        ("ecr:get*", "ecr:getauthorizationtoken", true),
    ] {
        assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn a_statement_matches_by_its_actions_and_its_resources() {
    let repository = "arn:aws:ecr:us-east-1:123456789012:repository/app";
    let allow = |mut statement: Value| {
        statement["Effect"] = "Allow".into();
        document(&statement).decide(&request("ecr:PutImage", repository, &[]))
    };
    for statement in [
        json!({"Action": "ecr:putimage", "Resource": repository}),
        json!({"Action": ["ecr:Get*", "ecr:Put*"], "Resource": ["x", "arn:aws:ecr:*:repository/*"]}),
        json!({"NotAction": "ecr:GetImage", "NotResource": "arn:aws:ecr:*:repository/other"}),
    ] {
        assert_eq!(allow(statement.clone()), Decision::Allows, "{statement}");
    }
    for statement in [
        json!({"Action": "ecr:PutImageX", "Resource": "*"}),
        json!({"Action": "ecr:PutImage", "Resource": format!("{repository}x")}),
        json!({"Action": "ecr:PutImage", "Resource": repository.to_uppercase()}),
        json!({"NotAction": "ecr:*", "Resource": "*"}),
        json!({"Action": "*", "NotResource": repository}),
    ] {
        assert_eq!(allow(statement.clone()), Decision::NoMatch, "{statement}");
    }
}

#[test]
fn a_statement_that_denies_wins() {
    let both = document(&json!([
        {"Effect": "Deny", "Action": "ecr:Put*", "Resource": "*"},
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
    ]));
    assert_eq!(both.decide(&request("ecr:PutImage", "*", &[])), Decision::Denies);
    assert_eq!(both.decide(&request("ecr:GetImage", "*", &[])), Decision::Allows);
}

#[test]
fn a_condition_compares_the_values_of_its_key() {
    let tag = |value: &'static str| [("aws:ResourceTag/owner", vec![value])];
    let with = |operator: &str, wanted: Value, value: &'static str| {
        let context = tag(value);
        let context: Vec<(&str, &[&str])> =
            context.iter().map(|(key, values)| (*key, values.as_slice())).collect();
        holds(&json!({operator: {"aws:resourceTag/Owner": wanted}}), &context)
    };
    assert!(with("StringEquals", json!(["a", "b"]), "b"));
    assert!(!with("StringEquals", json!("B"), "b"));
    assert!(with("StringEqualsIgnoreCase", json!("B"), "b"));
    assert!(!with("StringNotEquals", json!(["a", "b"]), "b"));
    assert!(with("StringLike", json!("a/*"), "a/b"));
    assert!(!with("StringNotLike", json!("a/*"), "a/b"));
    assert!(with("ArnLike", json!("arn:aws:sns:*:1:x"), "arn:aws:sns:us-east-1:1:x"));
    assert!(!with("ArnEquals", json!("arn:aws:*:1:x"), "arn:aws:sns:us-east-1:1:x"));
    assert!(with("ArnNotLike", json!("arn:aws:sns:*:2:x"), "arn:aws:sns:us-east-1:1:x"));
    assert!(with("Bool", json!(true), "true"));
    assert!(!with("Bool", json!("false"), "true"));
    assert!(with("Null", json!("false"), "x"));
    assert!(!with("Null", json!(true), "x"));
}

#[test]
fn a_request_without_the_key_satisfies_negated_operators_and_those_with_if_exists() {
    let without = |operator: &str| holds(&json!({operator: {"aws:RequestTag/owner": "a"}}), &[]);
    let holding =
        ["StringNotEquals", "ArnNotLike", "StringEqualsIfExists", "ForAllValues:StringLike"];
    assert!(holding.iter().all(|operator| without(operator)));
    let failing = ["StringEquals", "ArnLike", "Bool", "ForAnyValue:StringLike"];
    assert!(!failing.iter().any(|operator| without(operator)));
    assert!(holds(&json!({"Null": {"aws:RequestTag/owner": "true"}}), &[]));
}

#[test]
fn a_quantifier_asks_all_values_or_any() {
    let keys: &[(&str, &[&str])] = &[("aws:TagKeys", &["team", "owner"])];
    let with =
        |operator: &str, wanted: Value| holds(&json!({operator: {"aws:TagKeys": wanted}}), keys);
    assert!(with("ForAllValues:StringEquals", json!(["team", "owner", "x"])));
    assert!(!with("ForAllValues:StringEquals", json!("team")));
    assert!(!with("ForAllValues:StringNotEquals", json!(["owner"])));
    assert!(with("ForAllValues:StringNotEquals", json!(["x"])));
    assert!(with("ForAnyValue:StringEquals", json!("team")));
    assert!(!with("ForAnyValue:StringEquals", json!("x")));
}

#[test]
fn a_principal_is_a_role_a_session_an_account_or_a_service() {
    let decide = |principal: Value| {
        let statement = json!({"Effect": "Allow", "Action": "*", "Principal": principal});
        document(&statement).decide(&request("ecr:PutImage", "*", &[]))
    };
    let session = caller().arn();
    assert_eq!(session, "arn:aws:sts::123456789012:assumed-role/sweep/sweep");
    for principal in
        [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["x", ROLE]}), json!({"AWS": session})]
    {
        assert_eq!(decide(principal.clone()), Decision::Allows, "{principal}");
    }
    for account in ["123456789012", "arn:aws:iam::123456789012:root"] {
        assert_eq!(decide(json!({"AWS": account})), Decision::AllowsAccount);
    }
    for principal in [
        json!({"AWS": "AROAEXAMPLE"}),
        json!({"Service": "events.amazonaws.com"}),
        json!({"AWS": "210987654321"}),
    ] {
        assert_eq!(decide(principal.clone()), Decision::NoMatch, "{principal}");
    }
    let service = Request {
        caller: Caller::Service("events.amazonaws.com".to_owned()),
        ..request("sns:Publish", "*", &[])
    };
    let statement =
        json!({"Effect": "Allow", "Action": "*", "Principal": {"Service": "events.amazonaws.com"}});
    assert_eq!(document(&statement).decide(&service), Decision::Allows);
}

#[test]
fn a_document_that_cannot_be_evaluated_is_an_error() {
    let with = |more: Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
        statement.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        error(&statement)
    };
    let errors = [
        with(json!({"Effect": "Alow"})),
        with(json!({"NotPrincipal": "*"})),
        with(json!({"Resource": "arn:aws:s3:::${aws:username}"})),
        with(json!({"Condition": {"StringIs": {"aws:SourceArn": "x"}}})),
        with(json!({"Condition": {"StringEquals": {"aws:Moon": "full"}}})),
        with(json!({"Condition": {"StringEquals": {"aws:RequestTag/": "x"}}})),
        with(json!({"Condition": {"StringEquals": {"aws:TagKeys": "x"}}})),
        with(json!({"Condition": {"NullIfExists": {"aws:SourceArn": "true"}}})),
        error(&json!({"Effect": "Allow", "Resource": "*"})),
        error(&json!({"Effect": "Allow", "Action": "*", "NotAction": "*"})),
    ];
    let errors = errors.map(|text| text.split_once(": ").unwrap().1.to_owned() + "\n");
    expect_test::expect![[r#"
        the effect Some("Alow")
        the element NotPrincipal
        the value "arn:aws:s3:::${aws:username}"
        the operator StringIs
        the condition key aws:moon
        the condition key aws:requesttag/
        aws:tagkeys without ForAllValues or ForAnyValue
        the operator NullIfExists
        a statement has no Action
        Action beside NotAction
    "#]]
    .assert_eq(&errors.concat());
}
