//! Compares a plan with the native lifecycle rules of the repository, no matter who wrote the rules
//! ([`warden_core::lifecycle::native`]). If a rule would expire an image too early, the image is
//! reported instead of quarantined or archived.

use anyhow::Context as _;
use warden_alerts::About;
use warden_core::enforcement::{EnforcementOutcome, EnforcementPlan, EnforcementStep};
use warden_core::graph::{ImageRecord, Inventory, is_index};
use warden_core::image::Image;
use warden_core::lifecycle::native::NativeRules;
use warden_core::lifecycle::{document, have_same_rules};
use warden_core::policy::Policy;
use warden_core::retention::UnitRecord;

use crate::Judgement;

impl Judgement<'_> {
    /// Changes a plan to quarantine an image into a report if a native rule would expire the image
    /// within `QuarantineDays`. Makes one call if the plan quarantines, and a second call if somebody
    /// else wrote the rules. The alert already describes the rules that this stack writes.
    pub(crate) async fn check_native_rules(
        &self,
        policy: &Policy,
        image: &Image,
        plan: &mut EnforcementPlan,
    ) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.push.about;
        if plan.action != EnforcementOutcome::Quarantined || plan.steps.is_empty() {
            return Ok(());
        }
        let Some(text) = self.lifecycle_policy().await? else { return Ok(()) };
        if have_same_rules(&text, &document(policy)) {
            return Ok(());
        }
        let found = self.context.registry.image(repository, digest).await?;
        let pushed_at = found.and_then(|found| found.pushed_at);
        let mut tags = image.tags.clone();
        for step in &plan.steps {
            match step {
                EnforcementStep::Add(tag) => tags.push(tag.clone()),
                EnforcementStep::Remove(tag) => tags.retain(|other| other != tag),
                EnforcementStep::Archive | EnforcementStep::Restore => {}
            }
        }
        let may_have_parts = image.media_type.as_deref().is_none_or(is_index);
        let days = policy.tags.as_ref().map_or(0, |tags| tags.quarantine_days);
        let rules = NativeRules::read(&text);
        let threat = rules.threat_to_quarantined(&tags, pushed_at, may_have_parts, days, self.now);
        if let Some(threat) = threat {
            *plan = EnforcementPlan::report_because(threat.to_string());
        }
        Ok(())
    }

    /// Changes a plan to archive a unit into a report if a native rule would expire an image of the
    /// unit too early. Makes one call. Returns the unit if it may be archived.
    pub(crate) async fn check_native_rules_for_unit(
        &self,
        unit: UnitRecord,
        inventory: &Inventory,
        plan: &mut EnforcementPlan,
    ) -> anyhow::Result<Option<UnitRecord>> {
        let Some(text) = self.lifecycle_policy().await? else { return Ok(Some(unit)) };
        let is_referrer = |image: &ImageRecord| {
            let subject = image.subject.as_ref();
            subject.is_some_and(|subject| unit.images().any(|other| other == subject))
        };
        let others = inventory.images.iter().filter(|image| {
            let is_other = unit.images().skip(1).any(|other| *other == image.digest);
            is_other && !is_referrer(image)
        });
        let Some(threat) = NativeRules::read(&text).threat_to_archived(others, self.now) else {
            return Ok(Some(unit));
        };
        *plan = EnforcementPlan::report_because(threat.to_string());
        Ok(None)
    }

    async fn lifecycle_policy(&self) -> anyhow::Result<Option<String>> {
        let repository = &self.push.about.repository;
        let policy = self.context.registry.lifecycle_policy(repository).await;
        policy.with_context(|| format!("reading the lifecycle policy of {repository}"))
    }
}
