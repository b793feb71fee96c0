//! Policies as IAM evaluates them: which requests a document allows or denies.
//!
//! The module knows no service and keeps no state. [`Document`] reads a policy, and
//! [`Document::decide`] judges one [`Request`] by it. An operator or a condition key that this
//! module does not know is an error when the document is read, so that no statement ever
//! matches, or fails to match, by accident.
//!
//! Validated against
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html> and, by
//! the end-to-end run, against the evaluators of other projects.

mod condition;
pub(crate) mod grammar;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use condition::Condition;

/// A policy document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Its statements, in order. Every call is judged, so a copy of a document has to be cheap.
    pub statements: Arc<Vec<Statement>>,
}

/// A statement of a policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The name of the statement, empty if the statement has none.
    pub sid: String,
    /// Whether it denies.
    pub denies: bool,
    /// Whom it is about. None in a policy of a role.
    principals: Option<Vec<Principal>>,
    actions: Patterns,
    /// The resources that it is about. None means all: a repository policy has no resources.
    pub resources: Option<Patterns>,
    conditions: Vec<Condition>,
}

/// Wildcard patterns, or everything that no pattern matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns {
    is_negated: bool,
    /// The patterns, in order.
    pub patterns: Vec<String>,
}

/// A principal of a resource's policy.
#[derive(Clone, Debug, PartialEq)]
enum Principal {
    Anyone,
    /// The account, by its twelve digits.
    Account(String),
    /// The ARN of a role, a user or a session.
    Arn(String),
    /// A service, such as `events.amazonaws.com`.
    Service(String),
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// A session of a role.
    Role {
        /// The ARN of the role.
        arn: String,
        /// The name of the session.
        session: String,
    },
    /// A service of AWS, such as `events.amazonaws.com`.
    Service(String),
}

/// A request, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The sender.
    pub caller: Caller,
    /// Such as `ecr:PutImage`.
    pub action: String,
    /// The ARN of the resource, or `*`.
    pub resource: String,
    /// The values of the condition keys. The keys are in lower case.
    pub context: BTreeMap<String, Vec<String>>,
}

/// The decision of a document about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// No statement matches.
    NoMatch,
    /// A statement of a resource's policy allows the account of the caller: the policies of the
    /// role decide.
    AllowsAccount,
    /// A statement allows it.
    Allows,
    /// A statement denies it.
    Denies,
}

/// A document that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy that the embedded AWS cannot evaluate: {0}")]
pub struct NotEvaluated(String);

fn not_evaluated<T>(reason: impl Into<String>) -> Result<T, NotEvaluated> {
    Err(NotEvaluated(reason.into()))
}

impl Document {
    /// Reads a document from its text.
    pub fn parse(text: &str) -> Result<Self, NotEvaluated> {
        match serde_json::from_str(text) {
            Ok(document) => Self::read(&document),
            Err(error) => not_evaluated(error.to_string()),
        }
    }

    /// Reads a document.
    pub fn read(document: &Value) -> Result<Self, NotEvaluated> {
        let statements = match &document["Statement"] {
            Value::Array(statements) => {
                statements.iter().map(Statement::read).collect::<Result<Vec<_>, _>>()
            }
            statement @ Value::Object(_) => Statement::read(statement).map(|one| vec![one]),
            _ => not_evaluated("it has no Statement"),
        };
        Ok(Self { statements: Arc::new(statements?) })
    }

    /// Decides a request by the document. A statement that denies wins.
    #[must_use]
    pub fn decide(&self, request: &Request) -> Decision {
        let decisions = self.statements.iter().map(|statement| statement.decide(request));
        decisions.max().unwrap_or(Decision::NoMatch)
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, NotEvaluated> {
        const KNOWN: [&str; 8] = [
            "Action",
            "Condition",
            "Effect",
            "NotAction",
            "NotResource",
            "Principal",
            "Resource",
            "Sid",
        ];
        let members = statement.as_object().into_iter().flatten();
        for (name, _) in members {
            if !KNOWN.contains(&name.as_str()) {
                return not_evaluated(format!("the element {name}"));
            }
        }
        let denies = match statement["Effect"].as_str() {
            Some("Allow") => false,
            Some("Deny") => true,
            other => return not_evaluated(format!("the effect {other:?}")),
        };
        let Some(actions) = Patterns::read(statement, "Action", "NotAction")? else {
            return not_evaluated("a statement has no Action");
        };
        Ok(Self {
            sid: statement["Sid"].as_str().unwrap_or_default().to_owned(),
            denies,
            principals: statement.get("Principal").map(principals).transpose()?,
            actions: Patterns {
                patterns: actions.patterns.iter().map(|pattern| pattern.to_lowercase()).collect(),
                ..actions
            },
            resources: Patterns::read(statement, "Resource", "NotResource")?,
            conditions: condition::read(statement.get("Condition"))?,
        })
    }

    fn decide(&self, request: &Request) -> Decision {
        let matches = self.actions.matches(&request.action.to_lowercase())
            && self.resources.as_ref().is_none_or(|them| them.matches(&request.resource))
            && self.conditions.iter().all(|condition| condition.holds(&request.context));
        let principal = match &self.principals {
            None => Decision::Allows,
            Some(principals) => {
                let decisions = principals.iter().map(|principal| principal.is(&request.caller));
                decisions.max().unwrap_or(Decision::NoMatch)
            }
        };
        match principal {
            _ if !matches => Decision::NoMatch,
            Decision::NoMatch => Decision::NoMatch,
            _ if self.denies => Decision::Denies,
            principal => principal,
        }
    }
}

impl Patterns {
    fn read(statement: &Value, name: &str, negated: &str) -> Result<Option<Self>, NotEvaluated> {
        let (value, is_negated) = match (statement.get(name), statement.get(negated)) {
            (Some(_), Some(_)) => return not_evaluated(format!("{name} beside {negated}")),
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { is_negated, patterns: texts(value)? }))
    }

    fn matches(&self, value: &str) -> bool {
        self.patterns.iter().any(|pattern| wildcard(pattern, value)) != self.is_negated
    }
}

impl Principal {
    /// Whether this is the caller: [`Decision::Allows`] if it is named, and
    /// [`Decision::AllowsAccount`] if only its account is.
    fn is(&self, caller: &Caller) -> Decision {
        let is = match (self, caller) {
            (Self::Anyone, _) => true,
            (Self::Account(account), Caller::Role { .. }) => {
                if caller.account() == Some(account) {
                    return Decision::AllowsAccount;
                }
                false
            }
            (Self::Arn(principal), Caller::Role { arn, .. }) => {
                principal == arn || *principal == caller.arn()
            }
            (Self::Service(service), Caller::Service(caller)) => service == caller,
            _ => false,
        };
        if is { Decision::Allows } else { Decision::NoMatch }
    }
}

impl Caller {
    /// The ARN that error messages name.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Role { arn, session } => {
                // The ARN of a session leaves out the path of its role.
                let name = arn.rsplit('/').next().unwrap_or_default();
                let account = self.account().unwrap_or_default();
                format!("arn:aws:sts::{account}:assumed-role/{name}/{session}")
            }
            Self::Service(service) => service.clone(),
        }
    }

    /// The account of a role.
    fn account(&self) -> Option<&str> {
        match self {
            Self::Role { arn, .. } => arn.split(':').nth(4),
            Self::Service(_) => None,
        }
    }
}

fn principals(value: &Value) -> Result<Vec<Principal>, NotEvaluated> {
    let kinds = match value {
        Value::String(anyone) if anyone == "*" => return Ok(vec![Principal::Anyone]),
        Value::Object(kinds) => kinds,
        _ => return not_evaluated(format!("the principal {value}")),
    };
    let mut principals = Vec::new();
    for (kind, values) in kinds {
        for text in texts(values)? {
            let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            principals.push(match (kind.as_str(), text.as_str()) {
                ("AWS", "*") => Principal::Anyone,
                ("AWS", _) if is_account => Principal::Account(text),
                ("AWS", arn) if arn.ends_with(":root") => {
                    Principal::Account(arn.split(':').nth(4).unwrap_or_default().to_owned())
                }
                // A unique ID stands for a role or a user that does not exist any more.
                ("AWS", _) => Principal::Arn(text),
                ("Service", _) => Principal::Service(text),
                _ => return not_evaluated(format!("the kind of principal {kind}")),
            });
        }
    }
    Ok(principals)
}

/// A string, or a list of strings. Variables such as `${aws:username}` are not served.
fn texts(value: &Value) -> Result<Vec<String>, NotEvaluated> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts = values.iter().map(|value| match value.as_str() {
        Some(text) if !text.contains("${") => Ok(text.to_owned()),
        _ => not_evaluated(format!("the value {value}")),
    });
    texts.collect()
}

/// Whether a text matches a pattern in which `*` stands for any characters and `?` for one.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on if what follows the last `*` does not match.
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((after, from)) = retry else { return false };
                retry = Some((after, from + 1));
                (at, read) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}
