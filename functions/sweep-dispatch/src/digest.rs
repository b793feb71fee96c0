//! Publishes the digests: what the rules that only report found, one alert for each owner.
//!
//! The first round of an ISO week publishes the digests of the week before. A person can ask for the digests of
//! the present week at any time. Each owner's digest is a fact of the ledger, so a round that is killed between
//! two owners publishes the others when it is retried.
//!
//! A round also publishes the warnings of the policy, once for each version.

use std::collections::BTreeMap;

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tracing::info;
use warden_alerts::{Alert, DigestWeek, RepositoryReport, RoundContext, Source};
use warden_aws::environment::DeploymentScope;
use warden_aws::ledger::{Claim, Fact, PreviousClaim, week};
use warden_core::image::RepositoryName;
use warden_core::policy::{CleanupEnforcement, Owner, Policy};

use crate::{Context, Governed};

/// The outcome that the ledger stores for a published alert.
const PUBLISHED: &str = "published";

/// The alerts of one invocation.
pub struct Publication<'a> {
    context: &'a Context,
    request_id: &'a str,
    source: Source,
    now: DateTime<Utc>,
}

/// The governed repositories of an owner.
#[derive(Default)]
struct Owned<'a> {
    governed: usize,
    found: Vec<(&'a RepositoryName, RepositoryReport)>,
}

impl<'a> Publication<'a> {
    pub fn new(context: &'a Context, request_id: &'a str, now: DateTime<Utc>) -> Self {
        let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { context, request_id, source: Source { id: request_id.to_owned(), time }, now }
    }

    /// Publishes the digests of the week before this one, unless that was done before. One call in each other
    /// round of the week.
    pub async fn publish_last_week(&self, governed: &[Governed]) -> anyhow::Result<()> {
        let week = week(self.now - TimeDelta::weeks(1));
        let fact = Fact::Digests { week: &week };
        if self.context.ledger.is_published(fact).await? {
            return Ok(());
        }
        let week = DigestWeek { week: &week, is_over: true };
        let publish = async || self.publish_digests(week, week.week, governed).await.map(drop);
        self.once(fact, publish).await
    }

    /// Publishes the warnings of the policy, unless a round published them for this version. No call for a policy
    /// without warnings, and one call for warnings that are published.
    pub async fn publish_warnings(&self) -> anyhow::Result<()> {
        let Context { config, policy, ledger, .. } = self.context;
        let warnings = policy.get(ledger).await?.warnings();
        let fact = Fact::PolicyWarnings { version: &config.policy_version };
        if warnings.is_empty() || ledger.is_published(fact).await? {
            return Ok(());
        }
        let alert = warden_alerts::policy_warnings(&self.place(), &warnings);
        self.once(fact, async || self.publish(fact, &alert).await).await
    }

    /// Publishes the digests of this week until now. Returns the number of alerts.
    pub async fn publish_this_week(&self, governed: &[Governed]) -> anyhow::Result<usize> {
        let week = week(self.now);
        let week = DigestWeek { week: &week, is_over: false };
        self.publish_digests(week, self.request_id, governed).await
    }

    /// Publishes the digest of each owner with something to report. `period` identifies the digests: it is the
    /// same in each attempt. Returns the number of owners.
    async fn publish_digests(
        &self,
        week: DigestWeek<'_>,
        period: &str,
        governed: &[Governed],
    ) -> anyhow::Result<usize> {
        let owners = self.find_reports(week.week, governed).await?;
        let count = owners.len();
        for (owner, Owned { governed, found }) in owners {
            let alert = warden_alerts::report(&self.place(), week, owner, governed, found);
            let fact = Fact::Digest { period, owner };
            self.once(fact, async || self.publish(fact, &alert).await).await?;
        }
        Ok(count)
    }

    /// Finds what the rules reported, by owner. Leaves out owners without anything to report.
    async fn find_reports<'g>(
        &self,
        week: &str,
        governed: &'g [Governed],
    ) -> anyhow::Result<BTreeMap<Option<&'g Owner>, Owned<'g>>> {
        let ledger = &self.context.ledger;
        let names = governed.iter().map(|governed| &governed.policy.repository_name);
        let mut reports = ledger.reports(names, week).await?;
        let doubtful = governed.iter().filter(|governed| {
            governed.depends_on_origin && reports.contains_key(&governed.policy.repository_name)
        });
        let doubtful = doubtful.map(|governed| &governed.policy.repository_name);
        let replicas = ledger.select_replicas(doubtful).await?;
        let mut owners: BTreeMap<Option<&Owner>, Owned<'_>> = BTreeMap::new();
        for Governed { policy, .. } in governed {
            let name = &policy.repository_name;
            if replicas.contains(name) {
                continue;
            }
            let owned = owners.entry(policy.owner.as_ref()).or_default();
            owned.governed += 1;
            let mut report = reports.remove(name).unwrap_or_default();
            // The rule may enforce the cleanup since the last sweep.
            report.plan = report.plan.filter(|_| only_reports_cleanup(policy));
            if !report.is_empty() {
                owned.found.push((name, report));
            }
        }
        owners.retain(|_, owned| !owned.found.is_empty());
        Ok(owners)
    }

    fn place(&self) -> RoundContext<'_> {
        let DeploymentScope { account, region, function, .. } = &self.context.config.place;
        RoundContext { account, region, function, source: &self.source }
    }

    async fn publish(&self, fact: Fact<'_>, alert: &Alert) -> anyhow::Result<()> {
        let Context { alerts, ledger, .. } = self.context;
        info!("{}", alert.title);
        alerts.publish(ledger, alert, &fact.to_string(), PUBLISHED, self.now).await
    }

    /// Publishes a fact, unless it is published.
    async fn once(
        &self,
        fact: Fact<'_>,
        publish: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Self { context: Context { ledger, .. }, request_id, now, .. } = self;
        let claim = ledger.claim(fact, request_id, request_id, None, *now).await?;
        let Claim::Ours(PreviousClaim { published, .. }) = claim else {
            bail!("another invocation is publishing {fact}; Lambda tries the event again");
        };
        let outcome = if published.is_some() {
            None
        } else {
            publish().await?;
            Some(PUBLISHED)
        };
        ledger.settle(fact, request_id, outcome, *now).await
    }
}

fn only_reports_cleanup(policy: &Policy) -> bool {
    policy.retention.is_some() && policy.cleanup() == CleanupEnforcement::Report
}
