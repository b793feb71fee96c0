//! Names and tags are enforced the moment an image arrives.
//!
//! Most pushes are called what they should be, and end after a judgement, without a call. A
//! violation is claimed in the ledger first, and then the image is read again, because an event
//! may come late, twice, or twice at once: gather, decide, print, act, publish. The claim is
//! settled at the end. So an outcome is published although an attempt was killed at any point,
//! and published once although the event was attempted twice.
//!
//! An error is how an attempt says that there is to be another: Lambda makes two more, a minute
//! and three later, and then hands the event to a queue. So the function's time (45 s) is
//! shorter than a claim's ([`warden_aws::ledger::LEASE`]), and that shorter than the minute. Time and
//! the request's ID are arguments, for tests to set.
//!
//! In reading order: [`config`], and [`handle`] here.

pub mod config;
mod native_rules;

use std::collections::HashSet;

use anyhow::{Context as _, anyhow, bail, ensure};
use aws_config::SdkConfig;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tracing::{error, info, warn};
use warden_alerts::{About, Alert};
use warden_aws::alerts::Topic;
use warden_aws::event::is_young;
use warden_aws::http::Roots;
use warden_aws::ledger::{Claim, Fact, Ledger, PreviousClaim};
use warden_aws::push::{ImagePush, read_push};
use warden_aws::registry::{ImageDescription, Manifest, Registry, VisibilityError};
use warden_aws::replication::{self, ReplicatedImage, find_replication, read_replication};
use warden_aws::telemetry::Counts;
use warden_aws::{Invocation, serve};
use warden_core::arena::ImageId;
use warden_core::enforcement::{
    EnforcementOutcome, EnforcementPlan, EnforcementStep, PushEvidence, plan_enforcement,
    undo_archiving,
};
use warden_core::graph::{Graph, ImageRecord, Inventory, children};
use warden_core::image::{Digest, Image, ImageStatus, RepositoryName, Tag};
use warden_core::policy::{Policy, TagEnforcement};
use warden_core::retention::{UnitRecord, UnitRemover};
use warden_core::tagging::{TagVerdict, Violation, is_accepted_tag, is_expected, judge_image};

use crate::config::Config;

/// What the rule of repositories' names is called where those of tags are
/// [`warden_core::tagging::TagRule`].
const REPOSITORY: &str = "repository";

/// The configuration and the clients, built once.
#[derive(Debug)]
pub struct Context {
    /// What is governed, and how.
    pub config: Config,
    /// Images.
    pub registry: Registry,
    /// Where alerts go.
    pub alerts: Topic,
    /// Claims and published facts.
    pub ledger: Ledger,
}

impl Context {
    /// Clients of one SDK configuration, and so of one HTTP client.
    #[must_use]
    pub fn new(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            registry: Registry::new(sdk),
            alerts: Topic::new(sdk, config.topic.clone()),
            ledger: Ledger::new(sdk, config.table.clone()),
            config,
        }
    }
}

/// Serves the Lambda runtime until Lambda ends the process.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    // Most pushes conform, and end without a call.
    let roots = Roots::AtFirstCall;
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

/// An image as enforcement needs it.
struct Gathered {
    image: Image,
    is_immutable: bool,
    pushed_at: Option<DateTime<Utc>>,
}

/// Judges one push, and enforces the policy; or notes that a repository is a replica. The request
/// ID is that of the invocation, the same in each of its attempts. After an error it is to be tried
/// again.
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
    let governed = match context.config.policies.rule_for(&push.about.repository) {
        Some(policy) => judgement.govern(policy).await,
        None => Ok(()),
    };
    // Neither stands in the other's way.
    let named = if is_expected(&context.config.patterns, &push.about.repository) {
        Ok(())
    } else {
        judgement.tell_of_repository().await
    };
    match (governed, named) {
        (Err(one), Err(other)) => Err(one.context(format!("{other:#}; and"))),
        (governed, named) => governed.and(named),
    }
}

/// Notes that a governed repository is a replica, so that nothing in it is changed.
async fn record_replica(
    context: &Context,
    payload: &Value,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let Some(ReplicatedImage { repository, source }) = read_replication(payload)? else {
        return Ok(());
    };
    if context.config.policies.rule_for(&repository).is_none() {
        return Ok(());
    }
    info!(repository.name = %repository, "{repository} is a replica: ECR copies images from {source}");
    context.ledger.record_replica(&repository, &source, now).await
}

impl Judgement<'_> {
    /// Judges the push by its repository's policy, and notes of what index its images are.
    async fn govern(&self, policy: &Policy) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.push.about;
        let manifest = if self.push.may_be_index() {
            self.context.registry.manifest(repository, digest).await
        } else {
            Ok(None)
        };
        if let Some(tag) = &self.push.tag {
            // That it cannot be read is an error below; its tag is enforced all the same.
            let manifest = manifest.as_ref().ok().and_then(Option::as_ref);
            self.judge(policy, tag, manifest).await?;
        }
        let manifest = manifest?;
        if manifest.is_none() && self.push.may_be_index() && self.is_young() {
            bail!("ECR does not know {repository}@{digest} yet; to be tried again");
        }
        if let Some(index) = manifest.filter(Manifest::is_index) {
            let parts = children(&index.text)?;
            let (ledger, tag) = (&self.context.ledger, self.push.tag.as_ref());
            ledger.record_children(repository, digest, tag, &parts, self.now).await?;
        }
        Ok(())
    }

    /// Judges a tag, enforces the policy if it is broken, and counts.
    async fn judge(
        &self,
        policy: &Policy,
        tag: &Tag,
        manifest: Option<&Manifest>,
    ) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.push.about;
        let judged = Counts::new("Repository", repository).one("PushesJudged");
        let counts = match judge_image(policy, digest, tag, self.now.date_naive()) {
            TagVerdict::Exempt(_) => return Ok(()),
            TagVerdict::Conforming(_) => judged,
            TagVerdict::Violation(violation) => {
                let done = self.enforce(policy, tag, &violation, manifest).await?;
                if done.is_some() {
                    let broken = Counts::new("Repository", repository).and("Rule", &violation.rule);
                    broken.one("Violations").write(self.request_id, self.now);
                }
                match done {
                    Some(EnforcementOutcome::Untagged) => judged.one("Untagged"),
                    Some(EnforcementOutcome::Quarantined) => judged.one("Quarantined"),
                    Some(EnforcementOutcome::Archived) => judged.one("Archived"),
                    Some(EnforcementOutcome::Reported) | None => judged,
                }
            }
        };
        counts.write(self.request_id, self.now);
        Ok(())
    }

    /// Does what the policy says about a tag that breaks it, and tells. Gives what was done
    /// about it, unless there was nothing left to do and to tell.
    async fn enforce(
        &self,
        policy: &Policy,
        tag: &Tag,
        violation: &Violation,
        manifest: Option<&Manifest>,
    ) -> anyhow::Result<Option<EnforcementOutcome>> {
        let About { repository, digest, .. } = &self.push.about;
        let fact = Fact::TagViolation { repository, digest, tag };
        let before = match self.claim(fact).await? {
            Claim::Ours(before) => before,
            // The retries of that invocation cover a crash.
            Claim::Theirs { has_same_event: true } => return Ok(None),
            // When they are done the tag may be there again, by a push of its own, for which
            // this event is the only one: Lambda tries again.
            Claim::Theirs { has_same_event: false } => {
                bail!("another invocation is at work on {fact}; to be tried again")
            }
        };
        let found = self.gather(policy, tag).await;
        let found = self.check_gathered(fact, &before, tag, found).await?;
        let (image, mut plan) = match found {
            Some(Gathered { image, is_immutable, pushed_at }) => {
                let today = self.now.date_naive();
                // An attempt that was cut off may have archived it before it got a good tag.
                let undo = undo_archiving(policy, &image).filter(|_| before.was_begun);
                let plan = undo
                    .unwrap_or_else(|| plan_enforcement(policy, tag, &image, is_immutable, today));
                (image, self.require_recent_push(plan, pushed_at, &before))
            }
            None => (self.as_pushed(vec![]), EnforcementPlan::gone()),
        };
        plan = self.check_replication(policy, fact, &before, plan).await?;
        if let Err(error) = self.heed_native_rules(policy, &image, &mut plan).await {
            self.give_back(fact, &before).await;
            return Err(error);
        }
        let unit = self.unit(policy, &mut plan, &before).await?;
        let unit = unit.as_ref();
        info!(
            repository.name = %repository,
            image.digest = %digest,
            image.tag = %tag,
            violation.rule = %violation.rule,
            reason = violation.reason,
            action = %plan.action,
            unit.images = unit.map(|unit| unit.images().count()),
            "{repository}:{tag} {}: {plan}",
            violation.reason,
        );
        let hit = self.act(manifest, unit, &plan).await?;
        if plan.steps.contains(&EnforcementStep::Archive) {
            let found = self.context.registry.image(repository, digest).await?;
            let undo = found.as_ref().map_or_else(
                || Some(EnforcementPlan { tag_is_present: true, ..EnforcementPlan::gone() }),
                |found| undo_archiving(policy, &found.image),
            );
            let undo = match (undo, unit) {
                (None, Some(unit)) if self.is_unit_used(policy, unit).await? => {
                    Some(EnforcementPlan {
                        steps: vec![EnforcementStep::Restore],
                        ..EnforcementPlan::report(Some("somebody uses the image by now"))
                    })
                }
                (Some(undo), Some(unit)) if unit.has_several_images() && found.is_some() => {
                    Some(EnforcementPlan { steps: vec![EnforcementStep::Restore], ..undo })
                }
                (undo, _) => undo,
            };
            if let Some(undo) = undo {
                info!(
                    repository.name = %repository,
                    image.digest = %digest,
                    image.tag = %tag,
                    violation.rule = %violation.rule,
                    reason = violation.reason,
                    action = %undo.action,
                    "{undo}",
                );
                self.act(None, unit, &undo).await?;
                plan = undo;
            }
        }
        if let Some(unit) = unit.filter(|unit| unit.has_several_images()) {
            self.context.ledger.end_units(repository, [&unit.root]).await?;
        }

        let is_news = is_news(&before, &plan) || hit.is_some();
        if is_news {
            let about = &self.push.about;
            let hit = hit.as_ref();
            let unit: Vec<&Digest> = unit.into_iter().flat_map(UnitRecord::images).collect();
            let alert = warden_alerts::tag_violation(
                policy, about, tag, violation, &image, &plan, &unit, hit,
            );
            self.tell(fact, &alert, &plan.outcome()).await?;
        } else {
            self.context.ledger.settle(fact, self.request_id, None, self.now).await?;
        }
        Ok((is_news || plan.tag_is_present).then_some(plan.action))
    }

    /// Claims a fact for this request and its event.
    async fn claim(&self, fact: Fact<'_>) -> anyhow::Result<Claim> {
        let event_id = &self.push.about.source.id;
        self.context.ledger.claim(fact, self.request_id, event_id, self.now).await
    }

    /// The plan, or a report where neither ECR nor the ledger proves that the tag was pushed lately.
    /// Anybody who may invoke the function could have sent the event.
    fn require_recent_push(
        &self,
        plan: EnforcementPlan,
        image_pushed_at: Option<DateTime<Utc>>,
        before: &PreviousClaim,
    ) -> EnforcementPlan {
        let time = DateTime::parse_from_rfc3339(&self.push.about.source.time);
        let removed = [EnforcementOutcome::Untagged, EnforcementOutcome::Quarantined];
        let mut removed = removed.iter().map(|outcome| Some(outcome.to_string()));
        let evidence = PushEvidence {
            event_time: time.ok().map(|time| time.to_utc()),
            image_pushed_at,
            was_tag_removed: removed.any(|outcome| before.published == outcome),
        };
        if evidence.is_recent(self.now) { plan } else { plan.without_proof_of_push() }
    }

    fn is_young(&self) -> bool {
        is_young(&self.push.about.source, self.now)
    }

    /// Checks that ECR knows what the event names, unless the event is old or somebody has
    /// handled it: an unknown image, or one without the pushed tag, is gone only then. An error
    /// before anything was done gives the claim back, so that the next attempt is like the first.
    async fn check_gathered(
        &self,
        fact: Fact<'_>,
        before: &PreviousClaim,
        tag: &Tag,
        found: anyhow::Result<Option<Gathered>>,
    ) -> anyhow::Result<Option<Gathered>> {
        let About { repository, digest, source, .. } = &self.push.about;
        let found = match found {
            Ok(Some(found)) if found.image.tags.contains(tag) => return Ok(Some(found)),
            Ok(Some(found)) if before.was_begun || before.has_settled(source) => {
                return Ok(Some(found));
            }
            Ok(found) if !self.is_young() => return Ok(found),
            Ok(_) => Err(anyhow!(
                "ECR does not know {repository}:{tag} as {digest} yet; to be tried again"
            )),
            Err(error) => Err(error),
        };
        self.give_back(fact, before).await;
        found
    }

    /// Gives a claim back, unless an earlier attempt may have done something: the next attempt is
    /// then like the first.
    async fn give_back(&self, fact: Fact<'_>, before: &PreviousClaim) {
        if !before.was_begun {
            let given_back = self.context.ledger.give_back(fact, self.request_id).await;
            given_back.unwrap_or_else(|error| warn!("{error:#}"));
        }
    }

    /// Asks for the copies of the image in other registries, if the plan would change the image.
    /// The plan that is returned only reports where they do not allow that. After an error nothing
    /// is changed, and the event is tried again.
    async fn check_replication(
        &self,
        policy: &Policy,
        fact: Fact<'_>,
        before: &PreviousClaim,
        plan: EnforcementPlan,
    ) -> anyhow::Result<EnforcementPlan> {
        // An earlier attempt may have been interrupted within the unit of an archived image.
        let is_begun = before.was_begun && plan.action == EnforcementOutcome::Archived;
        if !plan.changes_image() && !is_begun {
            return Ok(plan);
        }
        let About { repository, digest, .. } = &self.push.about;
        let Context { registry, ledger, .. } = self.context;
        match find_replication(registry, ledger, repository).await {
            Ok(replication) => Ok(plan.with_replication(policy, replication)),
            Err(error) => {
                self.give_back(fact, before).await;
                Err(error.context(format!("nothing was changed about {repository}@{digest}")))
            }
        }
    }

    /// Reads the image, and whether the tags of its repository are immutable, as far as the
    /// enforcement needs them. None if the image is gone.
    async fn gather(&self, policy: &Policy, tag: &Tag) -> anyhow::Result<Option<Gathered>> {
        let About { repository, digest, .. } = &self.push.about;
        let registry = &self.context.registry;
        let gathered = |found: ImageDescription, is_immutable| Gathered {
            image: found.image,
            is_immutable,
            pushed_at: found.pushed_at,
        };
        match policy.governance.tags.enforcement {
            // A report describes the push itself, also if the image is deleted.
            TagEnforcement::Report => Ok(Some(Gathered {
                image: self.as_pushed(vec![tag.clone()]),
                is_immutable: false,
                pushed_at: None,
            })),
            TagEnforcement::Archive => {
                let found = registry.image(repository, digest).await?;
                Ok(found.map(|found| gathered(found, false)))
            }
            TagEnforcement::Quarantine => {
                // The claim may come beside the reads: what enforcement relies on, it adds after
                // both.
                let ledger = &self.context.ledger;
                let (found, is_immutable, is_claimed) = tokio::try_join!(
                    registry.image(repository, digest),
                    registry.is_immutable(repository),
                    ledger.claim_for_enforcement(repository, digest, self.now),
                )?;
                ensure!(
                    is_claimed,
                    "a sweep is removing a tag of {repository}@{digest}; to be tried again"
                );
                Ok(found.map(|found| gathered(found, is_immutable)))
            }
        }
    }

    /// Finds what is archived or restored with the image, and writes it to the ledger before the
    /// first call. Changes the plan where an earlier attempt was interrupted within the unit, and
    /// where another image needs this one. None if the plan neither archives nor restores.
    async fn unit(
        &self,
        policy: &Policy,
        plan: &mut EnforcementPlan,
        before: &PreviousClaim,
    ) -> anyhow::Result<Option<UnitRecord>> {
        let About { repository, digest, .. } = &self.push.about;
        let Context { ledger, registry, .. } = self.context;
        if policy.governance.tags.enforcement != TagEnforcement::Archive {
            return Ok(None);
        }
        // An earlier attempt may have been interrupted within the unit.
        let begun = if before.was_begun {
            ledger.units(repository, std::slice::from_ref(digest)).await?.remove(digest)
        } else {
            None
        };
        let begun = begun.filter(|unit| unit.remover == UnitRemover::EnforcementArchives);
        if let Some(begun) = begun.as_ref().filter(|_| !plan.tag_is_present) {
            // The tag is gone, and the next sweep completes the unit.
            let begun = UnitRecord { began: self.now, ..begun.clone() };
            ledger.begin_units(repository, &[begun], self.now).await?;
            return Ok(None);
        }
        if begun.is_none() && !plan.steps.contains(&EnforcementStep::Archive) {
            return Ok(None);
        }
        if begun.is_some()
            && let Some(because) = plan.replication.reason_to_report(policy)
        {
            plan.action = EnforcementOutcome::Reported;
            plan.because = Some(because.into());
            plan.steps = vec![EnforcementStep::Restore];
            return Ok(begun);
        }
        let inventory = match registry.inventory(repository).await {
            Ok(inventory) => inventory,
            Err(error) if begun.is_none() && error.is::<VisibilityError>() => {
                warn!("{error:#}");
                *plan = EnforcementPlan::report(Some(UNREADABLE_INDEX));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut unit = self.unit_to_archive(policy, plan, &inventory, begun.as_ref())?;
        if let Some(new) = unit.take_if(|_| begun.is_none()) {
            unit = self.heed_native_rules_for_unit(new, &inventory, plan).await?;
        }
        let is_archived = plan.steps.contains(&EnforcementStep::Archive);
        match (unit, begun) {
            // Each attempt says that it is at work: a sweep leaves the unit alone meanwhile.
            (Some(unit), _) if is_archived && unit.has_several_images() => {
                ledger.begin_units(repository, std::slice::from_ref(&unit), self.now).await?;
                Ok(Some(unit))
            }
            (Some(unit), _) if is_archived => Ok(Some(unit)),
            (_, Some(begun)) => {
                plan.steps = vec![EnforcementStep::Restore];
                Ok(Some(begun))
            }
            (_, None) => Ok(None),
        }
    }

    /// The unit of the image, by the images of the repository. An archived index has no manifest, so its
    /// images come from the record of the attempt that archived it. None, and a plan that reports,
    /// where an image of the unit must stay active.
    fn unit_to_archive(
        &self,
        policy: &Policy,
        plan: &mut EnforcementPlan,
        inventory: &Inventory,
        begun: Option<&UnitRecord>,
    ) -> anyhow::Result<Option<UnitRecord>> {
        let digest = &self.push.about.digest;
        if plan.action != EnforcementOutcome::Archived {
            return Ok(None);
        }
        let images = &inventory.images;
        let others = if let Some(begun) = begun {
            others_of_record(begun, inventory)
        } else {
            let root = images.position(|image| image.digest == *digest);
            let graph = Graph::build(inventory)?;
            let digests = |ids: Vec<ImageId>| -> Vec<Digest> {
                ids.into_iter().map(|image| images[image].digest.clone()).collect()
            };
            let others = root.and_then(|root| graph.others_of_unit(root));
            others.map(|(removed, shared)| (digests(removed), digests(shared)))
        };
        let Some((removed, shared)) = others else {
            *plan = EnforcementPlan::report(Some("another image needs it"));
            return Ok(None);
        };
        let has_accepted_tag = |image: &ImageRecord| {
            removed.contains(&image.digest)
                && image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
        };
        if images.iter().any(has_accepted_tag) {
            *plan = EnforcementPlan::report(Some("an image that it needs has an accepted tag"));
            return Ok(None);
        }
        plan.steps = vec![EnforcementStep::Archive];
        Ok(Some(UnitRecord {
            root: digest.clone(),
            removed,
            shared,
            remover: UnitRemover::EnforcementArchives,
            began: self.now,
        }))
    }

    /// Whether an archived unit must be restored: a new index needs an image of it, or somebody gave
    /// an image an accepted tag or restored the root.
    async fn is_unit_used(&self, policy: &Policy, unit: &UnitRecord) -> anyhow::Result<bool> {
        let repository = &self.push.about.repository;
        // Every index is new to this function but the unit's own.
        let mut known = HashSet::from([unit.root.clone()]);
        let watched: HashSet<&Digest> = unit.images().collect();
        let look = self.context.registry.list_again(repository, &mut known, &watched).await?;
        let removed = || std::iter::once(&unit.root).chain(&unit.removed);
        let is_wanted = |image: &ImageRecord| {
            image.tags.iter().any(|tag| is_accepted_tag(policy, tag))
                || image.digest == unit.root && image.status != ImageStatus::Archived
        };
        let images = removed().filter_map(|digest| look.images.get(digest));
        Ok(removed().any(|digest| look.needed.contains(digest))
            || images.into_iter().any(is_wanted))
    }

    /// The image as far as the event describes it.
    fn as_pushed(&self, tags: Vec<Tag>) -> Image {
        Image {
            digest: self.push.about.digest.clone(),
            tags,
            media_type: self.push.media_type.clone(),
            status: ImageStatus::Active,
        }
    }

    /// Carries out a plan: the only place that changes a repository. Gives another image, if
    /// it was that which lost the tag.
    async fn act(
        &self,
        manifest: Option<&Manifest>,
        unit: Option<&UnitRecord>,
        plan: &EnforcementPlan,
    ) -> anyhow::Result<Option<Digest>> {
        let About { repository, digest, .. } = &self.push.about;
        let registry = &self.context.registry;
        let read = match (plan.needs_manifest(), manifest) {
            (true, None) => registry.manifest(repository, digest).await?,
            _ => None,
        };
        let manifest = manifest.or(read.as_ref());
        let mut hit = None;
        for step in &plan.steps {
            let other = apply(registry, repository, digest, manifest, unit, step)
                .await
                .with_context(|| format!("{repository}@{digest}: {step}"))?;
            if let Some(other) = &other {
                // At once: what follows may be cut off.
                error!(repository.name = %repository, image.digest = %other, "{step}: it was another image's");
            }
            hit = hit.or(other);
        }
        Ok(hit)
    }

    /// Publishes, once a day, that a push went into a repository whose name matches no pattern.
    async fn tell_of_repository(&self) -> anyhow::Result<()> {
        let ImagePush { about, tag, .. } = self.push;
        let repository = &about.repository;
        let fact = Fact::RepositoryViolation { repository, day: self.now.date_naive() };
        match self.claim(fact).await? {
            // There is nothing but to tell, which they do, or their next attempt.
            Claim::Theirs { .. } => return Ok(()),
            Claim::Ours(PreviousClaim { published: Some(_), .. }) => {
                return self.context.ledger.settle(fact, self.request_id, None, self.now).await;
            }
            Claim::Ours(_) => {}
        }
        let patterns = &self.context.config.patterns;
        let alert = warden_alerts::repository_violation(about, patterns, tag.as_ref());
        info!(
            repository.name = %repository,
            image.digest = %about.digest,
            image.tag = tag.as_ref().map(Tag::as_str),
            violation.rule = REPOSITORY,
            action = %EnforcementOutcome::Reported,
            "{}",
            alert.title,
        );
        self.tell(fact, &alert, "told").await
    }

    /// Tells what was claimed, and notes its outcome.
    async fn tell(&self, fact: Fact<'_>, alert: &Alert, outcome: &str) -> anyhow::Result<()> {
        self.context.alerts.publish(alert).await?;
        self.context.ledger.settle(fact, self.request_id, Some(outcome), self.now).await
    }
}

/// Why nothing is archived where an index of the repository cannot be read.
const UNREADABLE_INDEX: &str =
    "an index of the repository cannot be read, so it is not known whether it needs the image";

/// The images of a unit beside its root that no active index needs, and those that one needs. None
/// if an active index needs the root.
fn others_of_record(
    unit: &UnitRecord,
    inventory: &Inventory,
) -> Option<(Vec<Digest>, Vec<Digest>)> {
    let own: HashSet<&Digest> = unit.images().collect();
    let indexes = inventory.indexes.iter().filter(|(index, _)| !own.contains(index));
    let needed: HashSet<&Digest> = indexes.flat_map(|(_, parts)| parts).collect();
    let others = unit.images().filter(|image| **image != unit.root).cloned();
    (!needed.contains(&unit.root)).then(|| others.partition(|image| !needed.contains(image)))
}

/// Carries out one step of a plan. A step that was carried out before changes nothing. Gives the
/// digest of another image if that image lost the tag.
async fn apply(
    registry: &Registry,
    repository: &RepositoryName,
    digest: &Digest,
    manifest: Option<&Manifest>,
    unit: Option<&UnitRecord>,
    step: &EnforcementStep,
) -> anyhow::Result<Option<Digest>> {
    match step {
        EnforcementStep::Add(tag) => {
            let manifest = manifest.context("the image cannot be read any more")?;
            registry.add_tag(repository, digest, manifest, tag).await?;
        }
        EnforcementStep::Remove(tag) => return registry.untag(repository, digest, tag).await,
        EnforcementStep::Archive => {
            let images = unit.map_or_else(|| vec![digest], UnitRecord::archive_order);
            let archived = registry.archive_unit(repository, &images, || true).await;
            if let Some((digest, error)) = archived.failed.into_iter().next() {
                return Err(error.context(format!("archiving {digest}")));
            }
        }
        EnforcementStep::Restore => {
            let images = unit.map_or_else(|| vec![digest], UnitRecord::archive_order);
            registry.restore_images(repository, images).await?;
        }
    }
    Ok(None)
}

/// Whether there is something to publish. A missing tag is news only if an interrupted attempt of
/// ours may have removed it. An outcome that was published is no news, unless something else was
/// done since, or the same was done to an image that somebody had restored from the archive.
fn is_news(before: &PreviousClaim, plan: &EnforcementPlan) -> bool {
    let was_told = before.published.as_deref() == Some(&plan.outcome());
    let is_again = plan.steps.contains(&EnforcementStep::Archive);
    (!was_told || is_again) && (plan.tag_is_present || before.was_begun)
}
