//! `ecr-warden plan` shows which images the next sweep would remove. `ecr-warden confirm` confirms a
//! plan that a person has read.

mod rule;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::{Digest, RepositoryName, Tag, format_bytes};
use warden_core::policy::RuleName;
use warden_core::retention::{
    CONFIRMATION_DAYS, Confirmation, MOST_CONFIRMED, UncoveredImages, confirmed_image,
    hash_of_plans,
};

pub use self::rule::{RuleConfirmation, RulePlans};
use crate::deployed::{Connection, DeployedStack, Output};
use crate::print::{print, print_json, shorten, table};

/// The logical ID of `image-sweep`.
pub(crate) const SWEEP: &str = "ImageSweepFunction";
/// The most images of a plan that a table shows.
const MOST_SHOWN: usize = 50;

/// The options of `ecr-warden plan`.
#[derive(Args)]
pub struct PlanOptions {
    /// The repositories. The default is every governed repository.
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<RepositoryName>,
    /// A rule of the deployed policy. Prints one table of all repositories that the rule governs.
    #[arg(long, value_name = "NAME", conflicts_with = "repositories")]
    rule: Option<RuleName>,
    #[command(flatten)]
    connection: Connection,
}

/// The options of `ecr-warden confirm`.
#[derive(Args)]
pub struct ConfirmOptions {
    /// The repositories. The default is every governed repository.
    #[arg(value_name = "REPOSITORY")]
    repositories: Vec<RepositoryName>,
    /// A rule of the deployed policy. Confirms the plans of all repositories that the rule governs, as
    /// far as they are in the table that you have read.
    #[arg(long, value_name = "NAME", conflicts_with = "repositories")]
    rule: Option<RuleName>,
    /// The hash of the plan that you have read. Without the hash, the command prints the plan and its
    /// hash.
    #[arg(long, value_name = "HASH")]
    plan: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// The plan of one repository, as `image-sweep` returns it.
#[derive(Debug, Deserialize)]
pub struct Plan {
    repository: RepositoryName,
    /// The reason why nothing would be removed.
    pub(crate) stopped: Option<String>,
    /// The plan. None if the function cannot read the repository.
    #[serde(flatten)]
    pub(crate) seen: Option<SeenPlan>,
}

/// A plan for a repository that the function can read.
#[derive(Debug, Deserialize)]
pub(crate) struct SeenPlan {
    mode: String,
    hash: String,
    retention: String,
    confirmable: bool,
    guard: Option<String>,
    pub(crate) examined: usize,
    pub(crate) planned: usize,
    pub(crate) bytes: u64,
    /// The images that are kept only because neither `Keep` nor `Expire` covers a tag.
    #[serde(default)]
    uncovered: Option<UncoveredImages>,
    /// The images that would be removed, and the quarantine tags.
    pub(crate) removals: Vec<DecidedImage>,
    /// The images that are kept, as far as the function lists them.
    #[serde(default)]
    pub(crate) keeps: Vec<DecidedImage>,
}

/// An image with the decision about it.
#[derive(Debug, Deserialize)]
pub(crate) struct DecidedImage {
    pub digest: Digest,
    pub tags: Vec<Tag>,
    pub decision: String,
    pub reason: String,
}

/// The decision about a quarantine tag that is removed while its image is kept.
pub(crate) const UNTAG: &str = "untag";
/// The decision about an image that the policy only reports.
pub(crate) const REPORT: &str = "report";

impl SeenPlan {
    /// The images that would be removed, as far as the function lists them.
    pub(crate) fn images(&self) -> impl Iterator<Item = &DecidedImage> {
        self.removals.iter().filter(|removal| removal.decision != UNTAG)
    }
}

impl Plan {
    /// The plan, if a confirmation would let it run.
    fn waiting(&self) -> Option<&SeenPlan> {
        self.seen.as_ref().filter(|seen| seen.confirmable)
    }

    fn to_text(&self) -> String {
        self.to_text_with(MOST_SHOWN)
    }

    /// The plan with at most this number of rows.
    pub(crate) fn to_text_with(&self, most: usize) -> String {
        let name = &self.repository;
        let Some(seen) = &self.seen else {
            let why = self.stopped.as_deref().unwrap_or_default();
            return format!("{name}: no image would be removed: {why}");
        };
        // Untagged images may be deleted in a plan that archives the others.
        let decisions = seen.removals.iter().map(|removal| removal.decision.as_str());
        let mut decisions = decisions.filter(|decision| *decision != "untag");
        let first = decisions.next().unwrap_or(&seen.mode);
        let verb = match first {
            _ if decisions.any(|decision| decision != first) => "would be removed",
            "delete" => "would be deleted",
            "archive" => "would be archived",
            _ => "would be reported",
        };
        let mut text = format!(
            "{name}: {} of {} images {verb} ({})",
            seen.planned,
            seen.examined,
            format_bytes(seen.bytes)
        );
        if let Some(uncovered) = &seen.uncovered {
            text += &format!("\nNeither Keep nor Expire covers {uncovered}.");
        }
        if let Some(why) = &self.stopped {
            text += &format!("\nNothing is removed now: {why}.");
        }
        if seen.removals.is_empty() {
            return text;
        }
        let head = ["DECISION", "DIGEST", "TAGS", "REASON"].map(str::to_owned);
        let row = |removal: &DecidedImage| {
            let tags: Vec<&str> = removal.tags.iter().map(Tag::as_str).collect();
            let digest = shorten(removal.digest.as_str()).to_owned();
            [removal.decision.clone(), digest, tags.join(" "), removal.reason.clone()]
        };
        let rows = seen.removals.iter().take(most).map(row);
        text += &format!("\n{}", table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
        let listed = seen.images().count();
        if listed < seen.planned {
            text += &format!(
                "\nThe function lists only {listed} of these images. Confirm these images first, and \
                 then the others."
            );
        }
        if let Some(more @ 1..) = seen.removals.len().checked_sub(most) {
            text += &format!("\n{more} more rows are not shown. --output json prints all of them.");
        }
        text
    }
}

/// Prints the images that the next sweep would remove, and the reasons. The exit code is 2 if the plan of
/// a repository of a rule cannot be read.
pub async fn plan(options: &PlanOptions) -> anyhow::Result<ExitCode> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let is_json = options.connection.output == Output::Json;
    if let Some(rule) = &options.rule {
        let plans = RulePlans::read(&stack, rule).await?;
        if is_json { print_json(&plans.to_json()) } else { print(&plans.to_text()) }?;
        return Ok(ExitCode::from(plans.exit_code()));
    }
    let answers = read_plans(&stack, &options.repositories).await?;
    if is_json {
        print_json(&Value::Array(answers))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plans = parse_plans(answers)?;
    let texts: Vec<String> = plans.iter().map(Plan::to_text).collect();
    print(&texts.join("\n\n"))?;
    if let Some(command) = confirm_command(&plans, &options.repositories, &stack.to_options()) {
        print(&format!("\nTo confirm: {command}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Confirms the plans with the given hash. The exit code is 1 if a plan waits and was not confirmed.
pub async fn confirm(options: &ConfirmOptions) -> anyhow::Result<ExitCode> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let is_json = options.connection.output == Output::Json;
    let hash = options.plan.as_deref();
    if let Some(rule) = &options.rule {
        let plans = RulePlans::read(&stack, rule).await?;
        let outcome = plans.confirm(&stack, hash, Utc::now()).await?;
        if is_json {
            print_json(&plans.to_json_after(&outcome))
        } else {
            print(&plans.to_text_after(hash, &outcome))
        }?;
        return Ok(ExitCode::from(plans.exit_code_after(&outcome)));
    }
    let confirmed = confirm_plans(&stack, &options.repositories, hash, Utc::now()).await?;
    let text = match &confirmed {
        Confirmed::Nothing => "No plan waits for a confirmation.".to_owned(),
        Confirmed::Not { plans, changed, command } => {
            let texts: Vec<String> = plans.iter().map(Plan::to_text).collect();
            let why = if *changed {
                "The plan is not confirmed: its hash is not the hash that you gave with --plan."
            } else {
                "The plan is not confirmed yet."
            };
            format!("{}\n\n{why}\nTo confirm: {command}", texts.join("\n\n"))
        }
        Confirmed::Yes(images) => {
            let line = |(repository, count): &(RepositoryName, usize)| {
                format!(
                    "{repository}: the plan is confirmed. Sweeps may remove these {count} images \
                     within {CONFIRMATION_DAYS} days."
                )
            };
            images.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    if is_json {
        let count = |(repository, count): &(RepositoryName, usize)| json!({"repository": repository, "images": count});
        let images = match &confirmed {
            Confirmed::Yes(images) => images.iter().map(count).collect(),
            _ => vec![],
        };
        print_json(&json!({"confirmed": images, "text": text}))?;
    } else {
        print(&text)?;
    }
    Ok(ExitCode::from(u8::from(matches!(confirmed, Confirmed::Not { .. }))))
}

/// The outcome of a confirmation.
#[derive(Debug)]
pub enum Confirmed {
    /// No plan waits for a confirmation.
    Nothing,
    /// The person gave no hash, or the hash of another plan.
    Not {
        /// The current plans.
        plans: Vec<Plan>,
        /// Whether the person gave the hash of another plan.
        changed: bool,
        /// The command that confirms them.
        command: String,
    },
    /// The number of confirmed images in each repository.
    Yes(Vec<(RepositoryName, usize)>),
}

/// Writes a confirmation for each repository, if `hash` is the hash of the current plans.
pub async fn confirm_plans(
    stack: &DeployedStack,
    repositories: &[RepositoryName],
    hash: Option<&str>,
    now: DateTime<Utc>,
) -> anyhow::Result<Confirmed> {
    let plans = parse_plans(read_plans(stack, repositories).await?)?;
    for plan in &plans {
        let why = plan.stopped.as_deref().unwrap_or_default();
        ensure!(plan.seen.is_some(), "{} has no plan to confirm: {why}", plan.repository);
    }
    let Some(command) = confirm_command(&plans, repositories, &stack.to_options()) else {
        return Ok(Confirmed::Nothing);
    };
    if hash != hash_waiting(&plans).as_deref() {
        return Ok(Confirmed::Not { plans, changed: hash.is_some(), command });
    }
    let ledger = stack.ledger().await?;
    let mut confirmed = Vec::new();
    for plan in &plans {
        let Some(seen) = plan.waiting() else { continue };
        let images = write_confirmation(&ledger, &plan.repository, seen, now).await?;
        confirmed.push((plan.repository.clone(), images));
    }
    Ok(Confirmed::Yes(confirmed))
}

/// Writes the confirmation of a plan that waits. Returns the number of its images. One call.
async fn write_confirmation(
    ledger: &Ledger,
    repository: &RepositoryName,
    seen: &SeenPlan,
    now: DateTime<Utc>,
) -> anyhow::Result<usize> {
    let images = seen.images().take(MOST_CONFIRMED);
    let images: BTreeSet<String> = images.map(|image| confirmed_image(&image.digest)).collect();
    let confirmation = Confirmation {
        retention: seen.retention.clone(),
        is_whole: images.len() == seen.planned,
        images,
        guard: seen.guard.clone().unwrap_or_default(),
        confirmed_at: now,
    };
    ledger.confirm(repository, &confirmation).await?;
    Ok(confirmation.images.len())
}

/// The command that confirms these plans. None if no plan waits for a confirmation.
fn confirm_command(plans: &[Plan], repositories: &[RepositoryName], stack: &str) -> Option<String> {
    let hash = hash_waiting(plans)?;
    let names: Vec<&str> = repositories.iter().map(RepositoryName::as_str).collect();
    let words = [&["ecr-warden", "confirm"], &names[..], &[stack, "--plan", &hash]].concat();
    Some(words.join(" "))
}

/// The hash of the plans that wait for a confirmation.
fn hash_waiting(plans: &[Plan]) -> Option<String> {
    let hashes = plans.iter().filter_map(|plan| Some(plan.waiting()?.hash.as_str()));
    hash_of_plans(hashes)
}

/// Reads the plan of each repository from the function.
async fn read_plans(
    stack: &DeployedStack,
    repositories: &[RepositoryName],
) -> anyhow::Result<Vec<Value>> {
    let policies = stack.select_repositories(repositories).await?;
    let function = stack.resource(SWEEP).await?;
    let plans = policies.iter().map(|policy| read_plan(stack, &function, &policy.repository_name));
    stream::iter(plans).buffered(CONCURRENT_CALLS).try_collect().await
}

/// Reads the plan of one repository from the function with this name.
async fn read_plan(
    stack: &DeployedStack,
    function: &str,
    repository: &RepositoryName,
) -> anyhow::Result<Value> {
    let request = json!({"repository": repository, "mode": "report"});
    stack.invoke_by_name(function, &request).await
}

fn parse_plans(answers: Vec<Value>) -> anyhow::Result<Vec<Plan>> {
    answers.into_iter().map(parse_plan).collect()
}

/// Parses the answer of the function.
pub(crate) fn parse_plan(answer: Value) -> anyhow::Result<Plan> {
    serde_json::from_value(answer).context("reading the plan of the function")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    pub(super) fn plan(changes: &Value) -> Plan {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let removal = |tags: &Value, decision: &str, reason: &str| json!({"digest": digest, "tags": tags, "decision": decision, "reason": reason});
        let mut answer = json!({
            "repository": "deployments",
            "mode": "archive",
            "hash": "0123456789abcdef",
            "retention": "fedcba9876543210",
            "confirmable": true,
            "guard": "unconfirmed",
            "stopped": "the first plan that removes images from the repository waits for a \
                confirmation",
            "examined": 60,
            "planned": 1,
            "bytes": 1_500_000,
            "removals": [
                removal(&json!(["app-v1.0.0", "app"]), "archive", "number 11 of 11 of app, which keeps 10"),
                removal(&json!(["quarantine-1"]), "untag", "the image conforms by now"),
            ],
        });
        for (name, value) in changes.as_object().unwrap() {
            answer[name] = value.clone();
        }
        serde_json::from_value(answer).unwrap()
    }

    fn check(changes: &Value, expected: &Expect) {
        expected.assert_eq(&plan(changes).to_text());
    }

    #[test]
    fn the_text_of_a_plan_has_its_guard_and_its_reasons() {
        check(
            &json!({}),
            &expect![[r#"
            deployments: 1 of 60 images would be archived (1.5 MB)
            Nothing is removed now: the first plan that removes images from the repository waits for a confirmation.
            DECISION  DIGEST               TAGS            REASON
            archive   sha256:abababababab  app-v1.0.0 app  number 11 of 11 of app, which keeps 10
            untag     sha256:abababababab  quarantine-1    the image conforms by now"#]],
        );
        check(
            &json!({"stopped": null, "mode": "delete"}),
            &expect![[r#"
                deployments: 1 of 60 images would be archived (1.5 MB)
                DECISION  DIGEST               TAGS            REASON
                archive   sha256:abababababab  app-v1.0.0 app  number 11 of 11 of app, which keeps 10
                untag     sha256:abababababab  quarantine-1    the image conforms by now"#]],
        );
        check(
            &json!({"stopped": null, "planned": 0, "removals": []}),
            &expect!["deployments: 0 of 60 images would be archived (1.5 MB)"],
        );
    }

    #[test]
    fn the_text_for_a_repository_that_cannot_be_read_has_the_reason() {
        let answer = json!({"repository": "deployments", "stopped": "an index cannot be read"});
        let plan: Plan = serde_json::from_value(answer).unwrap();
        expect!["deployments: no image would be removed: an index cannot be read"]
            .assert_eq(&plan.to_text());
        assert!(plan.waiting().is_none());
    }

    #[test]
    fn one_hash_confirms_one_plan_or_several_plans() {
        let command = |plans: &[Plan], named: &[&str]| {
            let named: Vec<RepositoryName> =
                named.iter().map(|name| name.parse().unwrap()).collect();
            confirm_command(plans, &named, "--stack s")
        };
        let waiting = || plan(&json!({}));
        let one = command(&[waiting()], &["deployments"]).unwrap();
        assert_eq!(one, "ecr-warden confirm deployments --stack s --plan 0123456789abcdef");
        let both = command(&[waiting(), waiting()], &[]).unwrap();
        assert!(both.starts_with("ecr-warden confirm --stack s --plan "), "{both}");
        assert!(!both.ends_with("0123456789abcdef"), "{both}");
        // A plan that runs without a confirmation or that only reports does not wait.
        for free in [
            json!({"stopped": null, "confirmable": false}),
            json!({"mode": "report", "confirmable": false}),
        ] {
            assert_eq!(command(&[plan(&free)], &["deployments"]), None, "{free}");
            assert_eq!(command(&[waiting(), plan(&free)], &["deployments"]).unwrap(), one);
        }
    }
}
