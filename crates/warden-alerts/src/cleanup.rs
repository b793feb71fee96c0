//! The alerts of a sweep: the images that a cleanup removed or did not remove, and the deviations of a
//! repository from its policy.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::remedy::{CONFIRM_PLAN, RESTORE_ALL_IMAGES, RESTORE_FIRST_IMAGE};
use super::replication::{copies, copies_text, source};
use super::{
    Alert, AlertKind, Remedy, Source, VERSION, WHAT_TO_DO, WHY, fit_details, number_of, read_plan,
    restore_remedies,
};
use warden_core::audit::Deviation;
use warden_core::image::{Digest, RepositoryName, Tag, format_bytes};
use warden_core::policy::{CleanupEnforcement, Owner, Severity};
use warden_core::replication::Replication;

/// The most images in the details, which have the total number too.
const MOST_IMAGES: usize = 50;
/// The most images in each list of a text, and the most tags of an image in the details.
const MOST_NAMED: usize = 20;
const MOST_TAGS: usize = 5;

/// The sweep that an alert is about.
#[derive(Clone, Debug)]
pub struct SweepContext<'a> {
    /// The account's twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The repository of the sweep.
    pub repository: &'a RepositoryName,
    /// The owner of the repository.
    pub owner: Option<&'a Owner>,
    /// The name of the function `image-sweep`.
    pub function: &'a str,
    /// The event that started the sweep.
    pub source: &'a Source,
}

/// An image with the decision about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupEntry {
    /// The digest of the image.
    pub digest: Digest,
    /// The tags of the image, or the only tag that is removed.
    pub tags: Vec<Tag>,
    /// The decision in one word, such as `archive`.
    pub decision: String,
    /// The reason: the end of a sentence that begins with the image.
    pub reason: String,
}

/// The result of a sweep.
#[derive(Clone, Debug)]
pub struct SweepResult {
    /// The enforcement: what a sweep does with an image that no rule keeps.
    pub mode: CleanupEnforcement,
    /// The hash of the plan. Empty if the sweep stopped before it had a plan.
    pub hash: String,
    /// The number of images before the sweep, also in the archive.
    pub examined: usize,
    /// The removed images and tags, or those of the plan if nothing was carried out.
    pub removed: Vec<CleanupEntry>,
    /// The images that were archived and are restored, each with the reason.
    pub restored: Vec<CleanupEntry>,
    /// The images of each archived unit, also those that stay: a restored unit needs all of them.
    pub units: Vec<Vec<Digest>>,
    /// The bytes of the removed images. Layers that other images share are counted too.
    pub bytes: u64,
    /// The images that the sweep failed to remove, each with the error.
    pub failed: Vec<(CleanupEntry, String)>,
    /// The number of images that the sweep did not try to remove.
    pub left: usize,
    /// The reason why nothing was removed, if a guard or an error stopped the sweep.
    pub stopped: Option<String>,
    /// The copies of the images in other registries.
    pub replication: Replication,
    /// Whether the plan waits for a confirmation. Then [`Self::stopped`] says why.
    pub waits: bool,
    /// Whether no confirmation lifts the stop, because a component would have no image left.
    pub is_final: bool,
}

/// The decision about a quarantine tag that is removed without its image.
pub const UNTAG: &str = "untag";
/// The decision about an image that is archived.
pub const ARCHIVE: &str = "archive";

impl SweepResult {
    /// The number of archived images.
    fn archived(&self) -> usize {
        self.removed.iter().filter(|entry| entry.decision == ARCHIVE).count()
    }

    /// The number of quarantine tags that were removed without their images.
    fn untagged(&self) -> usize {
        self.removed.iter().filter(|entry| entry.decision == UNTAG).count()
    }

    /// Whether a confirmation makes the next sweep carry out the plan. A confirmation does not lift a
    /// stop because of replication, and quarantine tags need none.
    #[must_use]
    pub fn is_confirmable(&self) -> bool {
        self.stopped.is_some()
            && self.mode != CleanupEnforcement::Report
            && self.replication.is_empty()
            && self.removed.len() > self.untagged()
            && !self.is_final
    }

    /// Whether the sweep carried out its plan, wholly or in part.
    #[must_use]
    pub fn is_carried_out(&self) -> bool {
        self.stopped.is_none() && self.mode != CleanupEnforcement::Report
    }

    /// Whether the result is worth an alert. The plan of a rule that only reports is not: the weekly
    /// digest has that plan.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let nothing = self.removed.is_empty()
            && self.restored.is_empty()
            && self.failed.is_empty()
            && self.left == 0;
        self.stopped.is_some() || self.is_carried_out() && !nothing
    }
}

/// The sentences about archived images.
const RESTORABLE: &str = "Archived images cannot be pulled. Restoring an image takes about twenty \
                          minutes. In a repository that the stack provisions, ECR deletes images \
                          after 90 days in the archive.";

/// The texts of an alert about a cleanup.
struct CleanupTexts {
    title: String,
    /// The sentences about the event.
    event: String,
    why: String,
    next_step: String,
}

/// The alert about the images that a sweep removed, or about the reason why it was stopped.
/// [`SweepResult::is_news`] says whether there is such an alert.
#[must_use]
pub fn cleanup(run: &SweepContext<'_>, outcome: &SweepResult) -> Alert {
    let SweepContext { repository, .. } = run;
    let CleanupTexts { title, mut event, why, next_step } = match &outcome.stopped {
        Some(why) => texts_of_stopped_plan(repository, outcome, why),
        None => texts_of_cleanup(repository, outcome),
    };
    if outcome.is_carried_out() && !outcome.removed.is_empty() {
        // ECR replicates the removal of a quarantine tag, also where the sweep archives images.
        let count = outcome.removed.len() - outcome.untagged();
        let is_archived = outcome.mode == CleanupEnforcement::Archive && count > 0;
        let subject = if count > 0 { "They still exist" } else { "The tags still exist" };
        event += &copies_text(&outcome.replication, is_archived, subject);
    }
    let lists = image_lists(outcome);
    let text = format!("{event}\n\n{WHY}{why}.\n\n{WHAT_TO_DO}{next_step}{lists}");
    let severity = match () {
        () if outcome.stopped.is_some() || !outcome.failed.is_empty() => Severity::Medium,
        () => Severity::Informational,
    };
    Alert {
        details: fit_details(MOST_IMAGES, |most| details(outcome, most)),
        remedies: remedies(run, outcome),
        ..run.alert(AlertKind::Cleanup, severity, title, text)
    }
}

/// The texts about a plan that was stopped for this reason.
fn texts_of_stopped_plan(
    repository: &RepositoryName,
    outcome: &SweepResult,
    why: &str,
) -> CleanupTexts {
    let count = outcome.removed.len() - outcome.untagged();
    let images = number_of(count as u64, "image");
    let mut event = format!("No image was removed from the repository {repository}.");
    if count > 0 {
        event += &format!(" The plan would remove {images} ({}).", format_bytes(outcome.bytes));
    }
    event += &untag_text(outcome.untagged(), "would be");
    let title = if outcome.waits {
        format!("The cleanup of {repository} waits for a confirmation")
    } else {
        format!("The cleanup of {repository} was stopped")
    };
    let next_step = match () {
        () if outcome.waits => "read the plan, and confirm it if it is right.",
        () if outcome.is_confirmable() => {
            "read the plan, and confirm it if it is right. Otherwise correct the cause."
        }
        () if outcome.replication.is_empty() => "correct the cause. The next sweep tries again.",
        () => {
            "read the plan, and remove the images yourself if they must go. A confirmation does not \
             lift a stop because of replication."
        }
    };
    CleanupTexts { title, event, why: why.to_owned(), next_step: next_step.to_owned() }
}

/// The texts about a plan that was carried out, wholly or in part.
fn texts_of_cleanup(repository: &RepositoryName, outcome: &SweepResult) -> CleanupTexts {
    let (tags, count) = (outcome.untagged(), outcome.removed.len() - outcome.untagged());
    let archived = outcome.archived();
    let (images, size) = (number_of(count as u64, "image"), format_bytes(outcome.bytes));
    let were = if count == 1 { "was" } else { "were" };
    let no_image = format!("No image was removed from the repository {repository}.");
    let (title, mut event) = match () {
        () if count == 0 && tags > 0 => {
            (format!("The cleanup of {repository} removed quarantine tags"), no_image)
        }
        () if count == 0 && !outcome.restored.is_empty() => {
            (format!("The cleanup of {repository} is restoring images"), no_image)
        }
        () if count == 0 => (format!("The cleanup of {repository} is incomplete"), no_image),
        () if archived == count => (
            format!("The cleanup of {repository} archived {images}"),
            format!(
                "{images} ({size}) of the repository {repository} {were} moved to the archive. \
                 {RESTORABLE}"
            ),
        ),
        () if archived == 0 => (
            format!("The cleanup of {repository} deleted {images}"),
            format!(
                "{images} ({size}) of the repository {repository} {were} deleted, and cannot be \
                 restored."
            ),
        ),
        // The policy can delete untagged images and archive tagged images, or the reverse.
        () => (
            format!("The cleanup of {repository} removed {images}"),
            format!(
                "{images} ({size}) of the repository {repository} were removed: {} deleted and \
                 {archived} archived. Deleted images cannot be restored. {RESTORABLE}",
                count - archived
            ),
        ),
    };
    event += &untag_text(tags, "was");
    match outcome.restored.len() {
        0 => {}
        1 => event += " 1 image is being restored, which takes about twenty minutes.",
        restored => {
            event += &format!(
                " {restored} images are being restored, which takes about twenty minutes."
            );
        }
    }
    if !outcome.failed.is_empty() {
        event +=
            &format!(" {} could not be removed.", number_of(outcome.failed.len() as u64, "image"));
    }
    if outcome.left > 0 {
        event += &format!(
            " {} left to the next sweep, because they changed or the time was over.",
            if outcome.left == 1 {
                "1 image was".to_owned()
            } else {
                format!("{} images were", outcome.left)
            }
        );
    }
    let why = match () {
        () if count > 0 => {
            "no rule of the policy keeps these images. The list has the reason for \
                            each image"
        }
        () if tags > 0 => {
            "each image with such a tag has a conforming tag now, and is not in \
                           quarantine any more"
        }
        () if !outcome.restored.is_empty() => {
            "an index needs the images, or an earlier removal was \
                                               interrupted"
        }
        () if !outcome.failed.is_empty() => {
            "ECR refused the removal. The list has the error for \
                                             each image"
        }
        () => "images changed during the sweep, or the time was over",
    };
    let next_step = match () {
        () if !outcome.failed.is_empty() => {
            "correct the errors in the list. The next sweep tries again."
        }
        () if archived > 0 => "nothing, if nobody needs the images. Otherwise restore them.",
        () => "nothing.",
    };
    CleanupTexts { title, event, why: why.to_owned(), next_step: next_step.to_owned() }
}

/// The sentence about quarantine tags that are removed without their images.
fn untag_text(tags: usize, verb: &str) -> String {
    match (tags, verb) {
        (0, _) => String::new(),
        (1, verb) => format!(" 1 quarantine tag {verb} removed."),
        (_, "was") => format!(" {tags} quarantine tags were removed."),
        (_, verb) => format!(" {tags} quarantine tags {verb} removed."),
    }
}

/// The lists of images, with a line for each image that was removed, restored or not removed.
fn image_lists(outcome: &SweepResult) -> String {
    let line =
        |entry: &CleanupEntry| format!("{}: {}: {}", entry.name(), entry.decision, entry.reason);
    let failed = |(entry, error): &(CleanupEntry, String)| format!("{}: {error}", entry.name());
    let heading = if outcome.is_carried_out() { "Removed" } else { "In the plan" };
    let mut text = image_list(heading, &outcome.removed, line);
    text += &image_list("Being restored", &outcome.restored, line);
    text + &image_list("Not removed", &outcome.failed, failed)
}

fn image_list<T>(heading: &str, entries: &[T], line: impl Fn(&T) -> String) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let lines = entries.iter().take(MOST_NAMED).map(|entry| format!("\n- {}", line(entry)));
    let mut text = format!("\n\n{heading}:{}", lines.collect::<String>());
    if let Some(more @ 1..) = entries.len().checked_sub(MOST_NAMED) {
        text += &format!("\n- and {more} more");
    }
    text
}

fn details(outcome: &SweepResult, most: usize) -> Map<String, Value> {
    let replicated = [
        ("replicatedTo", copies(&outcome.replication)),
        ("replicatedFrom", source(&outcome.replication)),
    ];
    let replicated = replicated.into_iter();
    let replicated = replicated.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let image = |entry: &CleanupEntry| {
        let CleanupEntry { digest, tags, decision, reason } = entry;
        let some: Vec<&Tag> = tags.iter().take(MOST_TAGS).collect();
        json!({
            "digest": digest,
            "tags": some,
            "tagsTotal": tags.len(),
            "decision": decision,
            "reason": reason,
        })
    };
    let failed = |(entry, why): &(CleanupEntry, String)| {
        let mut image = image(entry);
        if let Some(fields) = image.as_object_mut() {
            fields.insert("error".to_owned(), why.as_str().into());
        }
        image
    };
    let count = outcome.removed.len();
    let removed = if outcome.is_carried_out() { count - outcome.untagged() } else { 0 };
    [
        ("mode", json!(outcome.mode)),
        ("hash", json!(outcome.hash)),
        ("stopped", json!(outcome.stopped)),
        ("waits", json!(outcome.waits)),
        ("examined", json!(outcome.examined)),
        ("kept", json!(outcome.examined.saturating_sub(removed))),
        ("removed", json!(removed)),
        ("bytes", json!(outcome.bytes)),
        ("images", outcome.removed.iter().take(most).map(image).collect()),
        ("imagesTotal", json!(count)),
        ("restored", outcome.restored.iter().take(most).map(image).collect()),
        ("failed", outcome.failed.iter().take(most).map(failed).collect()),
        ("failedTotal", json!(outcome.failed.len())),
        ("left", json!(outcome.left)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .chain(replicated)
    .collect()
}

fn remedies(run: &SweepContext<'_>, outcome: &SweepResult) -> Vec<Remedy> {
    let SweepContext { region, repository, function, .. } = run;
    if !outcome.is_carried_out() {
        let mut remedies = vec![read_plan(region, function, repository)];
        if outcome.is_confirmable() {
            let plan = &outcome.hash;
            let confirm =
                format!("ecr-warden confirm {repository} --region {region} --plan {plan}");
            remedies.push(Remedy::aws(CONFIRM_PLAN, confirm));
        }
        return remedies;
    }
    let mut seen = HashSet::new();
    let all: Vec<&Digest> =
        outcome.units.iter().flatten().filter(|digest| seen.insert(*digest)).collect();
    if all.is_empty() {
        return vec![];
    }
    let all_at_once = restore_remedies(region, repository, RESTORE_ALL_IMAGES, &all);
    match (&all_at_once[..], outcome.units.first()) {
        ([_], _) => all_at_once,
        (_, None) => vec![],
        // All images of one unit, because an index without its parts cannot be pulled.
        (_, Some(first)) => {
            let images: Vec<&Digest> = first.iter().collect();
            restore_remedies(region, repository, RESTORE_FIRST_IMAGE, &images)
        }
    }
}

/// The alert about the deviations of a repository from its policy. A sweep reports deviations, and
/// changes nothing about them.
#[must_use]
pub fn self_audit(run: &SweepContext<'_>, deviations: &[Deviation]) -> Alert {
    let SweepContext { repository, .. } = run;
    let line = |deviation: &Deviation| format!("\n- {}: {}", deviation.rule, deviation.text);
    let lines: String = deviations.iter().map(line).collect();
    let found = number_of(deviations.len() as u64, "deviation");
    let title = format!("The repository {repository} has {found} from its policy");
    let text = format!(
        "The audit of the repository {repository} found {found} from its policy. Nothing was changed. \
         Each line begins with the rule of the audit.\n{lines}\n\n\
         {WHY}each sweep compares the repository with its policy. Deviations are reported when they \
         change, and again after seven days.\n\n\
         {WHAT_TO_DO}correct each deviation, or change the policy. The runbook has a section for each \
         rule."
    );
    let details = [("deviations".to_owned(), json!(deviations))];
    Alert {
        details: details.into_iter().collect(),
        ..run.alert(AlertKind::SelfAudit, Severity::Low, title, text)
    }
}

impl SweepContext<'_> {
    fn alert(&self, kind: AlertKind, severity: Severity, title: String, text: String) -> Alert {
        Alert {
            version: VERSION,
            kind,
            severity,
            title,
            text,
            account: self.account.to_owned(),
            region: self.region.to_owned(),
            repository: Some(self.repository.clone()),
            component: None,
            owner: self.owner.cloned(),
            image: None,
            details: Map::new(),
            remedies: Vec::new(),
            runbook: None,
            policy: None,
            source: self.source.clone(),
        }
    }
}

impl CleanupEntry {
    /// A quarantine tag that is removed from an image which has a conforming tag.
    #[must_use]
    pub fn untag(digest: Digest, tag: Tag) -> Self {
        Self {
            digest,
            tags: vec![tag],
            decision: UNTAG.to_owned(),
            reason: "the image has a conforming tag now, so it needs no quarantine tag".to_owned(),
        }
    }

    /// The first tag of the image, or the digest of an image without tags.
    #[must_use]
    pub fn name(&self) -> String {
        self.tags.first().map_or_else(|| self.digest.to_string(), |tag| tag.to_string())
    }
}

#[cfg(test)]
mod tests;
