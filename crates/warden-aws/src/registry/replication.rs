//! The replication rules of the registry.
//!
//! The response is read from its JSON, because the SDK (1.138) does not know `deleteReplication`. The
//! service model of botocore 1.44.8 defines the form of the JSON.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use serde::Deserialize;
use warden_core::replication::{RemoteRegistry, ReplicationRule};

use super::Registry;

impl Registry {
    /// Reads the replication rules. One call.
    pub async fn replication_rules(&self) -> anyhow::Result<Vec<ReplicationRule>> {
        let answer = AnswerText::default();
        let describe = self.client.describe_registry().customize().interceptor(answer.clone());
        describe.send().await.map_err(crate::explain).context("describing the registry")?;
        read_rules(&answer.take())
    }
}

/// Keeps the text of the last response to a call.
#[derive(Clone, Debug, Default)]
struct AnswerText(Arc<Mutex<Vec<u8>>>);

impl AnswerText {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for AnswerText {
    fn name(&self) -> &'static str {
        "AnswerText"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let text = context.response().body().bytes().unwrap_or_default().to_vec();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    replication_configuration: Option<Configuration>,
}

#[derive(Deserialize)]
struct Configuration {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    destinations: Vec<Destination>,
    repository_filters: Option<Vec<Filter>>,
    delete_replication: Option<DeleteReplication>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    region: String,
    registry_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    filter: String,
    filter_type: String,
}

#[derive(Deserialize)]
struct DeleteReplication {
    enabled: bool,
}

fn read_rules(answer: &[u8]) -> anyhow::Result<Vec<ReplicationRule>> {
    let answer: Answer =
        serde_json::from_slice(answer).context("reading the response of DescribeRegistry")?;
    let rules = answer.replication_configuration.map_or_else(Vec::new, |all| all.rules);
    rules.into_iter().map(read_rule).collect()
}

fn read_rule(rule: Rule) -> anyhow::Result<ReplicationRule> {
    let remote = |Destination { region, registry_id }: Destination| {
        RemoteRegistry::new(&registry_id, &region).with_context(|| {
            format!(
                "ECR returned an invalid destination of replication: {registry_id:?} in {region:?}"
            )
        })
    };
    // A filter of an unknown type may match any repository.
    let is_known = |filters: &Vec<Filter>| {
        !filters.is_empty() && filters.iter().all(|filter| filter.filter_type == "PREFIX_MATCH")
    };
    let prefixes = rule.repository_filters.filter(is_known);
    Ok(ReplicationRule {
        prefixes: prefixes.map(|all| all.into_iter().map(|filter| filter.filter).collect()),
        destinations: rule.destinations.into_iter().map(remote).collect::<Result<_, _>>()?,
        replicates_deletions: rule.delete_replication.is_some_and(|deletes| deletes.enabled),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rules(rules: &Value) -> anyhow::Result<Vec<ReplicationRule>> {
        let answer =
            json!({"registryId": "123456789012", "replicationConfiguration": {"rules": rules}});
        read_rules(answer.to_string().as_bytes())
    }

    fn prefixes(filters: &Value) -> Option<Vec<String>> {
        let destination = json!({"region": "us-west-2", "registryId": "123456789012"});
        let rule = json!({"destinations": [destination], "repositoryFilters": filters});
        rules(&json!([rule])).unwrap().remove(0).prefixes
    }

    #[test]
    fn a_rule_with_a_filter_of_an_unknown_type_applies_to_every_repository() {
        let known = json!({"filter": "prod", "filterType": "PREFIX_MATCH"});
        let unknown = json!({"filter": "*", "filterType": "WILDCARD"});
        assert_eq!(prefixes(&json!([known])).unwrap(), ["prod"]);
        assert_eq!(prefixes(&json!([known, unknown])), None);
        assert_eq!(prefixes(&json!([])), None);
        assert_eq!(prefixes(&Value::Null), None);
    }

    #[test]
    fn an_answer_without_a_configuration_has_no_rules_and_an_unreadable_one_is_an_error() {
        assert_eq!(read_rules(br#"{"registryId": "123456789012"}"#).unwrap(), []);
        assert_eq!(rules(&json!([])).unwrap(), []);
        read_rules(b"").unwrap_err();
        rules(&Value::Null).unwrap_err();
        rules(&json!([{"destinations": [{"region": "us west", "registryId": "1"}]}])).unwrap_err();
    }
}
