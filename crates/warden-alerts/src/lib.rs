//! Alerts: one wire type, the texts of each kind, and the renderings as JSON, as e-mail, for Amazon Q
//! Developer (which shows alerts in Slack and Teams), and for a webhook of [`slack`].
//!
//! Every text has the same order: the event, the reason (`Why:`), the next step (`What to do:`), and
//! then lists. The renderings show the remedies and the runbook after the next step.
//!
//! Every alert is within the limits of Amazon SNS and of Amazon Q, however long its texts are:
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html> and
//! <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>.

mod cleanup;
mod partial;
mod remedy;
mod replication;
mod report;
mod risks;
mod runbook;
mod scan;
pub mod slack;
mod violation;

use std::fmt::Write as _;

use self::remedy::READ_PLAN;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::cleanup::{
    ARCHIVE, CleanupEntry, SweepContext, SweepResult, UNTAG, cleanup, self_audit,
};
pub use self::partial::PartialAlert;
pub use self::report::{
    DigestWeek, ReportedPlan, ReportedViolation, RepositoryReport, RoundContext, policy_warnings,
    report,
};
pub use self::risks::risks_changed;
pub use self::runbook::{find_runbook_url, is_runbook_url};
pub use self::scan::{
    AcceptedDetails, AlertOrigin, Baseline, FailureReason, FindingDetails, ScanAlert, ScanDetails,
    risk_expiring, scan_failed, scan_findings, scan_resolved, unreadable_risks,
};
pub use self::violation::{OtherImages, repository_violation, tag_violation};
use warden_core::image::{Component, Digest, RepositoryName, Tag};
use warden_core::keywords;
use warden_core::policy::{Owner, Severity};
use warden_core::text::{is_hidden, one_line, visible};

keywords!(
    /// The kind of an alert.
    #[derive(Deserialize)]
    AlertKind {
        /// A pushed tag violates the policy.
        TagViolation = "tag-violation",
        /// An image was pushed to a repository that no rule of the policy matches.
        RepositoryViolation = "repository-violation",
        /// A scan has findings that no alert has reported.
        ScanFindings = "scan-findings",
        /// The findings of an earlier alert are fixed or accepted.
        ScanResolved = "scan-resolved",
        /// An image could not be scanned.
        ScanFailed = "scan-failed",
        /// The acceptance of a risk ends within a few days.
        RiskExpiring = "risk-expiring",
        /// The list of accepted risks changed.
        RisksChanged = "risks-changed",
        /// A cleanup removed images, was stopped, or waits for a confirmation.
        Cleanup = "cleanup",
        /// The digest of one owner: what the rules that only report found in a week.
        Report = "report",
        /// A repository or the deployment differs from the policy.
        SelfAudit = "self-audit",
    }
);

/// The version of the JSON that this crate writes.
pub const VERSION: u32 = 2;

/// An alert. Functions publish alerts as JSON, and the notifier reads the JSON.
///
/// Unknown fields are ignored, so a newer version can add fields. A message that lacks a required
/// field is not an alert: [`PartialAlert`] reads its other fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The version of this JSON form: 2.
    pub version: u32,
    /// The kind.
    pub kind: AlertKind,
    /// The severity.
    pub severity: Severity,
    /// The event as one sentence, in one line.
    pub title: String,
    /// Paragraphs, separated by blank lines: the event, the reason, the next step, and lists.
    pub text: String,
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// The repository. None for an alert about the whole deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// The component of the image, if its tags name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// The owner of the repository, if its rule names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// The image. None for an alert about a repository or the whole deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Subject>,
    /// The fields that only this kind of alert has, which the section about the kind lists.
    pub details: Map<String, Value>,
    /// The commands that undo or resolve the event.
    pub remedies: Vec<Remedy>,
    /// The URL of the page that explains this kind of alert. The publisher sets the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// The version of the policy that the alert follows. The publisher sets the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The event that caused the alert.
    pub source: Source,
}

/// The image that an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The digest of the image.
    pub digest: Digest,
    /// The tags of the image after the event.
    pub tags: Vec<Tag>,
}

/// A command that undoes or resolves the event of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The effect of the command, as an instruction.
    #[serde(default)]
    pub label: String,
    /// A command of `ecr-warden`, or a command of the AWS CLI where `ecr-warden` has none.
    pub command: String,
    /// The command of the AWS CLI with the same effect, if `command` is a command of `ecr-warden`. It
    /// works in a POSIX shell with version 1 and 2 of the AWS CLI.
    #[serde(rename = "awsCli", default, skip_serializing_if = "Option::is_none")]
    pub aws_cli: Option<String>,
}

impl Remedy {
    /// A remedy with one command.
    fn aws(label: impl Into<String>, command: String) -> Self {
        Self { label: label.into(), command, aws_cli: None }
    }

    /// A remedy with a command of `ecr-warden` and a command of the AWS CLI.
    fn tool(label: impl Into<String>, command: String, aws_cli: String) -> Self {
        Self { label: label.into(), command, aws_cli: Some(aws_cli) }
    }
}

/// The event that caused an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The ID of the event.
    pub id: String,
    /// The time of the event, in the form of RFC 3339.
    pub time: String,
}

/// An event about an image: the fields that alerts contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The account's twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// The repository of the image.
    pub repository: RepositoryName,
    /// The digest of the image.
    pub digest: Digest,
    /// The ID and the time of the event.
    pub source: Source,
}

impl About {
    /// An alert about this image with these tags, without a component, details and remedies.
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
            owner: None,
            image: Some(Subject { digest: self.digest.clone(), tags }),
            details: Map::new(),
            remedies: Vec::new(),
            runbook: None,
            policy: None,
            source: self.source.clone(),
        }
    }
}

/// The message for SNS and for EventBridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The subject of e-mails.
    pub subject: String,
    /// A JSON object with a text for each protocol (`MessageStructure` `json`).
    pub body: String,
    /// The alert as JSON, which is also the text `default` of the body. An event of EventBridge has it
    /// as its detail. An event may be as large as a body, so the detail always fits.
    pub json: String,
    /// The ARN of the repository, if the alert is about one.
    pub repository_arn: Option<String>,
}

/// The most bytes of a message with the texts of all protocols.
const LARGEST_MESSAGE: usize = 262_144;
/// SNS accepts subjects of fewer than 100 characters.
const LONGEST_SUBJECT: usize = 99;
/// The most characters of a text, of a command, and of a title or a label.
const LONGEST_TEXT: usize = 8_000;
const LONGEST_COMMAND: usize = 2_600;
const LONGEST_TITLE: usize = 300;
/// The most characters of the URL of a runbook.
const LONGEST_URL: usize = 500;
/// The most remedies and the most tags of an alert.
const MOST_REMEDIES: usize = 4;
const MOST_TAGS: usize = 50;
/// The most bytes of the details.
const LARGEST_DETAILS: usize = 30_000;
/// The most characters of the description of a notification for Amazon Q.
const LONGEST_DESCRIPTION: usize = 8_000;

/// The label of the second command of a remedy.
const OR_AWS_CLI: &str = "Or with the AWS CLI";

/// How the paragraphs about the reason and the next step begin.
const WHY: &str = "Why: ";
const WHAT_TO_DO: &str = "What to do: ";

/// The most characters of ` --stack` and the name of a stack.
const LONGEST_STACK: usize = 136;

/// The most digests in a command, so that the command has at most [`LONGEST_COMMAND`] characters.
const MOST_DIGESTS: usize = 30;

/// The commands that restore images from the archive, with up to thirty images each. Empty if an
/// alert has no room for all of them, because an index without one of its images cannot be pulled.
fn restore_remedies(
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
        // The name of a repository can have 256 characters, and precedes each digest.
        if command.chars().count() + LONGEST_STACK <= LONGEST_COMMAND {
            Remedy::tool(label(nth), command, aws_cli)
        } else {
            Remedy::aws(label(nth), aws_cli)
        }
    };
    images.chunks(MOST_DIGESTS).enumerate().map(remedy).collect()
}

/// The command that reads the plan of a repository, with the name of the function `image-sweep`.
fn read_plan(region: &str, function: &str, repository: &RepositoryName) -> Remedy {
    let request = json!({"repository": repository, "mode": "report"});
    Remedy::tool(
        READ_PLAN,
        format!("ecr-warden plan {repository} --region {region}"),
        // Both versions of the CLI read a payload from a file in the same way. A longer timeout keeps the
        // CLI from sending a second request while the first sweep runs.
        format!(
            "printf '%s' '{request}' > sweep.json && aws lambda invoke --region {region} \
             --function-name {function} --cli-read-timeout 900 --payload fileb://sweep.json answer.json && cat answer.json"
        ),
    )
}

/// Details whose lists have at most `most` entries, and fewer if the details are too large.
fn fit_details(
    mut most: usize,
    details: impl Fn(usize) -> Map<String, Value>,
) -> Map<String, Value> {
    loop {
        let details = details(most);
        let size = serde_json::to_string(&details).map_or(0, |json| json.len());
        if size <= LARGEST_DETAILS || most == 0 {
            return details;
        }
        most = most * 3 / 4;
    }
}

impl Alert {
    /// The message for SNS, with a text for each protocol. `partition` is the partition of the
    /// account, such as `aws-cn`.
    #[must_use]
    pub fn message(&self, partition: &str) -> Message {
        let mut alert = self.within_limits();
        let texts = |alert: &Self| {
            let (json, https) = (alert.json(), alert.amazon_q(partition).to_string());
            let body = json!({"default": json, "email": alert.email(), "https": https});
            (body.to_string(), json)
        };
        let (mut body, mut json) = texts(&alert);
        // JSON within JSON escapes some characters several times.
        while body.len() > LARGEST_MESSAGE && alert.remedies.pop().is_some() {
            (body, json) = texts(&alert);
        }
        // A subject has only ASCII characters, and none that ends the line.
        let ascii = |text: &str| -> String {
            text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
        };
        // SNS refuses an empty subject.
        let subject = ascii(&alert.title);
        let subject = if subject.trim().is_empty() { alert.kind.to_string() } else { subject };
        let subject = shortened(subject, LONGEST_SUBJECT, "...");
        Message { subject, body, json, repository_arn: alert.repository_arn(partition) }
    }

    /// The ARN of the repository, if the alert is about one.
    fn repository_arn(&self, partition: &str) -> Option<String> {
        let Self { region, account, repository, .. } = self;
        let arn = |name| format!("arn:{partition}:ecr:{region}:{account}:repository/{name}");
        repository.as_ref().map(arn)
    }

    /// The content of the alert, which is the same in each attempt to publish it. The event that
    /// caused the alert is no part of it.
    #[must_use]
    pub fn content(&self) -> String {
        json!([self.kind, self.repository, self.image, self.title, self.text, self.details])
            .to_string()
    }

    /// The alert without hidden characters, and within the limits of its readers. A shortened text
    /// ends with an ellipsis.
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
        // A reader would copy another command than the one that works, so such a command is omitted.
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
        alert.runbook = alert.runbook.take().filter(|url| {
            url.chars().count() <= LONGEST_URL && !url.contains(|c: char| is_hidden(c) || c == ' ')
        });
        let size = serde_json::to_string(&alert.details).map_or(usize::MAX, |json| json.len());
        if size > LARGEST_DETAILS {
            let omitted = format!("{size} bytes, more than fit into an alert");
            alert.details = Map::from_iter([("omitted".to_owned(), omitted.into())]);
        }
        alert
    }

    /// The JSON for functions and queues.
    fn json(&self) -> String {
        json!(self).to_string()
    }

    /// The text of an e-mail, which has no formatting.
    fn email(&self) -> String {
        let (first, lists) = self.parts();
        let mut text = format!("{}\n\n{first}\n", self.title);
        for remedy in &self.remedies {
            let _ = write!(text, "\n{}:\n\n    {}\n", remedy.label, remedy.command);
            if let Some(command) = &remedy.aws_cli {
                let _ = write!(text, "\n{OR_AWS_CLI}:\n\n    {command}\n");
            }
        }
        if let Some(url) = &self.runbook {
            let _ = write!(text, "\nRunbook: {url}\n");
        }
        if !lists.is_empty() {
            let _ = write!(text, "\n{lists}\n");
        }
        for (name, value) in self.facts() {
            let _ = write!(text, "\n{name:<12}{value}");
        }
        text + "\n"
    }

    /// The text up to the next step, and the lists after it. The remedies belong between the two.
    fn parts(&self) -> (&str, &str) {
        let step = if self.text.starts_with(WHAT_TO_DO) {
            Some(0)
        } else {
            self.text.find(&format!("\n\n{WHAT_TO_DO}")).map(|at| at + 2)
        };
        let end = step.and_then(|step| Some(step + self.text.get(step..)?.find("\n\n")?));
        match end.and_then(|end| self.text.split_at_checked(end)) {
            Some((first, lists)) => (first, lists.trim_start_matches('\n')),
            None => (&self.text, ""),
        }
    }

    /// The custom notification for Amazon Q Developer in chat applications.
    fn amazon_q(&self, partition: &str) -> Value {
        let (first, lists) = self.parts();
        let mut description = first.to_owned();
        let is_short = |description: &str, block: &str| {
            description.chars().count() + block.chars().count() <= LONGEST_DESCRIPTION
        };
        for Remedy { label, command, aws_cli } in &self.remedies {
            let command = format!("\n\n{label}:\n```\n{command}\n```");
            let aws_cli = aws_cli.iter().map(|line| format!("\n{OR_AWS_CLI}:\n```\n{line}\n```"));
            for block in [command].into_iter().chain(aws_cli) {
                // The end of a shortened code block would be missing, so a long block is omitted.
                if !is_short(&description, &block) {
                    break;
                }
                description += &block;
            }
        }
        let runbook = self.runbook.as_ref().map(|url| format!("\n\nRunbook: {url}"));
        if let Some(line) = runbook.filter(|line| is_short(&description, line)) {
            description += &line;
        }
        if !lists.is_empty() {
            description = format!("{description}\n\n{lists}");
        }
        let labels = self.remedies.iter().map(|remedy| shortened(remedy.label.clone(), 350, "…"));
        let component = self.component.as_ref().map(ToString::to_string);
        let repository = self.repository.as_ref().map(ToString::to_string);
        let keywords = [Some(self.kind.to_string()), repository.clone(), component];
        let keywords = keywords.into_iter().flatten().map(|word| shortened(word, 75, "…"));
        let facts = self.facts().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let digest = self.image.as_ref().map(|image| image.digest.to_string());
        let thread = [repository.clone(), digest].into_iter().flatten().collect::<Vec<_>>();
        let thread = if thread.is_empty() { self.kind.to_string() } else { thread.join("/") };
        json!({
            "version": "1.0",
            "source": "custom",
            "id": self.source.id,
            "content": {
                "textType": "client-markdown",
                "title": shortened(self.title.clone(), 250, "…"),
                "description": shortened(description, LONGEST_DESCRIPTION, "…"),
                "nextSteps": labels.collect::<Vec<_>>(),
                "keywords": keywords.collect::<Vec<_>>(),
            },
            "metadata": {
                "threadId": thread,
                "summary": shortened(self.title.clone(), 250, "…"),
                "eventType": self.kind,
                "relatedResources": self.repository_arn(partition).into_iter().collect::<Vec<_>>(),
                "additionalContext": Value::Object(facts.collect()),
            },
        })
    }

    /// The names and values that every alert ends with.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = vec![("Severity", self.severity.to_string())];
        facts.extend(self.repository.iter().map(|name| ("Repository", name.to_string())));
        facts.extend(self.component.iter().map(|name| ("Component", name.to_string())));
        facts.extend(self.owner.iter().map(|owner| ("Owner", owner.to_string())));
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

/// Removes hidden characters from every text in a value.
fn remove_hidden(value: &mut Value) {
    match value {
        Value::String(text) => *text = visible(text),
        Value::Array(values) => values.iter_mut().for_each(remove_hidden),
        Value::Object(fields) => fields.values_mut().for_each(remove_hidden),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A number with its noun, such as `2 images`.
fn number_of(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// The text with at most `most` characters. The end of a longer text is replaced with `end`.
fn shortened(text: String, most: usize, end: &str) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let kept: String = text.chars().take(most - end.chars().count()).collect();
    kept + end
}

#[cfg(test)]
mod tests;
