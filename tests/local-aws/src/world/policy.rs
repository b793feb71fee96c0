//! The template with its policy, and the policy of a stack.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;
use warden_core::image::RepositoryPattern;
use warden_core::lifecycle;
use warden_core::node::Node;
use warden_core::policy::{Governance, Provisioned, RepositoryOrigin};
use warden_core::properties::Reader;

use super::evaluate;
use crate::template::{self, Template, as_cloudformation_sends};

/// The policy that the template includes.
pub const POLICY: &str = include_str!("../../../../infra/sam/policy.yaml");
/// The place of the policy in the template.
const POLICY_LOCATION: &str = "policy.yaml";

/// The template that is deployed, with the policy.
pub static TEMPLATE: LazyLock<Template> = LazyLock::new(|| template_with_policy(POLICY).unwrap());

/// The template with this text of a policy.
pub fn template_with_policy(policy: &str) -> Result<Template, template::Error> {
    let template = include_str!("../../../../infra/sam/template.yaml");
    Template::read(template)?.include(POLICY_LOCATION, policy)
}

/// Names with their values.
pub(super) type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// The parameters of the template, and the settings of the policy, among pairs of a test. A setting has a
/// name with dots: the name of a rule, or `*` for every rule, or nothing for the policy itself, and the path of
/// the setting, such as `*.Retention.Enforcement`. Its value is JSON if it begins with a bracket.
pub(super) fn split<'a>(given: &[(&'a str, &'a str)]) -> (Pairs<'a>, Pairs<'a>) {
    given.iter().partition(|(name, _)| !name.contains('.'))
}

/// The template with these settings in its policy.
pub(super) fn template(settings: &[(&str, &str)]) -> &'static Template {
    /// Each combination of settings is read once. A test process ends soon, so nothing is freed.
    static TEMPLATES: Mutex<BTreeMap<String, &'static Template>> = Mutex::new(BTreeMap::new());
    if settings.is_empty() {
        return &TEMPLATE;
    }
    let key = format!("{settings:?}");
    let known = || TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = known().get(&key).copied() {
        return template;
    }
    let policy = policy_with(settings).to_string();
    let template: &'static Template = Box::leak(Box::new(template_with_policy(&policy).unwrap()));
    known().insert(key, template);
    template
}

/// The policy with these settings.
#[must_use]
pub fn policy_with(settings: &[(&str, &str)]) -> Value {
    let mut policy = Template::read_document(POLICY).unwrap();
    for (name, value) in settings {
        let value = match value {
            json if json.starts_with(['[', '{']) => serde_json::from_str(json).unwrap(),
            text => Value::from(*text),
        };
        let (rule, path) = name.split_once('.').unwrap();
        let pointer = format!("/{}", path.replace('.', "/"));
        let set = |node: &mut Value| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            node.pointer_mut(parent).unwrap()[key] = value.clone();
        };
        if rule.is_empty() {
            set(&mut policy);
            continue;
        }
        let rules = policy["Rules"].as_array_mut().unwrap().iter_mut();
        let rules = rules.filter(|found| rule == "*" || found["Name"] == rule);
        let count = rules.map(set).count();
        assert!(count > 0, "the policy has no rule {rule}");
    }
    policy
}

/// Reads the policy from the properties of its custom resource.
pub(super) fn read_governance(properties: &Value) -> Governance {
    let properties = Node::from(properties);
    let mut reader = Reader::new(&properties);
    let ceiling: Vec<RepositoryPattern> = reader.words("EnforceRepositories");
    let provisioned = Provisioned::read(&mut reader);
    let policy = properties.get("Policy").unwrap();
    Governance::read(policy, provisioned, Some(&ceiling)).unwrap()
}

/// The lifecycle policy of a repository that the stack provisions.
#[must_use]
pub fn lifecycle_of(governance: &Governance, repository: &str) -> String {
    let repository = repository.parse().unwrap();
    let rule = governance.rule_for(&repository, RepositoryOrigin::Pushed);
    let settings = governance.find_provisioned(&repository).unwrap();
    lifecycle::document_of_provisioned(settings, rule.as_ref())
}

/// The policy of a stack with these parameters and settings.
#[must_use]
pub fn governance(given: &[(&str, &str)]) -> Governance {
    let properties = evaluate(given).unwrap().properties("Governance").unwrap();
    read_governance(&as_cloudformation_sends(properties))
}
