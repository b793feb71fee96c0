//! Alerts: one wire type, the texts of each kind, and the renderings for machines, for e-mail, for
//! Amazon Q Developer, which brings alerts to Slack and Teams, and for a webhook of [`slack`].
//!
//! Every alert is within the limits of Amazon SNS and of Amazon Q, however long its texts are:
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html> and
//! <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>.

mod cleanup;
mod partial;
mod remedy;
mod replication;
mod risks;
mod scan;
pub mod slack;
mod violation;

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

pub use self::cleanup::{
    ARCHIVE, CleanupEntry, SweepContext, SweepResult, UNTAG, cleanup, self_audit,
};
pub use self::partial::PartialAlert;
pub use self::risks::risks_changed;
pub use self::scan::{
    AcceptedDetails, AlertOrigin, Baseline, FailureReason, FindingDetails, ScanAlert, ScanDetails,
    risk_expiring, scan_failed, scan_findings, scan_resolved, unreadable_risks,
};
pub use self::violation::{repository_violation, tag_violation};
use warden_core::image::{Component, Digest, RepositoryName, Tag};
use warden_core::keywords;
use warden_core::policy::Severity;
use warden_core::text::{is_hidden, one_line, visible};

keywords!(
    /// What an alert is about.
    #[derive(Deserialize)]
    AlertKind {
        /// A tag that breaks the policy.
        TagViolation = "tag-violation",
        /// A repository whose name nobody expects.
        RepositoryViolation = "repository-violation",
        /// What a scan found that is news.
        ScanFindings = "scan-findings",
        /// The last alert of findings is over.
        ScanResolved = "scan-resolved",
        /// An image could not be scanned.
        ScanFailed = "scan-failed",
        /// A risk is accepted for a few days more.
        RiskExpiring = "risk-expiring",
        /// The list of accepted risks has changed.
        RisksChanged = "risks-changed",
        /// Images were removed, or a guard stopped it.
        Cleanup = "cleanup",
        /// Something of ours is not as it should be.
        SelfAudit = "self-audit",
    }
);

/// The version of the JSON that this crate writes.
pub const VERSION: u32 = 1;

/// Something that people should know. Functions write it as JSON, and the notifier reads it.
///
/// Fields that a newer version adds are ignored. A message that lacks a field is not an alert;
/// [`PartialAlert`] reads the rest of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The version of the JSON: [`VERSION`] where this crate wrote it.
    pub version: u32,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad that is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What happened, in sentences.
    pub text: String,
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// The repository, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// What the image is a version of, where that is known.
    #[serde(default, deserialize_with = "read_component", skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// The image, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Subject>,
    /// What only this kind has: of scans [`ScanDetails`].
    pub details: Map<String, Value>,
    /// What can be done about it.
    pub remedies: Vec<Remedy>,
    /// What caused it.
    pub source: Source,
}

/// The image that an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its digest.
    pub digest: Digest,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// What it does.
    #[serde(default)]
    pub label: String,
    /// A command of `ecr-warden`; where it has no such command, one of the AWS CLI.
    pub command: String,
    /// The same for a POSIX shell with version 1 or 2 of the AWS CLI, where `command` is one of
    /// `ecr-warden`.
    #[serde(rename = "awsCli", default, skip_serializing_if = "Option::is_none")]
    pub aws_cli: Option<String>,
}

impl Remedy {
    /// A remedy that only the AWS CLI has a command for.
    fn aws(label: impl Into<String>, command: String) -> Self {
        Self { label: label.into(), command, aws_cli: None }
    }

    /// A remedy that `ecr-warden` has a command for.
    fn tool(label: impl Into<String>, command: String, aws_cli: String) -> Self {
        Self { label: label.into(), command, aws_cli: Some(aws_cli) }
    }
}

/// The event that an alert is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The event's ID.
    pub id: String,
    /// Its time, by RFC 3339.
    pub time: String,
}

/// The image that an event is about, and the event, as far as alerts tell of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Where the image is.
    pub repository: RepositoryName,
    /// Which it is.
    pub digest: Digest,
    /// The event.
    pub source: Source,
}

impl About {
    /// An alert of this image with these tags, without what only its kind has.
    fn alert(
        &self,
        kind: AlertKind,
        severity: Severity,
        title: String,
        text: String,
        tags: Vec<Tag>,
    ) -> Alert {
        Alert {
            version: VERSION,
            kind,
            severity,
            title,
            text,
            account: self.account.clone(),
            region: self.region.clone(),
            repository: Some(self.repository.clone()),
            component: None,
            image: Some(Subject { digest: self.digest.clone(), tags }),
            details: Map::new(),
            remedies: Vec::new(),
            source: self.source.clone(),
        }
    }
}

/// What SNS is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject of e-mails.
    pub subject: String,
    /// A JSON object with a text for each protocol (`MessageStructure` `json`).
    pub body: String,
}

/// The most bytes of a message, all protocols together. The limits below keep it.
#[cfg(test)]
const LARGEST_MESSAGE: usize = 262_144;
/// SNS takes subjects of fewer than 100 characters.
const LONGEST_SUBJECT: usize = 99;
/// The most characters of a text, of a remedy's command or label, and how many remedies and
/// tags are told.
const LONGEST_TEXT: usize = 8_000;
const LONGEST_COMMAND: usize = 2_600;
const LONGEST_TITLE: usize = 300;
const MOST_REMEDIES: usize = 4;
const MOST_TAGS: usize = 50;
/// The most bytes of the details.
const LARGEST_DETAILS: usize = 30_000;

/// The words between the two commands of a remedy.
const OR_AWS_CLI: &str = "Or with the AWS CLI";

/// The most digests of a command: their command has fewer than [`LONGEST_COMMAND`] characters.
const MOST_DIGESTS: usize = 30;

/// The commands that restore images from the archive, with up to thirty images each. None if an
/// alert has no room for all of them: an index without one of its images cannot be pulled.
fn restore(
    region: &str,
    repository: &RepositoryName,
    label: &str,
    images: &[&Digest],
) -> Vec<Remedy> {
    if images.len() > MOST_REMEDIES * MOST_DIGESTS {
        return vec![];
    }
    let update = format!(
        "aws ecr update-image-storage-class --region {region} --repository-name {repository}"
    );
    let aws_cli = |images: &[&Digest]| {
        if let [digest] = images {
            return format!(
                "{update} --image-id imageDigest={digest} --target-storage-class STANDARD"
            );
        }
        let digests: Vec<&str> = images.iter().map(|digest| digest.as_str()).collect();
        format!(
            "for digest in {}; do {update} --image-id imageDigest=$digest \
             --target-storage-class STANDARD; done",
            digests.join(" ")
        )
    };
    let tool = |images: &[&Digest]| {
        let images = images.iter().map(|digest| format!(" {repository}@{digest}"));
        format!("ecr-warden restore --region {region}{}", images.collect::<String>())
    };
    let count = images.len().div_ceil(MOST_DIGESTS);
    let label = |nth: usize| match count {
        1 => label.to_owned(),
        _ => format!("{label} ({} of {count})", nth + 1),
    };
    let remedy = |(nth, images): (usize, &[&Digest])| {
        let (command, aws_cli) = (tool(images), aws_cli(images));
        // A repository has up to 256 characters, and stands before each image.
        if command.chars().count() <= LONGEST_COMMAND {
            Remedy::tool(label(nth), command, aws_cli)
        } else {
            Remedy::aws(label(nth), aws_cli)
        }
    };
    images.chunks(MOST_DIGESTS).enumerate().map(remedy).collect()
}

/// Details whose lists are as long as fit into an alert, and no longer than `most`.
fn fitting(mut most: usize, details: impl Fn(usize) -> Map<String, Value>) -> Map<String, Value> {
    loop {
        let details = details(most);
        let size = serde_json::to_string(&details).map_or(0, |it| it.len());
        if size <= LARGEST_DETAILS || most == 0 {
            return details;
        }
        most = most * 3 / 4;
    }
}

impl Alert {
    /// The alert in each protocol's text, together within what SNS takes. `partition` is that of
    /// the alert's account, such as `aws-cn`.
    #[must_use]
    pub fn message(&self, partition: &str) -> Message {
        let alert = self.within_limits();
        let texts = json!({
            "default": alert.json(),
            "email": alert.email(),
            "https": alert.amazon_q(partition).to_string(),
        });
        // E-mail subjects are ASCII, without what could end the line.
        let ascii = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
        };
        // SNS takes no empty one.
        let subject = ascii(&alert.title);
        let subject = if subject.trim().is_empty() { alert.kind.to_string() } else { subject };
        Message { subject: shortened(subject, LONGEST_SUBJECT, "..."), body: texts.to_string() }
    }

    /// The same alert without hidden characters, and within the limits of its readers. A text
    /// that is cut off ends with an ellipsis.
    fn within_limits(&self) -> Self {
        let mut alert = self.clone();
        alert.title = shortened(one_line(&alert.title), LONGEST_TITLE, "…");
        alert.text = shortened(visible(&alert.text), LONGEST_TEXT, "…");
        let Source { id, time } = &mut alert.source;
        for text in [&mut alert.account, &mut alert.region, id, time] {
            *text = one_line(text);
        }
        alert.details.values_mut().for_each(remove_hidden);
        alert.remedies.truncate(MOST_REMEDIES);
        // A cut command, or one with hidden characters, is not the command that a reader sees.
        let is_shown = |command: &String| {
            command.chars().count() <= LONGEST_COMMAND && !command.contains(is_hidden)
        };
        alert.remedies.retain(|remedy| is_shown(&remedy.command));
        for remedy in &mut alert.remedies {
            remedy.aws_cli = remedy.aws_cli.take().filter(is_shown);
            remedy.label = shortened(one_line(&remedy.label), LONGEST_TITLE, "…");
        }
        if let Some(image) = &mut alert.image {
            image.tags.truncate(MOST_TAGS);
        }
        let size = serde_json::to_string(&alert.details).map_or(usize::MAX, |it| it.len());
        if size > LARGEST_DETAILS {
            let omitted = format!("{size} bytes, more than fit into an alert");
            alert.details = Map::from_iter([("omitted".to_owned(), omitted.into())]);
        }
        alert
    }

    /// For machines: Lambda functions and queues.
    fn json(&self) -> String {
        json!(self).to_string()
    }

    /// For a person's inbox, where nothing is rendered.
    fn email(&self) -> String {
        let mut text = format!("{}\n\n{}\n", self.title, self.text);
        for remedy in &self.remedies {
            let _ = write!(text, "\n{}:\n\n    {}\n", remedy.label, remedy.command);
            if let Some(command) = &remedy.aws_cli {
                let _ = write!(text, "\n{OR_AWS_CLI}:\n\n    {command}\n");
            }
        }
        for (name, value) in self.facts() {
            let _ = write!(text, "\n{name:<12}{value}");
        }
        text + "\n"
    }

    /// For Amazon Q Developer in chat applications: a custom notification.
    fn amazon_q(&self, partition: &str) -> Value {
        let mut description = self.text.clone();
        for Remedy { label, command, aws_cli } in &self.remedies {
            let with = format!("\n\n{label}:\n```\n{command}\n```");
            let aws_cli = aws_cli.iter().map(|line| format!("\n{OR_AWS_CLI}:\n```\n{line}\n```"));
            for block in [with].into_iter().chain(aws_cli) {
                // A code block that is cut off would swallow what follows.
                if description.chars().count() + block.chars().count() > 8_000 {
                    break;
                }
                description += &block;
            }
        }
        let labels = self.remedies.iter().map(|remedy| shortened(remedy.label.clone(), 350, "…"));
        let component = self.component.as_ref().map(|it| it.to_string());
        let repository = self.repository.as_ref().map(|it| it.to_string());
        let keywords = [Some(self.kind.to_string()), repository.clone(), component];
        let keywords = keywords.into_iter().flatten().map(|word| shortened(word, 75, "…"));
        let facts = self.facts().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let about = self.image.as_ref().map(|it| it.digest.to_string());
        let thread = [repository.clone(), about].into_iter().flatten().collect::<Vec<_>>();
        let thread = if thread.is_empty() { self.kind.to_string() } else { thread.join("/") };
        let arn = |repository: String| {
            let Self { region, account, .. } = self;
            format!("arn:{partition}:ecr:{region}:{account}:repository/{repository}")
        };
        json!({
            "version": "1.0",
            "source": "custom",
            "id": self.source.id,
            "content": {
                "textType": "client-markdown",
                "title": shortened(self.title.clone(), 250, "…"),
                "description": shortened(description, 8_000, "…"),
                "nextSteps": labels.collect::<Vec<_>>(),
                "keywords": keywords.collect::<Vec<_>>(),
            },
            "metadata": {
                "threadId": thread,
                "summary": shortened(self.title.clone(), 250, "…"),
                "eventType": self.kind,
                "relatedResources": repository.map(arn).into_iter().collect::<Vec<_>>(),
                "additionalContext": Value::Object(facts.collect()),
            },
        })
    }

    /// What every alert says at its end, line by line.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Severity", self.severity.to_string())];
        facts.extend(self.repository.iter().map(|it| ("Repository", it.to_string())));
        facts.extend(self.component.iter().map(|it| ("Component", it.to_string())));
        if let Some(image) = &self.image {
            facts.push(("Image", image.digest.to_string()));
            let tags: Vec<&str> = image.tags.iter().map(Tag::as_str).collect();
            facts.push(("Tags", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }));
        }
        facts.push(("Account", format!("{}, {}", self.account, self.region)));
        facts.push(("Event", format!("{} at {}", self.source.id, self.source.time)));
        facts
    }
}

/// Reads a component. Where tags name none, it is the name of the repository, in which there may
/// be more characters.
fn read_component<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Component>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let component = name.parse().or_else(|_| {
        let repository: Result<RepositoryName, _> = name.parse();
        repository.map(|repository| Component::from(&repository))
    });
    component.map(Some).map_err(D::Error::custom)
}

/// Removes hidden characters from every text in a value.
fn remove_hidden(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(values) => values.iter_mut().for_each(remove_hidden),
        Value::Object(fields) => fields.values_mut().for_each(remove_hidden),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text with at most so many characters, the end of it replaced where it had more.
fn shortened(text: String, most: usize, end: &str) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most - end.chars().count()).collect();
    kept + end
}

#[cfg(test)]
mod tests;
