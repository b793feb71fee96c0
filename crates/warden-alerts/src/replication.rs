//! The sentences of alerts about the copies of an image in other registries.

use serde_json::{Value, json};
use warden_core::replication::{RemoteRegistry, Replication};

/// The sentences about a change and the copies of the image. `subject` is the begin of the sentence about
/// the registries to which ECR does not replicate the change, such as `The tag v1 still exists`. ECR
/// never replicates archiving.
pub fn copies_text(replication: &Replication, is_archived: bool, subject: &str) -> String {
    let named = |is_carried: bool| {
        let destinations = replication.destinations();
        let destinations =
            destinations.filter(|(_, deletes)| (*deletes && !is_archived) == is_carried);
        let named: Vec<String> = destinations.map(|(remote, _)| remote.to_string()).collect();
        (!named.is_empty()).then(|| named.join(", "))
    };
    let mut text = String::new();
    if let Some(carried) = named(true) {
        text += &format!(" ECR replicates the removal to {carried}.");
    }
    if let Some(others) = named(false) {
        let action = if is_archived { "archiving" } else { "the removal" };
        text += &format!(
            " {subject} in {others}, because ECR does not replicate {action} there. Repeat {action} \
             there to remove the copies."
        );
    }
    text
}

/// The destinations of the copies as JSON. None without a destination.
pub fn copies(replication: &Replication) -> Option<Value> {
    replication.destinations().next()?;
    let destination = |(remote, deletions): (&RemoteRegistry, bool)| json!({"account": remote.account(), "region": remote.region(), "deletions": deletions});
    Some(replication.destinations().map(destination).collect())
}

/// The registry from which the images are copied, as JSON. None if the repository is not a replica.
pub fn source(replication: &Replication) -> Option<Value> {
    let source = replication.source()?;
    Some(json!({"account": source.account(), "region": source.region()}))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use warden_core::replication::ReplicationRule;

    use super::*;

    fn check(destinations: &[(&str, bool)], is_archived: bool, expected: &Expect) {
        let rule = |(region, replicates_deletions): &(&str, bool)| ReplicationRule {
            prefixes: None,
            destinations: vec![RemoteRegistry::new("210987654321", region).unwrap()],
            replicates_deletions: *replicates_deletions,
        };
        let rules: Vec<ReplicationRule> = destinations.iter().map(rule).collect();
        let found = Replication::find(&"infrastructure".parse().unwrap(), &rules, None);
        let text = copies_text(&found, is_archived, "The tag v1 still exists");
        expected.assert_eq(&format!("{text}\n{}", copies(&found).unwrap_or_default()));
    }

    #[test]
    fn the_text_names_each_registry_in_which_the_tag_still_exists() {
        check(
            &[],
            false,
            &expect![[r#"

            null"#]],
        );
        check(
            &[("us-west-2", true)],
            false,
            &expect![[r#"
             ECR replicates the removal to account 210987654321 in us-west-2.
            [{"account":"210987654321","deletions":true,"region":"us-west-2"}]"#]],
        );
        check(
            &[("us-west-2", true), ("eu-west-1", false)],
            false,
            &expect![[r#"
                 ECR replicates the removal to account 210987654321 in us-west-2. The tag v1 still exists in account 210987654321 in eu-west-1, because ECR does not replicate the removal there. Repeat the removal there to remove the copies.
                [{"account":"210987654321","deletions":false,"region":"eu-west-1"},{"account":"210987654321","deletions":true,"region":"us-west-2"}]"#]],
        );
        // ECR does not replicate archiving, even with a rule that replicates deletions.
        check(
            &[("us-west-2", true)],
            true,
            &expect![[r#"
                 The tag v1 still exists in account 210987654321 in us-west-2, because ECR does not replicate archiving there. Repeat archiving there to remove the copies.
                [{"account":"210987654321","deletions":true,"region":"us-west-2"}]"#]],
        );
    }
}
