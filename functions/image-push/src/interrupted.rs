//! Publishes the outcome of an interrupted attempt whose policy does not govern the tag any more.
//!
//! An attempt may be killed after it changed the image and before it published that. Its event is tried
//! again, or waits in the dead-letter queue, and meanwhile the policy or the origin of the repository's
//! images may change. The tag may then be accepted, or another enforcement may apply to it.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta};
use warden_alerts::About;
use warden_aws::ledger::{Fact, LEASE};
use warden_core::policy::Policy;
use warden_core::tagging::{TagVerdict, judge_image};

use crate::Judgement;
use crate::enforce::Judged;

impl Judgement<'_> {
    /// Publishes what an interrupted attempt has done, if there was one. Changes nothing else.
    pub(crate) async fn publish_interrupted(&self) -> anyhow::Result<()> {
        match self.find_interrupted().await? {
            Some(earlier) => self.publish_outcome_of(&earlier).await,
            None => Ok(()),
        }
    }

    /// Publishes what an interrupted attempt has done by this policy.
    pub(crate) async fn publish_outcome_of(&self, earlier: &Policy) -> anyhow::Result<()> {
        let Some(tag) = &self.push.tag else { return Ok(()) };
        let digest = &self.push.about.digest;
        let verdict = judge_image(earlier, digest, tag, self.now.date_naive());
        if let TagVerdict::Violation(violation) = &verdict {
            let judged = Judged { policy: earlier, violation, is_deployed: false };
            let outcome = Box::pin(self.enforce(tag, &judged, None)).await?;
            self.count_push(Some(violation), outcome);
        }
        Ok(())
    }

    /// Finds the policy by which an interrupted attempt may have changed the image. One call, for an
    /// event that is old enough to be tried again: Lambda waits longer than [`LEASE`] after an attempt.
    pub(crate) async fn find_interrupted(&self) -> anyhow::Result<Option<Policy>> {
        let About { repository, digest, source, .. } = &self.push.about;
        let Some(tag) = &self.push.tag else { return Ok(None) };
        let age = DateTime::parse_from_rfc3339(&source.time)
            .map(|time| self.now.signed_duration_since(time));
        if age.is_ok_and(|age| age < TimeDelta::from_std(LEASE).unwrap_or_default()) {
            return Ok(None);
        }
        let fact = Fact::TagViolation { repository, digest, tag };
        let policy = self.context.ledger.interrupted_enforcement(fact).await?;
        let policy = policy.map(|policy| Policy::parse(&policy)).transpose();
        policy
            .with_context(|| format!("the policy of an interrupted attempt on {repository}:{tag}"))
    }
}
