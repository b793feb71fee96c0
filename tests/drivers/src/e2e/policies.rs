//! Compares the embedded evaluation of policies with that of ministack, which other authors wrote.
//!
//! The sample has each policy of the template, with actions and resources that its statements name
//! and with others. It also has each operator with values that match, that do not match, and that
//! are missing. One difference from IAM's reference is left out: in ministack, a `*` in a condition
//! on an ARN matches across the parts of the ARN.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use local_aws::policy::{Caller, Decision, Document, Request};
use local_aws::world::evaluate;
use serde_json::{Value, json};

/// Compares the decisions of both evaluators. Returns the number of requests and how many of them
/// are allowed.
pub fn compare(python: &mut Command, root: &Path) -> anyhow::Result<(usize, usize)> {
    let sample = sample()?;
    let file = root.join("target/e2e/policies.json");
    fs::write(&file, json!(sample).to_string())?;
    let script = root.join("tests/drivers/policies.py");
    let printed = python.arg(script).arg(&file).output()?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let theirs: Vec<String> = serde_json::from_slice(&printed.stdout)?;
    ensure!(theirs.len() == sample.len(), "{} of {} decisions", theirs.len(), sample.len());
    let mut allowed = 0;
    for (request, theirs) in sample.iter().zip(&theirs) {
        let ours = decide(request)?;
        ensure!(ours == theirs, "ours is {ours} and ministack's {theirs} for {request:#}");
        allowed += usize::from(ours == "Allow");
    }
    Ok((sample.len(), allowed))
}

fn decide(request: &Value) -> anyhow::Result<&'static str> {
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let context: BTreeMap<String, Vec<String>> =
        serde_json::from_value(request["context"].clone())?;
    let caller = Caller::Role {
        arn: "arn:aws:iam::123456789012:role/ecr-warden/caller".to_owned(),
        session: "caller".to_owned(),
    };
    let (action, resource) = (text("action"), text("resource"));
    let document = Document::read(&request["document"])?;
    Ok(match document.decide(&Request { caller, action, resource, context }) {
        Decision::Denies => "Deny",
        Decision::Allows | Decision::AllowsAccount => "Allow",
        Decision::NoMatch => "ImplicitDeny",
    })
}

/// The requests, each with the policy that decides it.
fn sample() -> anyhow::Result<Vec<Value>> {
    let mut sample = sample_template()?;
    sample_patterns(&mut sample);
    sample_conditions(&mut sample);
    Ok(sample)
}

/// Each policy of a role, with each action and resource that it names and with others.
fn sample_template() -> anyhow::Result<Vec<Value>> {
    let stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/ecr-warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3";
    let policy =
        "arn:aws:iam::123456789012:policy/ecr-warden/ecr-warden-us-east-1-5f2c1a30-PushPullPolicy";
    let contexts = [
        json!({}),
        json!({"aws:requesttag/ecr-warden:owner": [format!("{stack}/Repository")], "aws:tagkeys": ["ecr-warden:owner"]}),
        json!({"aws:resourcetag/ecr-warden:owner": [format!("{stack}/Repository")]}),
        json!({"aws:resourcetag/ecr-warden:owner": ["somebody"], "aws:requesttag/ecr-warden:owner": [format!("{stack}/x")]}),
        json!({"aws:resourcetag/ecr-warden:owner": [format!("{stack}/x")], "aws:resourcetag/ecr-warden:adopted-by": ["x"]}),
        json!({"aws:tagkeys": ["team", "owner"]}),
        json!({"iam:policyarn": [policy]}),
        json!({"iam:policyarn": ["arn:aws:iam::aws:policy/AdministratorAccess"]}),
        json!({"kms:viaservice": ["ecr.us-east-1.amazonaws.com"]}),
        json!({"kms:viaservice": ["secretsmanager.us-east-1.amazonaws.com"], "kms:encryptioncontext:secretarn": ["arn:aws:secretsmanager:us-east-1:123456789012:secret:slack-AbCdEf"]}),
    ];
    let github = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
    let stack = evaluate(&[
        ("KmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/1"),
        ("CiCdRoleArns", "arn:aws:iam::123456789012:role/ci"),
        (
            "SlackWebhookSecretArn",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:slack-AbCdEf",
        ),
        ("GitHubOidcProviderArn", github),
        ("GitHubRepository", "octo-org/images"),
        ("Tracing", "Active"),
    ])?;
    let mut sample = Vec::new();
    for id in stack.resources()? {
        if stack.resource_type(id)? != "AWS::IAM::Role" {
            continue;
        }
        let properties = stack.properties(id)?;
        for policy in properties["Policies"].as_array().into_iter().flatten() {
            let document = &policy["PolicyDocument"];
            let statements = document["Statement"].as_array().context("a list of statements")?;
            let mut actions = named(statements, "Action");
            actions.extend(["s3:GetObject", "ecr:deleterepository"].map(str::to_owned));
            let mut resources: Vec<String> = named(statements, "Resource")
                .iter()
                .map(|pattern| pattern.replace('*', "any/thing"))
                .collect();
            resources.push("*".to_owned());
            resources.push("arn:aws:ecr:us-east-1:210987654321:repository/deployments".to_owned());
            for action in &actions {
                for resource in &resources {
                    for context in &contexts {
                        sample.push(json!({
                            "document": document,
                            "action": action,
                            "resource": resource,
                            "context": context,
                        }));
                    }
                }
            }
        }
    }
    // Every seventh request: all requests would take a minute.
    Ok(sample.into_iter().step_by(7).collect())
}

/// The values of an element in all statements, each once.
fn named(statements: &[Value], element: &str) -> Vec<String> {
    let values = statements.iter().flat_map(|statement| match &statement[element] {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    });
    let mut values: Vec<String> =
        values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
    values.sort();
    values.dedup();
    values
}

/// Statements that allow or deny, with wildcards in actions and resources, negated or not.
fn sample_patterns(sample: &mut Vec<Value>) {
    const APP: &str = "arn:aws:ecr:us-east-1:123456789012:repository/app";
    let actions =
        ["*", "ecr:*", "ecr:Put*", "ECR:putimage", "ecr:P?tImage", "ecr:PutImages", "sns:*"];
    let resources = [
        "*",
        APP,
        "arn:aws:ecr:*:*:repository/*",
        "arn:aws:ecr:us-east-1:123456789012:repository/ap?",
        "arn:aws:ecr:us-east-1:123456789012:repository/App",
    ];
    for action in actions {
        for resource in resources {
            for (of_action, of_resource) in
                [("Action", "Resource"), ("NotAction", "Resource"), ("Action", "NotResource")]
            {
                for effect in ["Allow", "Deny"] {
                    let everything = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
                    let statement =
                        json!({"Effect": effect, of_action: action, of_resource: [resource]});
                    let statements = if effect == "Deny" {
                        vec![statement, everything]
                    } else {
                        vec![statement]
                    };
                    sample.push(json!({
                        "document": {"Version": "2012-10-17", "Statement": statements},
                        "action": "ecr:PutImage",
                        "resource": APP,
                        "context": {},
                    }));
                }
            }
        }
    }
}

/// Each operator with each quantifier, and with values that match, do not match or are missing.
fn sample_conditions(sample: &mut Vec<Value>) {
    const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";
    let strings = [
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
    ];
    let arns = ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"];
    let mut add = |operator: &str, key: &str, wanted: &Value, found: &[&str]| {
        let context = if found.is_empty() { json!({}) } else { json!({key: found}) };
        sample.push(json!({
            "document": {"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Action": "*", "Resource": "*",
                "Condition": {operator: {key: wanted}},
            }},
            "action": "ecr:PutImage",
            "resource": "*",
            "context": context,
        }));
    };
    let wanted =
        [json!("a"), json!(["a", "b"]), json!("A"), json!("a*"), json!(["?b", "c"]), json!("")];
    for operator in strings {
        for wanted in &wanted {
            for suffix in ["", "IfExists"] {
                for found in [&[][..], &["a"], &["b"], &["ab"], &["A"]] {
                    add(&format!("{operator}{suffix}"), "aws:requesttag/team", wanted, found);
                }
                for quantifier in ["ForAllValues", "ForAnyValue"] {
                    for found in [&[][..], &["a"], &["a", "b"], &["b", "d"], &["ab", "c"]] {
                        let operator = format!("{quantifier}:{operator}{suffix}");
                        add(&operator, "aws:tagkeys", wanted, found);
                    }
                }
            }
        }
    }
    for operator in arns {
        for wanted in [
            TOPIC,
            "arn:aws:sns:*:123456789012:*",
            "arn:*:sns:us-east-1:*:alert?",
            "arn:aws:sns:us-east-1:123456789012:other",
        ] {
            for suffix in ["", "IfExists"] {
                for found in [&[][..], &[TOPIC]] {
                    add(&format!("{operator}{suffix}"), "aws:sourcearn", &json!(wanted), found);
                }
            }
        }
    }
    for (operator, wanted) in [
        ("Null", "true"),
        ("Null", "false"),
        ("Bool", "true"),
        ("Bool", "false"),
        ("BoolIfExists", "false"),
    ] {
        for found in [&[][..], &["true"], &["false"]] {
            add(operator, "aws:requesttag/flag", &json!(wanted), found);
        }
    }
}
