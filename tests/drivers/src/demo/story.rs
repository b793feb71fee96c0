//! The facts of one run, in order. They are printed as text during the run, and written as JSON
//! and as a page at its end.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::inventory::Repository;
use super::text;

/// A run of the demonstration.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// The account of the stack.
    pub account: String,
    /// The region of the stack.
    pub region: String,
    /// The URL of the embedded AWS.
    pub endpoint: String,
    /// The start of the run, by the clock of the embedded AWS: RFC 3339.
    pub began: String,
    /// The steps, in order.
    pub scenes: Vec<Scene>,
    /// The repositories at the end of the run.
    pub repositories: Vec<Repository>,
    /// The reason why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How much of the run is printed.
    #[serde(skip)]
    pub narration: Narration,
    /// Whether the brief text already contains an alert.
    #[serde(skip)]
    pub has_printed_alert: bool,
}

/// How much of a run is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Narration {
    /// No text, because the standard output is JSON.
    #[default]
    Silent,
    /// A line for each step, and one alert.
    Brief,
    /// Every part of each step.
    Verbose,
}

/// A step of the run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scene {
    /// The action, in one line.
    pub title: String,
    /// The explanation of the step.
    pub why: String,
    /// The observed facts, in order.
    pub parts: Vec<Part>,
    /// The action and its effect in one sentence, which a reader understands without the title.
    pub outcome: String,
}

/// A fact that a step observed.
#[derive(Debug, Serialize)]
#[serde(tag = "part", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Part {
    /// A resource that CloudFormation created, and the decisions that its function logged.
    Resource { kind: String, physical_id: String, plans: Vec<String> },
    /// The settings of a repository, as ECR describes them.
    Settings(Settings),
    /// An IAM policy, as IAM stores it.
    Policy { arn: String, statements: Vec<Statement> },
    /// The stack's outputs.
    Outputs { values: BTreeMap<String, String> },
    /// The decisions that a function logged.
    Log { lines: Vec<String> },
    /// The AWS calls of a function.
    Calls {
        operations: Vec<String>,
        /// Whether the text groups equal calls and counts them.
        #[serde(skip)]
        grouped: bool,
    },
    /// The tags of a pushed image at the end of the step.
    Image { repository: String, digest: String, tags: Vec<String> },
    /// A risk that was added to the list of accepted risks.
    Accepted { risk: Value },
    /// A function that an operator invoked.
    Request { function: String, payload: Value },
    /// The plan that a function returned.
    Plan {
        answer: Value,
        /// Whether the text contains the plan's images too.
        #[serde(skip)]
        whole: bool,
    },
    /// The explanation of one image that a function returned.
    Explained { answer: Value },
    /// The images in the archive of a repository, as ECR lists them.
    Archived { repository: String, digests: Vec<String>, as_planned: bool },
    /// Any other fact, in one line.
    Fact { text: String },
    /// An alert that was published.
    Alert(Box<Alert>),
    /// No alert was published.
    NoAlert,
}

/// The settings of a repository, as ECR describes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub name: String,
    pub uri: String,
    pub tag_mutability: String,
    pub scanned_on_push: bool,
    pub encrypted_with: String,
    pub tags: BTreeMap<String, String>,
    /// The rules of the lifecycle policy: priority and description.
    pub lifecycle: Vec<(u64, String)>,
}

/// A statement of an IAM policy.
#[derive(Debug, Serialize)]
pub struct Statement {
    pub effect: String,
    pub actions: Vec<String>,
    pub resources: Vec<String>,
}

/// An alert, as each kind of subscriber received it.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// The JSON, which queues and functions receive.
    pub json: Value,
    /// The e-mail.
    pub email: Email,
    /// The Slack message: blocks.
    pub slack: Option<Value>,
    /// The custom notification for Amazon Q Developer in chat applications.
    pub chat: Option<Value>,
    /// The renderings that the verbose text contains.
    #[serde(skip)]
    pub shown: Shown,
}

/// An e-mail.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Email {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// The renderings of an alert that the verbose text contains. The page and the JSON contain every
/// rendering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    Nothing,
    Title,
    Email,
    EmailAndSlack,
    Slack,
    All,
}

impl Story {
    /// Prints a heading for the steps that follow, where each step is one line.
    pub fn begin_chapter(&self, title: &str) {
        if self.narration == Narration::Brief {
            super::print(&format!("\n{title}\n"));
        }
    }

    /// Begins a step.
    pub fn begin_step(&mut self, title: impl Into<String>, why: impl Into<String>) {
        let scene = Scene { title: title.into(), why: why.into(), ..Scene::default() };
        self.print_verbose(&text::heading(&scene));
        self.scenes.push(scene);
    }

    /// Adds a fact to the step.
    pub fn show(&mut self, part: Part) {
        self.print_verbose(&text::part(&part));
        if let Some(scene) = self.scenes.last_mut() {
            scene.parts.push(part);
        }
    }

    /// Adds the alerts to the step.
    pub fn show_alerts(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            self.show(Part::Alert(Box::new(alert)));
        }
    }

    /// Ends the step with its outcome. The outcome is the only line of the step in the brief text,
    /// except that the first alert that the verbose text contains in full follows its step.
    pub fn end_step(&mut self, outcome: impl Into<String>) {
        let outcome = outcome.into();
        self.print_verbose(&text::outcome(&outcome));
        if self.narration == Narration::Brief {
            super::print(&format!("{:>4}  {outcome}\n", self.scenes.len()));
        }
        let Some(scene) = self.scenes.last_mut() else { return };
        scene.outcome = outcome;
        let mut whole = scene.parts.iter().filter_map(Part::alert);
        let whole = whole.find(|alert| alert.shown == Shown::All);
        if let Some(alert) = whole
            && self.narration == Narration::Brief
            && !self.has_printed_alert
        {
            super::print(&(text::email(alert) + "\n"));
            self.has_printed_alert = true;
        }
    }

    /// Prints a text in the brief and in the verbose mode.
    pub fn print(&self, text: &str) {
        if self.narration != Narration::Silent {
            super::print(text);
        }
    }

    fn print_verbose(&self, text: &str) {
        if self.narration == Narration::Verbose {
            super::print(text);
        }
    }

    /// Every fact, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.scenes.iter().flat_map(|scene| &scene.parts)
    }

    /// The alerts, in order.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.parts().filter_map(Part::alert)
    }
}

impl Part {
    /// The type of the resource, where the fact is a created resource.
    pub fn resource_kind(&self) -> Option<&str> {
        match self {
            Self::Resource { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// The alert, where the fact is an alert.
    pub fn alert(&self) -> Option<&Alert> {
        match self {
            Self::Alert(alert) => Some(alert),
            _ => None,
        }
    }
}

impl Alert {
    /// A field of the alert that is a text.
    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// The first command that undoes what the alert reports.
    pub fn first_command(&self) -> &str {
        self.json["remedies"][0]["command"].as_str().unwrap_or_default()
    }

    /// The action that the alert reports, or else the kind of the alert.
    pub fn action(&self) -> &str {
        self.json["details"]["action"].as_str().unwrap_or_else(|| self.field("kind"))
    }
}
