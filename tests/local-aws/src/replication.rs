//! Carries changes from registry to registry.

use std::collections::BTreeMap;

use crate::State;
use crate::ecr::replication::Place;
use crate::policy::{Caller, Decision, Document, Request};

impl State {
    /// Hands on what registries replicate.
    ///
    /// Another account has to let the source replicate, by the policy of its registry
    /// (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/replication.html#replication-policy-clarification>).
    /// Guess: removals need no right of their own, and a change that is refused is dropped without
    /// an event.
    pub(crate) fn replicate(&mut self) {
        let mut due = Vec::new();
        for (source, registry) in &mut self.registries {
            let outgoing = std::mem::take(&mut registry.outgoing);
            due.extend(outgoing.into_iter().map(|outgoing| (source.clone(), outgoing)));
        }
        for (source, outgoing) in due {
            let (account, region) = outgoing.destination.clone();
            if account == source.0
                || self.may_replicate(&source, &outgoing.destination, &outgoing.repository)
            {
                self.registry(&account, &region).receive(&source, outgoing);
            }
        }
    }

    fn may_replicate(&mut self, source: &Place, destination: &Place, repository: &str) -> bool {
        let (account, region) = destination;
        let registry = self.registry(account, region);
        let is_new = !registry.repositories.contains_key(repository);
        let Some(policy) = registry.settings.policy.as_deref() else { return false };
        let Ok(policy) = Document::parse(policy) else { return false };
        let role = "aws-service-role/replication.ecr.amazonaws.com/AWSServiceRoleForECRReplication";
        let allows = |action: &str| {
            let request = Request {
                caller: Caller::Role {
                    arn: format!("arn:aws:iam::{}:role/{role}", source.0),
                    session: "ecr".to_owned(),
                },
                action: action.to_owned(),
                resource: format!("arn:aws:ecr:{region}:{account}:repository/{repository}"),
                context: BTreeMap::new(),
            };
            matches!(policy.decide(&request), Decision::AllowsAccount | Decision::Allows)
        };
        allows("ecr:ReplicateImage") && (!is_new || allows("ecr:CreateRepository"))
    }
}
