//! What was shown, as a value: told as text while it happens, and afterwards as JSON and as a
//! page. Everything in it was asked of AWS, or comes from the functions.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::standing::Repository;
use super::text;

/// All of it, in order.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Where the AWS in memory is.
    pub endpoint: String,
    /// When it began, by the clock of the AWS in memory: RFC 3339.
    pub began: String,
    /// What happened.
    pub scenes: Vec<Scene>,
    /// What stands in the end, as components and their versions.
    pub repositories: Vec<Repository>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it is told on the way.
    #[serde(skip)]
    pub aloud: bool,
}

/// Something that is done, and what comes of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scene {
    /// What it is, in a line.
    pub title: String,
    /// Why it is shown.
    pub why: String,
    /// What is seen of it, in order.
    pub parts: Vec<Part>,
}

/// Something to see.
#[derive(Debug, Serialize)]
#[serde(tag = "part", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Part {
    /// A resource was made; these are the plans of its function.
    Resource { kind: String, physical_id: String, plans: Vec<String> },
    /// A repository's settings, as ECR says them.
    Settings(Settings),
    /// An IAM policy, as IAM says it.
    Policy { arn: String, statements: Vec<Statement> },
    /// The stack's outputs.
    Outputs { values: BTreeMap<String, String> },
    /// What the function wrote into its log of what it does.
    Log { lines: Vec<String> },
    /// What the function called.
    Calls {
        operations: Vec<String>,
        /// Whether the text has each once, with its number.
        #[serde(skip)]
        counted: bool,
    },
    /// What the image of a push is called in the end.
    Image { repository: String, digest: String, tags: Vec<String> },
    /// What is accepted from now on.
    Accepted { risk: Value },
    /// A function is invoked by hand.
    Request { function: String, payload: Value },
    /// What the function answered: a plan.
    Plan {
        answer: Value,
        /// Whether the text has the images of it too.
        #[serde(skip)]
        whole: bool,
    },
    /// What the function answered of one image.
    Explained { answer: Value },
    /// What ECR has in a repository's archive.
    Archived { repository: String, digests: Vec<String>, as_planned: bool },
    /// What else there is to see, in a line.
    Fact { text: String },
    /// What people were told.
    Alert(Box<Alert>),
    /// That nobody was told anything.
    NothingTold,
}

/// A repository, as ECR describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    pub name: String,
    pub uri: String,
    pub tag_mutability: String,
    pub scanned_on_push: bool,
    pub encrypted_with: String,
    pub tags: BTreeMap<String, String>,
    /// The rules of its lifecycle policy: the priority, and the description.
    pub lifecycle: Vec<(u64, String)>,
}

/// What a policy allows.
#[derive(Debug, Serialize)]
pub struct Statement {
    pub effect: String,
    pub actions: Vec<String>,
    pub resources: Vec<String>,
}

/// An alert, as each of those gets it who are told.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// For queues and functions.
    pub json: Value,
    /// For people.
    pub email: Email,
    /// What Slack got of it: blocks.
    pub slack: Option<Value>,
    /// For Amazon Q Developer in chat applications: a custom notification.
    pub chat: Option<Value>,
    /// How much of it the text has.
    #[serde(skip)]
    pub shown: Shown,
}

/// A mail.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Email {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// How much of an alert the text has; the page and the JSON have all of it.
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
    /// Begins a scene.
    pub fn step(&mut self, title: impl Into<String>, why: impl Into<String>) {
        let scene = Scene { title: title.into(), why: why.into(), parts: Vec::new() };
        self.tell(&text::head(&scene));
        self.scenes.push(scene);
    }

    /// Shows something.
    pub fn show(&mut self, part: Part) {
        self.tell(&text::part(&part));
        if let Some(scene) = self.scenes.last_mut() {
            scene.parts.push(part);
        }
    }

    /// Shows what people were told.
    pub fn show_alerts(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            self.show(Part::Alert(Box::new(alert)));
        }
    }

    /// Says something that is only of interest to who reads along.
    pub fn tell(&self, text: &str) {
        if self.aloud {
            super::print(text);
        }
    }

    /// Everything to see, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.scenes.iter().flat_map(|scene| &scene.parts)
    }

    /// The alerts, in order.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.parts().filter_map(|part| match part {
            Part::Alert(alert) => Some(&**alert),
            _ => None,
        })
    }
}

impl Alert {
    /// A field of it that is a text.
    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// What was done, or else what kind of alert it is.
    pub fn action(&self) -> &str {
        self.json["details"]["action"].as_str().unwrap_or_else(|| self.field("kind"))
    }
}
