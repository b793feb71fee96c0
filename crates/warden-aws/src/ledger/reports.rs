//! The findings of rules that only report, for the weekly digest. A week of a repository has an item with the
//! violations of pushed tags. The plan of the cleanup is in the item of the sweeps of the repository.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use chrono::{DateTime, Utc};
use warden_alerts::{ReportedViolation, RepositoryReport};
use warden_core::image::RepositoryName;

use super::runs::{self, LastRun};
use super::{Item, Ledger, seconds};

/// The time for which the ledger keeps the violations of a week. The digest of a week is published in the next
/// week.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// The most violations of a repository in a week that are recorded with their tags. A digest shows no more.
/// Further violations are counted.
const MOST_EXAMPLES: usize = 5;

/// The ISO week of a time, in UTC, such as `2026-W48`. A week begins on Monday.
#[must_use]
pub fn week(at: DateTime<Utc>) -> String {
    at.format("%G-W%V").to_string()
}

impl Ledger {
    /// Records a violation that is only reported, in the week of `now`. A violation that has a place among the
    /// examples is counted once, however often it is recorded. A further violation is counted each time. One
    /// call, or two.
    pub async fn record_violation(
        &self,
        repository: &RepositoryName,
        violation: &ReportedViolation,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let key = key(repository, &week(now));
        let recording = || format!("recording a violation in {repository} for the digest");
        let example = serde_json::to_string(violation)?;
        let add = self
            .update(&key)
            .update_expression("SET expires = :expires ADD examples :example")
            .condition_expression("attribute_not_exists(examples) OR size(examples) < :most")
            .expression_attribute_values(":expires", seconds(now, KEPT))
            .expression_attribute_values(":example", AttributeValue::Ss(vec![example.clone()]))
            .expression_attribute_values(":most", AttributeValue::N(MOST_EXAMPLES.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = add.send().await else { return Ok(()) };
        let Some(UpdateItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        else {
            return Err(crate::explain(error)).with_context(recording);
        };
        if refused.item().is_some_and(|item| examples(item).any(|recorded| *recorded == example)) {
            return Ok(());
        }
        let count = self
            .update(&key)
            .update_expression("ADD further :one")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        count.send().await.map_err(crate::explain).with_context(recording)?;
        Ok(())
    }

    /// Reads what the rules of these repositories reported: the violations of a week, and the plans and the
    /// uncovered images of the last sweeps. A repository without either is left out. One call for 50 repositories.
    pub async fn reports<'r>(
        &self,
        repositories: impl IntoIterator<Item = &'r RepositoryName>,
        week: &str,
    ) -> anyhow::Result<HashMap<RepositoryName, RepositoryReport>> {
        const READING: &str = "reading what rules reported";
        let keys = repositories.into_iter().flat_map(|name| [key(name, week), runs::key(name)]);
        let keys: Vec<String> = keys.collect();
        let items = self.read_items(&keys, "fact, examples, further, last_run").await;
        let mut reports: HashMap<RepositoryName, RepositoryReport> = HashMap::new();
        for item in items.context(READING)? {
            let fact = item.get("fact").and_then(|fact| fact.as_s().ok());
            let name = fact.and_then(|fact| fact.split(' ').nth(1)?.parse().ok());
            let name: RepositoryName = name.context("an item has no key").context(READING)?;
            let report = reports.entry(name).or_default();
            if let Some(run) = item.get("last_run").and_then(|run| run.as_s().ok()) {
                let run: LastRun = serde_json::from_str(run).context(READING)?;
                (report.plan, report.uncovered) = (run.reported, run.uncovered);
            }
            for example in examples(&item) {
                report.examples.push(serde_json::from_str(example).context(READING)?);
            }
            report.examples.sort_by(|one, other| one.tag.cmp(&other.tag));
            if let Some(further) = item.get("further").and_then(|further| further.as_n().ok()) {
                report.further = further.parse().context(READING)?;
            }
        }
        reports.retain(|_, report| !report.is_empty());
        Ok(reports)
    }
}

fn examples(item: &Item) -> impl Iterator<Item = &String> {
    item.get("examples").and_then(|examples| examples.as_ss().ok()).into_iter().flatten()
}

fn key(repository: &RepositoryName, week: &str) -> String {
    format!("report {repository} {week}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_on_monday_and_the_first_week_of_a_year_has_its_first_thursday() {
        for (at, expected) in [
            ("2026-11-29T23:59:59Z", "2026-W48"),
            ("2026-11-30T00:00:00Z", "2026-W49"),
            // 2026 has 53 weeks.
            ("2026-12-31T12:00:00Z", "2026-W53"),
            ("2027-01-03T23:59:59Z", "2026-W53"),
            ("2027-01-04T00:00:00Z", "2027-W01"),
            // The last days of 2029 belong to the first week of 2030.
            ("2029-12-30T23:59:59Z", "2029-W52"),
            ("2029-12-31T00:00:00Z", "2030-W01"),
        ] {
            assert_eq!(week(at.parse().unwrap()), expected, "{at}");
        }
    }
}
