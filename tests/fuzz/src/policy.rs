//! Policies: an error names a property. An accepted policy has a normal form of one line that parses as
//! the same policy, has a lifecycle policy, and decides any tag. The input is a policy, a list
//! of them, or a request of CloudFormation with one among its properties.

use serde_json::Value;
use warden_core::lifecycle;
use warden_core::node::Node;
use warden_core::policy::{MOST_BYTES, Policies, Policy};
use warden_core::properties::{Invalid, Reader};
use warden_core::tagging::judge;

/// Checks that every problem names its property and has a message.
fn check_error(Invalid(problems): &Invalid) {
    assert!(!problems.is_empty());
    assert!(
        problems.iter().all(|problem| !problem.property.is_empty() && !problem.message.is_empty())
    );
}

fn check(policy: &Policy) {
    let line = policy.normalised();
    assert!(line.len() <= MOST_BYTES && !line.contains('\n'));
    assert_eq!(Policy::parse(&line).as_ref(), Ok(policy));
    let list = format!("[{line}]");
    let policies = Policies::parse(&list).expect("a normalised policy in a list");
    assert!(policies.iter().eq([policy]));
    let document = lifecycle::document(policy);
    let parsed: Value = serde_json::from_str(&document).expect("JSON");
    assert!(parsed["rules"].is_array());
    assert!(lifecycle::have_same_rules(&document, &document));
    for tag in ["litellm-v1.80.5", "latest", "sha256-0", "quarantine-20260101-0-x", "é", ""] {
        let _ = judge(policy, tag);
    }
}

/// Runs the target on one input. Bytes that are not UTF-8 are skipped.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Policy::parse(text) {
        Ok(policy) => check(&policy),
        Err(error) => check_error(&error),
    }
    match Policies::parse(text) {
        Ok(policies) => policies.iter().for_each(check),
        Err(error) => check_error(&error),
    }
    let Ok(request) = serde_json::from_str::<Value>(text) else { return };
    let node = Node::from(&request["ResourceProperties"]);
    let mut reader = Reader::new(&node);
    let policy = Policy::read(&mut reader);
    let problems = reader.finish();
    match policy {
        // A property that only the custom resource knows is a problem here.
        Some(policy) if problems.is_empty() => check(&policy),
        _ => check_error(&Invalid(problems)),
    }
}
