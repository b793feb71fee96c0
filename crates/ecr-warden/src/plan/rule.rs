//! The plans of all repositories that a rule governs: one table, and one command that confirms the
//! plans that a person has read in it.

use std::fmt::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::{RepositoryName, format_bytes};
use warden_core::policy::{CleanupEnforcement, RuleName};
use warden_core::retention::CONFIRMATION_DAYS;
use warden_core::text::short_line;

use super::{Plan, SWEEP, parse_plan, read_plan, write_confirmation};
use crate::deployed::DeployedStack;
use crate::print::table;

/// The first digits of the hash of a plan, which stand for the plan in the hash of a table.
const DIGITS: usize = 8;
/// The most characters of a reason in the table.
const REASON_LENGTH: usize = 100;

/// The plans of the repositories that a rule governs.
#[derive(Debug)]
pub struct RulePlans {
    rule: RuleName,
    plans: Vec<Plan>,
    /// The options that name the stack.
    stack: String,
}

/// The outcome of a confirmation of the plans of a rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RuleConfirmation {
    /// The repositories whose plan is confirmed, with the number of images.
    pub confirmed: Vec<(RepositoryName, usize)>,
    /// The repositories whose plan waits, and was not in the table that the person has read.
    pub skipped: Vec<RepositoryName>,
}

impl RulePlans {
    /// Reads the plan of each repository that a rule of the deployed policy governs. A plan that cannot be
    /// read has the reason. An invocation for each repository, beside the calls of
    /// [`DeployedStack::select_rule`].
    pub async fn read(stack: &DeployedStack, rule: &RuleName) -> anyhow::Result<Self> {
        let policies = stack.select_rule(rule).await?;
        let function = stack.resource(SWEEP).await?;
        let read = policies.iter().map(async |policy| {
            let repository = &policy.repository_name;
            let answer = read_plan(stack, &function, repository).await;
            answer.and_then(parse_plan).unwrap_or_else(|error| Plan {
                repository: repository.clone(),
                stopped: Some(format!("{error:#}")),
                seen: None,
            })
        });
        let plans = stream::iter(read).buffered(CONCURRENT_CALLS).collect().await;
        Ok(Self { rule: rule.clone(), plans, stack: stack.to_options() })
    }

    /// Confirms each plan that waits and was in the table with this hash. Confirms nothing without a hash.
    pub async fn confirm(
        &self,
        stack: &DeployedStack,
        hash: Option<&str>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<RuleConfirmation> {
        let ledger = stack.ledger().await?;
        let mut outcome = RuleConfirmation::default();
        for plan in &self.plans {
            let Some(seen) = plan.waiting() else { continue };
            let repository = plan.repository.clone();
            let digits = seen.hash.as_bytes().get(..DIGITS).context("a plan has a short hash")?;
            let mut read = hash.unwrap_or_default().as_bytes().chunks(DIGITS);
            if read.any(|read| read == digits) {
                let images = write_confirmation(&ledger, &repository, seen, now).await?;
                outcome.confirmed.push((repository, images));
            } else {
                outcome.skipped.push(repository);
            }
        }
        Ok(outcome)
    }

    /// The hash of the table: the first digits of the hash of each plan that waits. A plan that changes
    /// later therefore prevents no confirmation of the others. None if no plan waits.
    fn hash(&self) -> Option<String> {
        let hashes = self.plans.iter().filter_map(|plan| plan.waiting()?.hash.get(..DIGITS));
        Some(hashes.collect::<String>()).filter(|hash| !hash.is_empty())
    }

    /// The command that confirms the plans that wait.
    fn confirm_command(&self) -> Option<String> {
        let (rule, stack) = (&self.rule, &self.stack);
        Some(format!("ecr-warden confirm --rule {rule} {stack} --plan {}", self.hash()?))
    }

    /// The exit code: 2 if a plan could not be read.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.plans.iter().any(|plan| plan.seen.is_none()) { 2 } else { 0 }
    }

    /// The exit code after a confirmation: 1 if a plan waits and was not confirmed.
    #[must_use]
    pub fn exit_code_after(&self, outcome: &RuleConfirmation) -> u8 {
        self.exit_code().max(u8::from(!outcome.skipped.is_empty()))
    }

    /// The table, and the command that confirms the plans that wait.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.to_table();
        if let Some(command) = self.confirm_command() {
            let _ = write!(text, "\n\nTo confirm: {command}");
        }
        text
    }

    fn to_table(&self) -> String {
        if self.plans.is_empty() {
            return format!("The rule {} governs no repository.", self.rule);
        }
        let head =
            ["REPOSITORY", "IMAGES", "TO REMOVE", "SIZE", "PLAN", "STATE"].map(str::to_owned);
        let rows: Vec<_> = [head].into_iter().chain(self.plans.iter().map(row)).collect();
        let seen = || self.plans.iter().filter_map(|plan| plan.seen.as_ref());
        let waiting = self.plans.iter().filter(|plan| plan.waiting().is_some()).count();
        format!(
            "{}\n\nRepositories: {}. Images: {}. To remove: {} ({}). Plans that wait for a \
             confirmation: {waiting}. Repositories without a plan: {}.",
            table(&rows),
            self.plans.len(),
            seen().map(|seen| seen.examined).sum::<usize>(),
            seen().map(|seen| seen.planned).sum::<usize>(),
            format_bytes(seen().map(|seen| seen.bytes).sum()),
            self.plans.len() - seen().count(),
        )
    }

    /// The table, and the outcome of a confirmation with this hash.
    #[must_use]
    pub fn to_text_after(&self, hash: Option<&str>, outcome: &RuleConfirmation) -> String {
        let mut text = self.to_table();
        let RuleConfirmation { confirmed, skipped } = outcome;
        if confirmed.is_empty() && skipped.is_empty() {
            return text + "\n\nNo plan waits for a confirmation.";
        }
        if hash.is_none() {
            text += "\n\nNo plan is confirmed yet.";
        } else {
            let images: usize = confirmed.iter().map(|(_, images)| images).sum();
            let _ = write!(
                text,
                "\n\nConfirmed plans: {}. Sweeps may remove these {images} images within \
                 {CONFIRMATION_DAYS} days.",
                confirmed.len()
            );
        }
        if hash.is_some() {
            for repository in skipped {
                let _ = write!(
                    text,
                    "\n{repository}: the plan is not confirmed, because it is not in the table with the \
                     hash that you gave with --plan."
                );
            }
        }
        if let Some(command) = self.confirm_command().filter(|_| !skipped.is_empty()) {
            let _ = write!(text, "\nTo confirm the plans in this table: {command}");
        }
        text
    }

    /// The table, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let repository = |plan: &Plan| {
            let seen = plan.seen.as_ref();
            json!({
                "repository": plan.repository,
                "examined": seen.map(|seen| seen.examined),
                "planned": seen.map(|seen| seen.planned),
                "bytes": seen.map(|seen| seen.bytes),
                "hash": seen.map(|seen| &seen.hash),
                "waits": plan.waiting().is_some(),
                "stopped": plan.stopped,
            })
        };
        let repositories: Vec<Value> = self.plans.iter().map(repository).collect();
        json!({"rule": self.rule, "plan": self.hash(), "repositories": repositories})
    }

    /// The table and the outcome of a confirmation, for programs.
    #[must_use]
    pub fn to_json_after(&self, outcome: &RuleConfirmation) -> Value {
        let confirmed = outcome.confirmed.iter();
        let confirmed: Vec<Value> = confirmed
            .map(|(repository, images)| json!({"repository": repository, "images": images}))
            .collect();
        let mut value = self.to_json();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("confirmed".to_owned(), confirmed.into());
            fields.insert("skipped".to_owned(), json!(outcome.skipped));
        }
        value
    }
}

fn row(plan: &Plan) -> [String; 6] {
    let name = plan.repository.to_string();
    let why = short_line(plan.stopped.as_deref().unwrap_or_default(), REASON_LENGTH);
    let Some(seen) = &plan.seen else {
        let unknown = || "unknown".to_owned();
        return [
            name,
            unknown(),
            unknown(),
            String::new(),
            String::new(),
            format!("no plan: {why}"),
        ];
    };
    let listed = seen.images().count();
    let state = match () {
        () if seen.confirmable && listed < seen.planned => {
            format!("waits, and the function lists only {listed} of the images: {why}")
        }
        () if seen.confirmable => format!("waits: {why}"),
        () if plan.stopped.is_some() => format!("stopped: {why}"),
        () if seen.removals.is_empty() => "nothing to remove".to_owned(),
        () if seen.mode == CleanupEnforcement::Report.to_string() => "only reported".to_owned(),
        () if seen.planned == 0 => "the next sweep removes only quarantine tags".to_owned(),
        () => "the next sweep removes the images".to_owned(),
    };
    let [examined, planned] = [seen.examined, seen.planned].map(|count| count.to_string());
    [name, examined, planned, format_bytes(seen.bytes), seen.hash.clone(), state]
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::tests::plan;
    use super::*;

    fn plans(changes: &[Value]) -> RulePlans {
        let rule = "platform".parse().unwrap();
        RulePlans { rule, plans: changes.iter().map(plan).collect(), stack: "--stack s".to_owned() }
    }

    fn check(plans: &RulePlans, code: u8, expected: &Expect) {
        assert_eq!(plans.exit_code(), code);
        expected.assert_eq(&plans.to_text());
    }

    fn waiting() -> Value {
        json!({"repository": "team-a/web"})
    }

    #[test]
    fn the_table_has_the_state_of_each_plan_and_the_sums() {
        let free = json!({"stopped": null, "confirmable": false});
        let with = |changes: Value| {
            let mut free = free.clone();
            free.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            free
        };
        let mut all = plans(&[
            waiting(),
            json!({"hash": "fedcba9876543210", "planned": 2}),
            json!({"confirmable": false, "stopped": "the images are replicated"}),
            free.clone(),
            with(json!({"mode": "report"})),
            with(json!({"removals": [], "planned": 0, "bytes": 0})),
            with(json!({"planned": 0, "bytes": 0})),
        ]);
        check(
            &all,
            0,
            &expect![[r#"
                REPOSITORY   IMAGES  TO REMOVE  SIZE    PLAN              STATE
                team-a/web   60      1          1.5 MB  0123456789abcdef  waits: the first plan that removes images from the repository waits for a confirmation
                deployments  60      2          1.5 MB  fedcba9876543210  waits, and the function lists only 1 of the images: the first plan that removes images from the repository waits for a confirmation
                deployments  60      1          1.5 MB  0123456789abcdef  stopped: the images are replicated
                deployments  60      1          1.5 MB  0123456789abcdef  the next sweep removes the images
                deployments  60      1          1.5 MB  0123456789abcdef  only reported
                deployments  60      0          0 B     0123456789abcdef  nothing to remove
                deployments  60      0          0 B     0123456789abcdef  the next sweep removes only quarantine tags

                Repositories: 7. Images: 420. To remove: 6 (7.5 MB). Plans that wait for a confirmation: 2. Repositories without a plan: 0.

                To confirm: ecr-warden confirm --rule platform --stack s --plan 01234567fedcba98"#]],
        );
        let blind = json!({"repository": "team-a/api", "stopped": "an index cannot be read"});
        all.plans = vec![serde_json::from_value(blind).unwrap()];
        check(
            &all,
            2,
            &expect![[r#"
            REPOSITORY  IMAGES   TO REMOVE  SIZE  PLAN  STATE
            team-a/api  unknown  unknown                no plan: an index cannot be read

            Repositories: 1. Images: 0. To remove: 0 (0 B). Plans that wait for a confirmation: 0. Repositories without a plan: 1."#]],
        );
        all.plans.clear();
        check(&all, 0, &expect!["The rule platform governs no repository."]);
    }

    #[test]
    fn the_text_of_a_confirmation_names_the_plans_that_were_not_read() {
        let read = plans(&[waiting(), json!({"hash": "fedcba9876543210"})]);
        let hash = read.hash().unwrap();
        let outcome = RuleConfirmation {
            confirmed: vec![("team-a/web".parse().unwrap(), 1)],
            skipped: vec!["deployments".parse().unwrap()],
        };
        assert_eq!(read.exit_code_after(&outcome), 1);
        let value = read.to_json_after(&outcome);
        assert_eq!(value["confirmed"], json!([{"repository": "team-a/web", "images": 1}]));
        assert_eq!((&value["skipped"], &value["plan"]), (&json!(["deployments"]), &json!(hash)));
        let end = |text: String| text.split_once("a plan: 0.\n\n").unwrap().1.to_owned();
        expect![[r#"
            Confirmed plans: 1. Sweeps may remove these 1 images within 7 days.
            deployments: the plan is not confirmed, because it is not in the table with the hash that you gave with --plan.
            To confirm the plans in this table: ecr-warden confirm --rule platform --stack s --plan 01234567fedcba98"#]].assert_eq(&end(read.to_text_after(Some(&hash), &outcome)));
        let outcome = RuleConfirmation { confirmed: vec![], ..outcome };
        expect![[r#"
            No plan is confirmed yet.
            To confirm the plans in this table: ecr-warden confirm --rule platform --stack s --plan 01234567fedcba98"#]].assert_eq(&end(read.to_text_after(None, &outcome)));
        let nothing = RuleConfirmation::default();
        assert_eq!(read.exit_code_after(&nothing), 0);
        expect!["No plan waits for a confirmation."]
            .assert_eq(&end(read.to_text_after(Some(&hash), &nothing)));
    }
}
