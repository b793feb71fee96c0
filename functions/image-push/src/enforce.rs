//! Enforces the policy on one tag that violates it: reads the image, plans, applies the plan and
//! publishes the outcome.

use anyhow::{Context as _, anyhow, bail, ensure};
use chrono::{DateTime, Utc};
use tracing::{error, info, warn};
use warden_alerts::{About, OtherImages, ReportedViolation};
use warden_aws::ledger::{Claim, Fact, PreviousClaim, week};
use warden_aws::registry::{ImageDescription, Manifest, Registry};
use warden_aws::replication::find_replication;
use warden_core::enforcement::{
    EnforcementOutcome, EnforcementPlan, EnforcementStep, PushEvidence, plan_enforcement,
    undo_archiving,
};
use warden_core::image::{Digest, Image, ImageStatus, RepositoryName, Tag};
use warden_core::mutability::Mutability;
use warden_core::policy::{Policy, TagEnforcement};
use warden_core::retention::UnitRecord;
use warden_core::tagging::Violation;
use warden_core::text::short_line;

use crate::{Context, Judgement};

/// The most characters of the reason of a violation in the weekly digest.
const LONGEST_REASON: usize = 300;

/// The facts about an image that enforcement needs.
struct Gathered {
    image: Image,
    mutability: Option<Mutability>,
    pushed_at: Option<DateTime<Utc>>,
}

/// The violation of a policy by the pushed tag.
pub(crate) struct Judged<'a> {
    /// The policy of the repository.
    pub policy: &'a Policy,
    /// The violation.
    pub violation: &'a Violation,
    /// Whether the policy is deployed. By an earlier policy, nothing is changed any more.
    pub is_deployed: bool,
}

impl Judgement<'_> {
    /// Enforces the policy on a tag that violates it, and publishes the outcome. Returns the
    /// outcome, or None if there was nothing left to do and to publish.
    pub(crate) async fn enforce(
        &self,
        tag: &Tag,
        judged: &Judged<'_>,
        manifest: Option<&Manifest>,
    ) -> anyhow::Result<Option<EnforcementOutcome>> {
        let &Judged { policy, violation, is_deployed } = judged;
        let About { repository, digest, .. } = &self.push.about;
        let fact = Fact::TagViolation { repository, digest, tag };
        let changes_images = policy.tag_enforcement() != TagEnforcement::Report;
        let before = match self.claim(fact, Some(policy).filter(|_| changes_images)).await? {
            Claim::Ours(before) => before,
            // If the other invocation crashes, Lambda retries its event, which is the same event.
            Claim::Theirs { has_same_event: true } => return Ok(None),
            // The tag may have been pushed a second time after the other invocation read the image.
            // Only this event reports that push, so Lambda has to try it again.
            Claim::Theirs { has_same_event: false } => {
                bail!("another invocation is handling {fact}; Lambda tries the event again")
            }
        };
        let found = self.gather(policy, tag).await;
        let found = self.check_gathered(fact, &before, tag, found).await?;
        let (image, mut plan) = match found {
            Some(Gathered { image, mutability, pushed_at }) => {
                let today = self.now.date_naive();
                // An interrupted attempt may have archived the image, which then got an accepted
                // tag.
                let undo = undo_archiving(policy, &image).filter(|_| before.was_begun);
                let plan = undo.unwrap_or_else(|| {
                    plan_enforcement(policy, tag, &image, mutability.as_ref(), today)
                });
                let plan = if is_deployed { plan } else { plan.by_replaced_policy() };
                (image, self.require_recent_push(plan, pushed_at, &before))
            }
            None => (self.as_pushed(vec![]), EnforcementPlan::gone()),
        };
        plan = self.check_replication(policy, fact, &before, plan).await?;
        if let Err(error) = self.check_native_rules(policy, &image, &mut plan).await {
            self.release_claim(fact, &before).await;
            return Err(error);
        }
        // By an earlier policy, no unit is completed here. The next sweep completes or restores it.
        let unit =
            if is_deployed { self.find_unit(policy, &mut plan, &before).await? } else { None };
        let unit = unit.as_ref();
        // A rule that only reports has no alert for each violation. The weekly digest has them all.
        let is_digested = policy.tag_enforcement() == TagEnforcement::Report;
        let step =
            if is_digested { "add it to the weekly digest".into() } else { plan.to_string() };
        info!(
            repository.name = %repository,
            image.digest = %digest,
            image.tag = %tag,
            violation.rule = %violation.rule,
            reason = violation.reason,
            action = %plan.action,
            policy.version = self.context.config.policy_version,
            unit.images = unit.map(|unit| unit.images().count()),
            "{repository}:{tag} {}: {step}",
            violation.reason,
        );
        if is_digested {
            return self.report(fact, &before, violation, tag).await;
        }
        let other_image = self.apply_plan(manifest, unit, &plan).await?;
        if plan.steps.contains(&EnforcementStep::Archive)
            && let Some(undo) = self.check_archived(policy, unit).await?
        {
            info!(
                repository.name = %repository,
                image.digest = %digest,
                image.tag = %tag,
                violation.rule = %violation.rule,
                reason = violation.reason,
                action = %undo.action,
                policy.version = self.context.config.policy_version,
                "{repository}@{digest} is archived: {undo}",
            );
            self.apply_plan(None, unit, &undo).await?;
            plan = undo;
        }
        if let Some(unit) = unit.filter(|unit| unit.has_several_images()) {
            self.context.ledger.end_units(repository, [&unit.root]).await?;
        }

        let is_news = is_news(&before, &plan) || other_image.is_some();
        if is_news {
            let about = &self.push.about;
            let (violation, has_suggestion) = self.check_suggestion(violation, &image).await;
            let others = OtherImages { lost_tag: other_image, has_suggestion };
            let unit: Vec<&Digest> = unit.into_iter().flat_map(UnitRecord::images).collect();
            let alert = warden_alerts::tag_violation(
                policy, about, tag, &violation, &image, &plan, &unit, &others,
            );
            let outcome = plan.outcome();
            // Another event with the same outcome is another occurrence.
            let identity = format!("{outcome} {}", about.source.id);
            self.publish(fact, &alert, &outcome, &identity).await?;
        } else {
            self.context.ledger.settle(fact, self.request_id, None, self.now).await?;
        }
        Ok((is_news || plan.tag_is_present).then_some(plan.action))
    }

    /// Adds a violation to the weekly digest, once a week. If an attempt is killed before it settles the
    /// claim, the next attempt adds the violation again, which may count it twice
    /// ([`Ledger::record_violation`](warden_aws::ledger::Ledger::record_violation)).
    async fn report(
        &self,
        fact: Fact<'_>,
        before: &PreviousClaim,
        violation: &Violation,
        tag: &Tag,
    ) -> anyhow::Result<Option<EnforcementOutcome>> {
        let About { repository, digest, .. } = &self.push.about;
        let ledger = &self.context.ledger;
        let outcome = format!("{} in {}", EnforcementOutcome::Reported, week(self.now));
        let is_news = before.published.as_ref() != Some(&outcome);
        if is_news {
            let violation = ReportedViolation {
                tag: tag.clone(),
                digest: digest.clone(),
                reason: short_line(&violation.reason, LONGEST_REASON),
            };
            ledger.record_violation(repository, &violation, self.now).await?;
        }
        let published = is_news.then_some(outcome.as_str());
        ledger.settle(fact, self.request_id, published, self.now).await?;
        Ok(Some(EnforcementOutcome::Reported))
    }

    /// Looks for another image that has the suggested tag, and returns its digest. If ECR cannot be
    /// asked, the returned violation has no suggestion. One call, for a violation with a suggestion.
    async fn check_suggestion(
        &self,
        violation: &Violation,
        image: &Image,
    ) -> (Violation, Option<Digest>) {
        let About { repository, digest, .. } = &self.push.about;
        let mut violation = violation.clone();
        let Some(meant) = violation.suggestion.as_ref().filter(|tag| !image.tags.contains(tag))
        else {
            return (violation, None);
        };
        match self.context.registry.find_tag(repository, meant).await {
            Ok(owner) => (violation, owner.filter(|owner| owner != digest)),
            Err(error) => {
                warn!("the alert has no suggestion, because it may belong to an image: {error:#}");
                violation.suggestion = None;
                (violation, None)
            }
        }
    }

    /// Reads an image again after it was archived. Returns the plan to restore the image, if it got
    /// an accepted tag or if somebody uses its unit; or the plan to report that the image is gone.
    async fn check_archived(
        &self,
        policy: &Policy,
        unit: Option<&UnitRecord>,
    ) -> anyhow::Result<Option<EnforcementPlan>> {
        let About { repository, digest, .. } = &self.push.about;
        let found = self.context.registry.image(repository, digest).await?;
        let undo = found.as_ref().map_or_else(
            || Some(EnforcementPlan { tag_is_present: true, ..EnforcementPlan::gone() }),
            |found| undo_archiving(policy, &found.image),
        );
        let steps = vec![EnforcementStep::Restore];
        Ok(match (undo, unit) {
            (None, Some(unit)) if self.is_unit_used(policy, unit).await? => {
                let report = EnforcementPlan::report(Some("the image is in use now"));
                Some(EnforcementPlan { steps, ..report })
            }
            (Some(undo), Some(unit)) if unit.has_several_images() && found.is_some() => {
                Some(EnforcementPlan { steps, ..undo })
            }
            (undo, _) => undo,
        })
    }

    /// Changes the plan to a report, unless ECR or the ledger proves that the tag was pushed
    /// recently. Every principal that may invoke the function could have sent the event.
    fn require_recent_push(
        &self,
        plan: EnforcementPlan,
        image_pushed_at: Option<DateTime<Utc>>,
        before: &PreviousClaim,
    ) -> EnforcementPlan {
        let time = DateTime::parse_from_rfc3339(&self.push.about.source.time);
        let removing = [EnforcementOutcome::Untagged, EnforcementOutcome::Quarantined];
        let mut removing = removing.iter().map(|outcome| Some(outcome.to_string()));
        let evidence = PushEvidence {
            event_time: time.ok().map(|time| time.to_utc()),
            image_pushed_at,
            was_tag_removed: removing.any(|outcome| before.published == outcome),
        };
        if evidence.is_recent(self.now) { plan } else { plan.without_proof_of_push() }
    }

    /// Checks that ECR knows the pushed image with the pushed tag. Only if the event is old, or was
    /// handled before, does a missing image or tag mean that somebody deleted it; otherwise ECR may
    /// show it later, and the event fails. An error releases the claim ([`Self::release_claim`]).
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
                "ECR does not show the tag {repository}:{tag} on {digest} yet; Lambda tries the event again"
            )),
            Err(error) => Err(error),
        };
        self.release_claim(fact, before).await;
        found
    }

    /// Releases the claim, unless an earlier attempt may have changed the image. The next attempt
    /// then behaves like the first attempt.
    async fn release_claim(&self, fact: Fact<'_>, before: &PreviousClaim) {
        if !before.was_begun {
            let released = self.context.ledger.give_back(fact, self.request_id).await;
            released.unwrap_or_else(|error| warn!("{error:#}"));
        }
    }

    /// Looks for copies of the image in other registries, if the plan would change the image. If the
    /// copies do not allow the change, the returned plan only reports. An error changes nothing, and
    /// Lambda tries the event again.
    async fn check_replication(
        &self,
        policy: &Policy,
        fact: Fact<'_>,
        before: &PreviousClaim,
        plan: EnforcementPlan,
    ) -> anyhow::Result<EnforcementPlan> {
        // An earlier attempt may have been interrupted while it archived the images of the unit.
        let is_begun = before.was_begun && plan.action == EnforcementOutcome::Archived;
        if !plan.changes_image() && !is_begun {
            return Ok(plan);
        }
        let About { repository, digest, .. } = &self.push.about;
        let Context { registry, ledger, .. } = self.context;
        match find_replication(registry, ledger, repository).await {
            Ok(replication) => Ok(plan.with_replication(policy, replication)),
            Err(error) => {
                self.release_claim(fact, before).await;
                Err(error.context(format!("{repository}@{digest} was not changed")))
            }
        }
    }

    /// Reads the facts that the configured enforcement needs. None if the image is gone.
    async fn gather(&self, policy: &Policy, tag: &Tag) -> anyhow::Result<Option<Gathered>> {
        let About { repository, digest, .. } = &self.push.about;
        let registry = &self.context.registry;
        let gathered = |found: ImageDescription, mutability| Gathered {
            image: found.image,
            mutability,
            pushed_at: found.pushed_at,
        };
        match policy.tag_enforcement() {
            // A report describes the push from its event, even if the image is deleted.
            TagEnforcement::Report => Ok(Some(Gathered {
                image: self.as_pushed(vec![tag.clone()]),
                mutability: None,
                pushed_at: None,
            })),
            TagEnforcement::Archive => {
                let found = registry.image(repository, digest).await?;
                Ok(found.map(|found| gathered(found, None)))
            }
            TagEnforcement::Quarantine => {
                // The claim runs in parallel with the reads. That is safe: enforcement relies only
                // on the quarantine tag, which it adds after both.
                let ledger = &self.context.ledger;
                let (found, mutability, is_claimed) = tokio::try_join!(
                    registry.image(repository, digest),
                    registry.mutability(repository),
                    ledger.claim_for_enforcement(repository, digest, self.now),
                )?;
                ensure!(
                    is_claimed,
                    "a sweep is removing a tag of {repository}@{digest}; Lambda tries the event again"
                );
                Ok(found.map(|found| gathered(found, mutability)))
            }
        }
    }

    /// The image as the event describes it.
    fn as_pushed(&self, tags: Vec<Tag>) -> Image {
        Image {
            digest: self.push.about.digest.clone(),
            tags,
            media_type: self.push.media_type.clone(),
            status: ImageStatus::Active,
        }
    }

    /// Applies a plan. Only this method changes a repository. If somebody moved the tag and another
    /// image lost it, returns the digest of that image.
    async fn apply_plan(
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
        let mut other_image = None;
        for step in &plan.steps {
            let other = apply_step(registry, repository, digest, manifest, unit, step)
                .await
                .with_context(|| format!("{repository}@{digest}: {step}"))?;
            if let Some(other) = &other {
                // Logged immediately, because the attempt may be killed before it publishes.
                error!(
                    repository.name = %repository,
                    image.digest = %other,
                    "{repository}@{digest}: {step}: somebody had moved the tag, and {other} lost it",
                );
            }
            other_image = other_image.or(other);
        }
        Ok(other_image)
    }
}

/// Applies one step of a plan. A step that was applied before changes nothing. Returns the digest
/// of another image if that image lost the tag.
async fn apply_step(
    registry: &Registry,
    repository: &RepositoryName,
    digest: &Digest,
    manifest: Option<&Manifest>,
    unit: Option<&UnitRecord>,
    step: &EnforcementStep,
) -> anyhow::Result<Option<Digest>> {
    match step {
        EnforcementStep::Add(tag) => {
            let manifest = manifest.context("the manifest of the image cannot be read any more")?;
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

/// Whether an alert is published. If the tag is missing, an alert is published only if an
/// interrupted attempt of this function may have removed the tag. An outcome that was published
/// last is not published again, except when an image is archived again after somebody restored it.
fn is_news(before: &PreviousClaim, plan: &EnforcementPlan) -> bool {
    let was_published = before.published.as_deref() == Some(&plan.outcome());
    let is_archived_again = plan.steps.contains(&EnforcementStep::Archive);
    (!was_published || is_archived_again) && (plan.tag_is_present || before.was_begun)
}
