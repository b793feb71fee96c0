//! The copies of an image in other registries, as alerts describe them.

use serde_json::{Value, json};
use warden_core::replication::Replication;

/// The sentences of an alert about a change and its copies: `subject`, such as `The tag v1 lives`,
/// lives on where the change is not replicated. Archiving never is.
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
            " {subject} on in {others}, because ECR does not replicate {action} there: repeat it \
             there if it is wanted."
        );
    }
    text
}

/// The destinations for programs. None if there are none.
pub fn copies(replication: &Replication) -> Option<Value> {
    replication.destinations().next()?;
    let destination = |(remote, deletions): (&warden_core::replication::RemoteRegistry, bool)| json!({"account": remote.account(), "region": remote.region(), "deletions": deletions});
    Some(replication.destinations().map(destination).collect())
}
