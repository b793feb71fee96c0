//! The alerts of a sweep: what it removed, or why it did not, and what else is not as it should
//! be.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::replication::{copies, copies_text};
use super::{Alert, AlertKind, Remedy, Source, VERSION, fitting, restore};
use warden_core::audit::Deviation;
use warden_core::image::{Digest, RepositoryName, Tag, format_bytes};
use warden_core::policy::{CleanupEnforcement, Severity};
use warden_core::replication::Replication;

/// The most images that are told; beside them stands how many there are.
const MOST_IMAGES: usize = 50;
/// The most of them that a text names, and the most tags of one.
const MOST_NAMED: usize = 20;
const MOST_TAGS: usize = 5;

/// The run that an alert is of.
#[derive(Clone, Debug)]
pub struct SweepContext<'a> {
    /// The account's twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// Which repository was swept.
    pub repository: &'a RepositoryName,
    /// The name of the function, which people can invoke.
    pub function: &'a str,
    /// The name of the stack.
    pub stack: &'a str,
    /// What began it.
    pub source: &'a Source,
}

/// An image, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupEntry {
    /// Its digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
    /// What was decided, in a word.
    pub decision: String,
    /// Why: the end of a sentence that begins with the image.
    pub reason: String,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct SweepResult {
    /// What is done with an image that no rule keeps.
    pub mode: CleanupEnforcement,
    /// What tells the plan from others.
    pub hash: String,
    /// How many images there were, those in the archive too.
    pub examined: usize,
    /// What was removed; where nothing is carried out, what would be.
    pub removed: Vec<CleanupEntry>,
    /// The images that were archived and are restored, each with the reason.
    pub restored: Vec<CleanupEntry>,
    /// The images of each archived unit, also those that stay: a restored unit needs all of them.
    pub units: Vec<Vec<Digest>>,
    /// The bytes of that, with layers that others have too.
    pub bytes: u64,
    /// What should have been removed and was not, each with the reason.
    pub failed: Vec<(CleanupEntry, String)>,
    /// How many images the run had no time left for.
    pub left: usize,
    /// Why nothing was removed.
    pub stopped: Option<String>,
    /// The copies of the images in other registries, as far as a removal needs to know them.
    pub replication: Replication,
    /// Whether the plan waits for a confirmation. Then [`Self::stopped`] says why.
    pub waits: bool,
}

/// What is decided of a quarantine tag that goes alone.
pub const UNTAG: &str = "untag";
/// The decision about an image that is archived.
pub const ARCHIVE: &str = "archive";

impl SweepResult {
    /// How many images were archived.
    fn archived(&self) -> usize {
        self.removed.iter().filter(|entry| entry.decision == ARCHIVE).count()
    }

    /// How many of what was removed are quarantine tags alone.
    fn untagged(&self) -> usize {
        self.removed.iter().filter(|entry| entry.decision == UNTAG).count()
    }

    /// Whether it was carried out, as far as it went.
    #[must_use]
    pub fn is_carried_out(&self) -> bool {
        self.stopped.is_none() && self.mode != CleanupEnforcement::Report
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let nothing = self.removed.is_empty()
            && self.restored.is_empty()
            && self.failed.is_empty()
            && self.left == 0;
        !nothing || self.stopped.is_some()
    }
}

/// The end of a sentence about archived images.
const RESTORABLE: &str = "where nothing can be pulled. They can be restored, which takes some \
                          twenty minutes, until ECR deletes them after 90 days.";

/// What a sweep removed, would remove, or did not remove.
#[must_use]
pub fn cleanup(run: &SweepContext<'_>, outcome: &SweepResult) -> Alert {
    let SweepContext { repository, .. } = run;
    let (tags, count) = (outcome.untagged(), outcome.removed.len() - outcome.untagged());
    let archived = outcome.archived();
    let (images, were) = match count {
        1 => ("1 image".to_owned(), "was"),
        _ => (format!("{count} images"), "were"),
    };
    let size = format_bytes(outcome.bytes);
    let (title, sentence) = match (&outcome.stopped, outcome.mode) {
        (Some(why), _) if outcome.waits => (
            format!("The cleanup of {repository} waits for a confirmation"),
            format!("Nothing was removed: {why}. {images} ({size}) would be removed."),
        ),
        (Some(why), _) => (
            format!("The cleanup of {repository} was stopped"),
            match count {
                0 => format!("Nothing was removed: {why}."),
                _ => format!("Nothing was removed: {why}. {images} ({size}) would have gone."),
            },
        ),
        (None, CleanupEnforcement::Report) => (
            format!("{images} of {repository} would be removed"),
            format!("Nothing was removed: the enforcement is report. {images} ({size}) would go."),
        ),
        (None, _) if count == 0 && tags > 0 => (
            format!("Quarantine tags of {repository} were taken away"),
            "No image was removed.".to_owned(),
        ),
        (None, _) if count == 0 && !outcome.restored.is_empty() => (
            format!("Images of {repository} are being restored"),
            "A removal was interrupted, or a new index needs the images.".to_owned(),
        ),
        (None, _) if count == 0 => (
            format!("The cleanup of {repository} is not complete"),
            "Nothing was removed.".to_owned(),
        ),
        (None, _) if archived == count => (
            format!("{images} of {repository} went to the archive"),
            format!("{images} ({size}) went to the archive, {RESTORABLE}"),
        ),
        (None, _) if archived == 0 => (
            format!("{images} of {repository} {were} deleted"),
            format!("{images} ({size}) {were} deleted, and cannot be restored."),
        ),
        // Untagged images are deleted where tagged images are archived, or the other way round.
        (None, _) => (
            format!("{images} of {repository} were removed"),
            format!(
                "{images} ({size}) were removed: {} deleted, which cannot be restored, and \
                 {archived} archived, {RESTORABLE}",
                count - archived
            ),
        ),
    };
    let mut text = sentence;
    match tags {
        0 => {}
        1 => text += " A quarantine tag is not needed any more, beside a good one.",
        _ => text += &format!(" {tags} quarantine tags are not needed any more, beside good ones."),
    }
    match outcome.restored.len() {
        0 => {}
        1 => text += " 1 image is being restored, which takes some twenty minutes.",
        count => {
            text +=
                &format!(" {count} images are being restored, which takes some twenty minutes.");
        }
    }
    if !outcome.failed.is_empty() {
        text +=
            &format!(" {} could not be removed; the next run tries again.", outcome.failed.len());
    }
    if outcome.left > 0 {
        let left = outcome.left;
        text +=
            &format!(" {left} more were not tried, or changed meanwhile: the next run decides.");
    }
    if outcome.is_carried_out() && !outcome.removed.is_empty() {
        // A quarantine tag is removed, also where images are archived.
        let is_archived = outcome.mode == CleanupEnforcement::Archive && count > 0;
        let subject = if count > 0 { "They live" } else { "The tags live" };
        text += &copies_text(&outcome.replication, is_archived, subject);
    }
    list_images(&mut text, outcome);
    let severity = match () {
        () if outcome.stopped.is_some() || !outcome.failed.is_empty() => Severity::Medium,
        () => Severity::Informational,
    };
    Alert {
        details: fitting(MOST_IMAGES, |most| details(outcome, most)),
        remedies: remedies(run, outcome),
        ..run.alert(AlertKind::Cleanup, severity, title, text)
    }
}

/// Adds the images that were removed, restored or not removed, a line each.
fn list_images(text: &mut String, outcome: &SweepResult) {
    *text += "\n";
    let line = |entry: &CleanupEntry| {
        format!("\n- {}: {}: {}", entry.name(), entry.decision, entry.reason)
    };
    text.extend(outcome.removed.iter().take(MOST_NAMED).map(line));
    if let Some(more @ 1..) = outcome.removed.len().checked_sub(MOST_NAMED) {
        *text += &format!("\n- and {more} more");
    }
    text.extend(outcome.restored.iter().take(MOST_NAMED).map(line));
    let line =
        |(entry, why): &(CleanupEntry, String)| format!("\n- {}: not removed: {why}", entry.name());
    text.extend(outcome.failed.iter().take(MOST_NAMED).map(line));
}

fn details(outcome: &SweepResult, most: usize) -> Map<String, Value> {
    let replicated = copies(&outcome.replication).map(|copies| ("replicatedTo".to_owned(), copies));
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
        image.as_object_mut().into_iter().for_each(|it| {
            it.insert("error".to_owned(), why.as_str().into());
        });
        image
    };
    let count = outcome.removed.len();
    let removed = if outcome.is_carried_out() { count - outcome.untagged() } else { 0 };
    [
        ("mode", json!(outcome.mode)),
        ("hash", json!(outcome.hash)),
        ("stopped", json!(outcome.stopped)),
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
    let SweepContext { region, repository, function, stack, .. } = run;
    if !outcome.is_carried_out() {
        let invoke = |request: &Value| {
            // The name of a file means the same to both versions of the CLI; and what asks again
            // after a minute of silence would find the first run at work.
            format!(
                "printf '%s' '{request}' > sweep.json && aws lambda invoke --region {region} \
                 --function-name {function} --cli-read-timeout 900 --payload fileb://sweep.json answer.json && cat answer.json"
            )
        };
        let read = json!({"repository": repository, "mode": "report"});
        let of_stack = format!("{repository} --stack {stack} --region {region}");
        let plan = format!("ecr-warden plan {of_stack}");
        let mut remedies = vec![Remedy::tool("Read the plan", plan, invoke(&read))];
        // A confirmation does not change where the images are replicated.
        let can_confirm = outcome.replication.is_empty() && !outcome.removed.is_empty();
        if outcome.mode != CleanupEnforcement::Report && can_confirm {
            let confirm = format!("ecr-warden confirm {of_stack} --plan {}", outcome.hash);
            remedies
                .push(Remedy::aws("Confirm it, so that the next sweep carries it out", confirm));
        }
        return remedies;
    }
    let mut seen = HashSet::new();
    let all: Vec<&Digest> =
        outcome.units.iter().flatten().filter(|digest| seen.insert(*digest)).collect();
    if all.is_empty() {
        return vec![];
    }
    let all_at_once = restore(region, repository, "Restore them all", &all);
    match (&all_at_once[..], outcome.units.first()) {
        ([_], _) => all_at_once,
        (_, None) => vec![],
        // All images of one unit: an index without its parts cannot be pulled.
        (_, Some(first)) => {
            let images: Vec<&Digest> = first.iter().collect();
            restore(region, repository, "Restore the first of them", &images)
        }
    }
}

/// What else is not as it should be in a repository: told, and never changed.
#[must_use]
pub fn self_audit(run: &SweepContext<'_>, deviations: &[Deviation]) -> Alert {
    let SweepContext { repository, .. } = run;
    let lines: String = deviations.iter().map(|it| format!("\n- {}", it.text)).collect();
    let title = match deviations.len() {
        1 => format!("1 thing in {repository} is not as the policy says"),
        count => format!("{count} things in {repository} are not as the policy says"),
    };
    let text = format!(
        "Nothing was changed about it. It is told again when it changes, and else after seven \
         days.\n{lines}"
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
            image: None,
            details: Map::new(),
            remedies: Vec::new(),
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
            reason: "the image conforms by now, and is not in quarantine any more".to_owned(),
        }
    }

    /// A tag of it, or else its digest.
    #[must_use]
    pub fn name(&self) -> String {
        self.tags.first().map_or_else(|| self.digest.to_string(), |tag| tag.to_string())
    }
}

#[cfg(test)]
mod tests;
