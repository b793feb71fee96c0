//! Judges the tag of each pushed image, and enforces the policy.
//!
//! The function records a push to a governed repository, because ECR does not report when an image got its
//! tag. A push queues a sweep, at most once an hour for each repository. Most pushes conform. After the first
//! event has read the policy, such a push costs one call, which records the push. For a violation the function
//! claims the fact in the ledger, reads the image again, prints the plan, applies the plan, publishes an
//! alert and settles the claim. It reads the image again because an event may arrive late, twice, or twice
//! at the same time. If an attempt is killed at any point, the next attempt still publishes the outcome. If
//! one event is handled twice, the outcome is published once.
//!
//! An error makes Lambda try the event again: two more attempts, after one and three minutes, and
//! then the event goes to a dead-letter queue. Therefore the function's timeout (45 s) is shorter
//! than the lease of a claim ([`warden_aws::ledger::LEASE`]), and the lease is shorter than a minute.
//! Tests set the time and the request ID, which are arguments.
//!
//! In reading order: [`config`], [`handle`] in this file, `enforce`, `interrupted`, `unit`,
//! `native_rules`, `sweep`.

pub mod config;
mod enforce;
mod interrupted;
mod native_rules;
mod sweep;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::bail;
use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::info;
use warden_alerts::{About, Alert};
use warden_aws::alerts::{AlertDestinations, AlertSettings};
use warden_aws::event::is_young;
use warden_aws::http::Roots;
use warden_aws::ledger::{Claim, Fact, Ledger, PreviousClaim};
use warden_aws::policy::DeployedPolicy;
use warden_aws::push::{ImagePush, read_push};
use warden_aws::recheck_queue::RecheckQueue;
use warden_aws::registry::{Manifest, Registry};
use warden_aws::replication::{self, ReplicatedImage, read_replication};
use warden_aws::sweep_queue::SweepQueue;
use warden_aws::telemetry::Counts;
use warden_aws::{Invocation, join_errors, serve};
use warden_core::artifact::ArtifactKind;
use warden_core::enforcement::EnforcementOutcome;
use warden_core::graph::children;
use warden_core::image::{Digest, Tag};
use warden_core::policy::Policy;
use warden_core::policy::RepositoryOrigin;
use warden_core::policy::Unmatched;
use warden_core::tagging::{TagVerdict, Violation, judge_image};

use crate::config::Config;
use crate::enforce::Judged;
use crate::sweep::ClaimedSweeps;

/// The rule in the log line of a push into a repository that no rule of the policy matches. The rules of tags
/// are [`warden_core::tagging::TagRule`].
const REPOSITORY_RULE: &str = "repository";

/// The outcome that the ledger stores for a published alert about a repository.
const PUBLISHED: &str = "published";

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// The environment.
    pub config: Config,
    /// The policy of the deployment.
    pub policy: DeployedPolicy,
    /// The ECR client.
    pub registry: Registry,
    /// The topic and the bus that alerts are published to.
    pub alerts: AlertDestinations,
    /// Claims and published facts.
    pub ledger: Ledger,
    /// The queue of sweeps.
    pub queue: SweepQueue,
    /// The queue of rechecks.
    pub rechecks: RecheckQueue,
    claimed_sweeps: ClaimedSweeps,
}

impl Context {
    /// Builds the clients of one SDK configuration, which share one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            policy: DeployedPolicy::new(config.policy_version.clone()),
            registry: Registry::new(sdk),
            alerts: AlertDestinations::new(
                sdk,
                AlertSettings {
                    topic_arn: config.topic.clone(),
                    bus_name: config.bus.clone(),
                    documentation: config.documentation.clone(),
                    stack: config.stack_name.clone(),
                    policy: config.policy_version.clone(),
                },
            ),
            ledger: Ledger::new(sdk, config.table.clone()),
            queue: SweepQueue::new(sdk, config.queue.clone()),
            rechecks: RecheckQueue::new(sdk, config.rechecks.clone()),
            claimed_sweeps: ClaimedSweeps::default(),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    // The first event reads the policy, so the TLS roots are parsed while Lambda starts the function.
    let roots = Roots::AtStart;
    let build = |sdk: &SdkConfig| Ok(Context::new(Config::read(std::env::vars())?, sdk));
    serve(roots, build, async |context, payload, Invocation { request_id, now, .. }| {
        handle(context, &payload, &request_id, now).await
    })
    .await
}

/// The push that an invocation judges.
struct Judgement<'a> {
    context: &'a Context,
    push: &'a ImagePush,
    request_id: &'a str,
    now: DateTime<Utc>,
}

/// Judges one push and enforces the policy. An event of replication marks its repository as a
/// replica. All attempts of one invocation have the same request ID. After an error Lambda tries
/// the event again.
pub async fn handle(
    context: &Context,
    payload: &Value,
    request_id: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    if payload["detail-type"] == replication::DETAIL_TYPE {
        return record_replica(context, payload, now).await;
    }
    let Some(push) = read_push(payload)? else { return Ok(()) };
    let judgement = Judgement { context, push: &push, request_id, now };
    let governance = context.policy.get(&context.ledger).await?;
    // An error of the judgement does not prevent the other steps.
    if let Some(policy) = governance.rule_for(&push.about.repository, RepositoryOrigin::Pushed) {
        let judged = judgement.judge_push(&policy).await;
        return join_errors(judged, judgement.record_push_and_queue_sweep().await);
    }
    let interrupted = judgement.publish_interrupted().await;
    let unmatched = match governance.document.unmatched {
        Unmatched::Report => judgement.report_unmatched_repository().await,
        Unmatched::Ignore => Ok(()),
    };
    join_errors(interrupted, unmatched)
}

/// Records in the ledger that a repository is a replica. Nothing in a replica is changed.
async fn record_replica(
    context: &Context,
    payload: &Value,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let Some(ReplicatedImage { repository, source }) = read_replication(payload)? else {
        return Ok(());
    };
    info!(repository.name = %repository, "{repository} is a replica: ECR copies images from {source}");
    context.ledger.record_replica(&repository, &source, now).await
}

impl Judgement<'_> {
    /// Judges the push by its repository's policy. If an index was pushed with a tag, records in the
    /// ledger which images are its parts. An index without a tag is a step of a build: buildx makes one
    /// for each platform, and then the index with the tag, which has the same images.
    async fn judge_push(&self, policy: &Policy) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.push.about;
        let Some(tag) = &self.push.tag else { return Ok(()) };
        let manifest = if self.push.may_be_index() {
            self.context.registry.manifest(repository, digest).await
        } else {
            Ok(None)
        };
        // The tag is enforced even if the manifest cannot be read. That error is returned below.
        self.judge_tag(policy, tag, manifest.as_ref().ok().and_then(Option::as_ref)).await?;
        let manifest = manifest?;
        if manifest.is_none() && self.push.may_be_index() && self.is_young() {
            bail!("ECR does not know {repository}@{digest} yet; Lambda tries the event again");
        }
        match manifest.filter(Manifest::is_index) {
            Some(index) => self.record_parts(tag, &children(&index.text)?).await,
            None => Ok(()),
        }
    }

    /// Records the parts of the pushed index, and queues a recheck of the images that were scanned before.
    /// This function records the parts first. So `scan-complete` finds the index, or this function finds the
    /// recorded scan. One race is left: `scan-complete` reads the ledger before the parts are recorded, and records
    /// the scan after this function has looked for it. An image that waits for its index has a recheck in the
    /// queue, and the recheck finds the index. An image that has a tag or is older than six hours has no recheck,
    /// so its findings stay with the image alone.
    async fn record_parts(
        &self,
        tag: &Tag,
        parts: &BTreeMap<Digest, ArtifactKind>,
    ) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.push.about;
        let Context { ledger, rechecks, .. } = self.context;
        let none = BTreeSet::new();
        ledger.record_children(repository, digest, tag, parts, &none, self.now).await?;
        let images = parts.iter().filter(|(_, kind)| kind.may_be_image());
        let images: Vec<&Digest> = images.map(|(image, _)| image).collect();
        let scanned = ledger.find_scanned_alone(repository, &images).await?;
        if scanned.is_empty() {
            return Ok(());
        }
        ledger.record_children(repository, digest, tag, parts, &scanned, self.now).await?;
        info!(
            repository.name = %repository, image.digest = %digest,
            "{repository}:{tag}: {} images were scanned before the push; their findings are compared again",
            scanned.len()
        );
        let about = |image| About { digest: image, ..self.push.about.clone() };
        let scanned: Vec<About> = scanned.into_iter().map(about).collect();
        rechecks.send(&scanned, Duration::ZERO).await
    }

    /// Judges a tag, enforces the policy if the tag violates it, and writes the metrics. Counts of each
    /// repository would cost more with each repository.
    async fn judge_tag(
        &self,
        policy: &Policy,
        tag: &Tag,
        manifest: Option<&Manifest>,
    ) -> anyhow::Result<()> {
        let Context { policy: deployed, registry, ledger, .. } = self.context;
        let About { repository, digest, .. } = &self.push.about;
        match judge_image(policy, digest, tag, self.now.date_naive()) {
            TagVerdict::Exempt(_) => return self.publish_interrupted().await,
            TagVerdict::Conforming(_) => self.count_push(None, None),
            TagVerdict::Violation(_) => {
                // A cache or replication may fill the repository. Then its own rule, or none, governs it.
                let found = Box::pin(deployed.find_rule(repository, registry, ledger)).await?;
                let Some(policy) = found else {
                    info!(repository.name = %repository, "{repository}:{tag} is not judged: a cache or replication fills {repository}");
                    return self.publish_interrupted().await;
                };
                let judged_again = judge_image(&policy, digest, tag, self.now.date_naive());
                let TagVerdict::Violation(violation) = judged_again else {
                    return self.publish_interrupted().await;
                };
                if let Some(earlier) = self.find_interrupted().await?
                    && earlier.tag_enforcement() != policy.tag_enforcement()
                {
                    return self.publish_outcome_of(&earlier).await;
                }
                let judged = Judged { policy: &policy, violation: &violation, is_deployed: true };
                let outcome = self.enforce(tag, &judged, manifest).await?;
                self.count_push(Some(&violation), outcome);
                return Ok(());
            }
        }
        self.publish_interrupted().await
    }

    /// Writes the metrics of a judged push.
    fn count_push(&self, violation: Option<&Violation>, outcome: Option<EnforcementOutcome>) {
        let counts = || Counts::new("Stack", &self.context.config.stack_name);
        if let Some(violation) = violation.filter(|_| outcome.is_some()) {
            let violations = counts().and("Rule", &violation.rule);
            violations.one("Violations").write(self.request_id, self.now);
        }
        let judged = counts().one("PushesJudged");
        let counts = match outcome {
            Some(EnforcementOutcome::Untagged) => judged.one("Untagged"),
            Some(EnforcementOutcome::Quarantined) => judged.one("Quarantined"),
            Some(EnforcementOutcome::Archived) => judged.one("Archived"),
            Some(EnforcementOutcome::Reported) | None => judged,
        };
        counts.write(self.request_id, self.now);
    }

    /// Claims a fact for this request and its event. `policy` is the policy that may change the image.
    async fn claim(&self, fact: Fact<'_>, policy: Option<&Policy>) -> anyhow::Result<Claim> {
        let event_id = &self.push.about.source.id;
        let policy = policy.map(Policy::normalised);
        let Context { ledger, .. } = self.context;
        ledger.claim(fact, self.request_id, event_id, policy.as_deref(), self.now).await
    }

    fn is_young(&self) -> bool {
        is_young(&self.push.about.source, self.now)
    }

    /// Publishes, once for a repository, that an image was pushed to it although no rule matches it.
    async fn report_unmatched_repository(&self) -> anyhow::Result<()> {
        let ImagePush { about, tag, .. } = self.push;
        let repository = &about.repository;
        let fact = Fact::RepositoryViolation { repository };
        match self.claim(fact, None).await? {
            // The other invocation, or a retry of it, publishes the alert.
            Claim::Theirs { .. } => return Ok(()),
            Claim::Ours(PreviousClaim { published: Some(_), .. }) => {
                return self.context.ledger.settle(fact, self.request_id, None, self.now).await;
            }
            Claim::Ours(_) => {}
        }
        let alert = warden_alerts::repository_violation(about, tag.as_ref());
        info!(
            repository.name = %repository,
            image.digest = %about.digest,
            image.tag = tag.as_ref().map(Tag::as_str),
            violation.rule = REPOSITORY_RULE,
            action = %EnforcementOutcome::Reported,
            policy.version = self.context.config.policy_version,
            "{}",
            alert.title,
        );
        self.publish(fact, &alert, PUBLISHED, PUBLISHED).await
    }

    /// Publishes the alert of a claimed fact, and settles the claim with its outcome. `identity` is the
    /// same in each attempt.
    async fn publish(
        &self,
        fact: Fact<'_>,
        alert: &Alert,
        outcome: &str,
        identity: &str,
    ) -> anyhow::Result<()> {
        let Context { alerts, ledger, .. } = self.context;
        alerts.publish(ledger, alert, &fact.to_string(), identity, self.now).await?;
        ledger.settle(fact, self.request_id, Some(outcome), self.now).await
    }
}
