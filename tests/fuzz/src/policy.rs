//! Policies: an error names a property. An accepted policy has a normal form of one line that parses as the same
//! policy. The policy of each repository has a normal form too, has a lifecycle policy, and decides any tag. The
//! input is a policy, or the policy of one repository.

use serde_json::Value;
use warden_core::lifecycle;
use warden_core::node::Node;
use warden_core::policy::{Governance, Policy, Provisioned, RepositoryOrigin};
use warden_core::properties::Invalid;
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
    assert!(!line.contains('\n'));
    assert_eq!(Policy::parse(&line).as_ref(), Ok(policy));
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
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    match Governance::read(&Node::from(&document), Provisioned::default(), None) {
        Ok(governance) => {
            assert_eq!(Governance::parse(&governance.normalised()).as_ref(), Ok(&governance));
            for name in ["infrastructure", "team/app", "cdk-a-container-assets-b"] {
                let name = name.parse().expect("a name");
                let policy = governance.rule_for(&name, RepositoryOrigin::Pushed);
                policy.iter().for_each(check);
            }
        }
        Err(error) => check_error(&error),
    }
}
