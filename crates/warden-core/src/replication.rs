//! The copies of images in other registries. They decide whether a repository may be changed.
//!
//! ECR can replicate deletions and removals of tags
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication-delete.html>). If it does, a
//! tag that is removed here is removed in every destination. Otherwise the destinations keep the tag.
//! Archiving is never replicated.
//!
//! See case A12 in `docs/contributing/prior-art.md`.

use std::collections::BTreeMap;
use std::fmt;

use crate::image::RepositoryName;
use crate::policy::{Policy, WhenReplicated};

/// Another registry: an account in a region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteRegistry {
    region: String,
    account: String,
}

impl RemoteRegistry {
    /// The registry of an account in a region, if both have the form that AWS gives them.
    #[must_use]
    pub fn new(account: &str, region: &str) -> Option<Self> {
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_region_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_region = (2..=25).contains(&region.len()) && region.bytes().all(is_region_byte);
        (is_account && is_region)
            .then(|| Self { region: region.to_owned(), account: account.to_owned() })
    }

    /// The region, such as `us-east-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The twelve digits of the account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }
}

/// A rule of the replication configuration of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationRule {
    /// The rule applies to repositories with one of these prefixes, or to every repository.
    pub prefixes: Option<Vec<String>>,
    /// The registries that receive a copy.
    pub destinations: Vec<RemoteRegistry>,
    /// Whether deletions and removals of tags are replicated.
    pub replicates_deletions: bool,
}

/// The copies of a repository's images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// The registry from which the images are copied. None if the repository is not a replica.
    source: Option<RemoteRegistry>,
    /// The registries to which the images are copied, each with whether deletions are replicated.
    destinations: BTreeMap<RemoteRegistry, bool>,
}

impl Replication {
    /// Finds the copies of a repository's images by the rules of its registry.
    #[must_use]
    pub fn find(
        repository: &RepositoryName,
        rules: &[ReplicationRule],
        source: Option<RemoteRegistry>,
    ) -> Self {
        let matches = |prefix: &String| repository.as_str().starts_with(prefix.as_str());
        let mut destinations = BTreeMap::new();
        for rule in rules {
            let applies = rule.prefixes.as_ref().is_none_or(|all| all.iter().any(matches));
            for destination in rule.destinations.iter().filter(|_| applies) {
                *destinations.entry(destination.clone()).or_default() |= rule.replicates_deletions;
            }
        }
        Self { source, destinations }
    }

    /// Whether no other registry has a copy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.source.is_none() && self.destinations.is_empty()
    }

    /// Returns the reason not to change the repository, if there is one. A replica is never changed,
    /// because it must keep the images of its source.
    #[must_use]
    pub fn reason_to_report(&self, policy: &Policy) -> Option<String> {
        let repository = &policy.repository_name;
        if let Some(source) = &self.source {
            return Some(format!(
                "replication copies the images of {repository} from {source}, so change them there"
            ));
        }
        let retention = policy.retention.as_ref();
        let acts =
            retention.is_some_and(|retention| retention.when_replicated == WhenReplicated::Act);
        if self.destinations.is_empty() || acts {
            return None;
        }
        let destination = |(registry, deletes): (&RemoteRegistry, &bool)| {
            let with = if *deletes { "with" } else { "without" };
            format!("{registry} ({with} deletions)")
        };
        let destinations: Vec<String> = self.destinations.iter().map(destination).collect();
        Some(format!(
            "replication copies the images of {repository} to {}, and WhenReplicated is report",
            destinations.join(", ")
        ))
    }

    /// The registry from which the images are copied. None if the repository is not a replica.
    #[must_use]
    pub fn source(&self) -> Option<&RemoteRegistry> {
        self.source.as_ref()
    }

    /// The destinations, each with whether deletions are replicated to it.
    pub fn destinations(&self) -> impl Iterator<Item = (&RemoteRegistry, bool)> {
        self.destinations.iter().map(|(registry, deletes)| (registry, *deletes))
    }
}

impl fmt::Display for RemoteRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {} in {}", self.account, self.region)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::policy::tests::{GUIDE, policy};

    fn remote(account: &str, region: &str) -> RemoteRegistry {
        RemoteRegistry::new(account, region).unwrap()
    }

    fn rule(
        prefixes: Option<&[&str]>,
        region: &str,
        replicates_deletions: bool,
    ) -> ReplicationRule {
        ReplicationRule {
            prefixes: prefixes.map(|all| all.iter().map(|prefix| (*prefix).to_owned()).collect()),
            destinations: vec![remote("210987654321", region)],
            replicates_deletions,
        }
    }

    fn check(when: &str, rules: &[ReplicationRule], source: Option<&str>, expected: &Expect) {
        let policy = policy(GUIDE, &[("Retention.WhenReplicated", Value::from(when))]);
        let source = source.map(|region| remote("123456789012", region));
        let found = Replication::find(&policy.repository_name, rules, source);
        expected.assert_eq(&found.reason_to_report(&policy).unwrap_or_default());
    }

    #[test]
    fn a_repository_with_copies_is_reported_unless_its_policy_says_act() {
        let rules = [rule(None, "us-west-2", true), rule(Some(&["infra"]), "eu-west-1", false)];
        check(
            "report",
            &rules,
            None,
            &expect![
                "replication copies the images of infrastructure to account 210987654321 in eu-west-1 (without deletions), account 210987654321 in us-west-2 (with deletions), and WhenReplicated is report"
            ],
        );
        check("act", &rules, None, &expect![""]);
        check("report", &[], None, &expect![""]);
    }

    #[test]
    fn a_rule_applies_to_the_repositories_with_one_of_its_prefixes() {
        let other = rule(Some(&["infrastructures", "prod/"]), "us-west-2", true);
        check("report", &[other], None, &expect![""]);
        let own = rule(Some(&["prod/", "infrastructure"]), "us-west-2", false);
        check(
            "report",
            &[own],
            None,
            &expect![
                "replication copies the images of infrastructure to account 210987654321 in us-west-2 (without deletions), and WhenReplicated is report"
            ],
        );
    }

    #[test]
    fn a_replica_is_reported_although_its_policy_says_act() {
        for when in ["report", "act"] {
            check(
                when,
                &[rule(None, "eu-west-1", true)],
                Some("us-west-2"),
                &expect![
                    "replication copies the images of infrastructure from account 123456789012 in us-west-2, so change them there"
                ],
            );
        }
    }

    #[test]
    fn a_registry_is_an_account_in_a_region() {
        for (account, region) in [
            ("12345678901", "us-east-1"),
            ("1234567890123", "us-east-1"),
            ("12345678901x", "us-east-1"),
            ("123456789012", ""),
            ("123456789012", "us east"),
            ("123456789012", "`curl`"),
        ] {
            assert_eq!(RemoteRegistry::new(account, region), None, "{account} {region}");
        }
    }

    proptest! {
        /// For any set of rules: a repository that a rule matches is not changed unless its policy
        /// allows the change, and a replica is never changed.
        /// See case A12 in docs/contributing/prior-art.md.
        #[test]
        fn nothing_is_changed_where_a_rule_matches(
            prefixes in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec("(i|in|infra|infrastructure|prod)", 0..3)),
                0..4,
            ),
            deletes in any::<bool>(),
            acts in any::<bool>(),
            is_replica in any::<bool>(),
        ) {
            let when = if acts { "act" } else { "report" };
            let policy = policy(GUIDE, &[("Retention.WhenReplicated", Value::from(when))]);
            let rules: Vec<ReplicationRule> = prefixes
                .iter()
                .map(|prefixes| ReplicationRule { prefixes: prefixes.clone(), ..rule(None, "eu-west-1", deletes) })
                .collect();
            let matches = prefixes.iter().any(|prefixes| match prefixes {
                None => true,
                Some(prefixes) => prefixes.iter().any(|prefix| prefix != "prod"),
            });
            let source = is_replica.then(|| remote("123456789012", "us-west-2"));
            let found = Replication::find(&policy.repository_name, &rules, source);
            let is_reported = found.reason_to_report(&policy).is_some();
            prop_assert_eq!(is_reported, is_replica || (matches && !acts));
            prop_assert_eq!(found.is_empty(), !matches && !is_replica);
        }
    }
}
