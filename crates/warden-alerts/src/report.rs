//! The alerts of a round: the digest of one owner, which has what the rules that only report found in a week, and
//! the warnings of the policy.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::remedy::TEST_POLICY;
use super::{
    Alert, AlertKind, Remedy, Source, VERSION, WHAT_TO_DO, WHY, fit_details, number_of, read_plan,
};
use warden_core::image::{Digest, RepositoryName, Tag, format_bytes};
use warden_core::policy::{Owner, Severity};
use warden_core::properties::Problem;
use warden_core::retention::UncoveredImages;
use warden_core::text::short_line;

/// The most entries of a list, beside which the alert has the total number.
const MOST_LISTED: usize = 30;
/// The most characters of a list in the text. The whole text fits into an alert, so the
/// line with the number of the other entries is never cut off.
const LONGEST_LIST: usize = 6_000;
/// The most tags of a repository in the text. The details have all recorded tags.
const MOST_NAMED: usize = 3;
/// The most characters of a reason in the text.
const LONGEST_REASON: usize = 100;

/// The round that publishes an alert.
#[derive(Clone, Copy, Debug)]
pub struct RoundContext<'a> {
    /// The account's twelve digits.
    pub account: &'a str,
    /// Such as `us-east-1`.
    pub region: &'a str,
    /// The name of the function `image-sweep`, which makes plans.
    pub function: &'a str,
    /// The invocation that runs the round.
    pub source: &'a Source,
}

/// A pushed tag that violates a rule that only reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedViolation {
    /// The tag.
    pub tag: Tag,
    /// The image.
    pub digest: Digest,
    /// The mistake: the end of a sentence that begins with the tag.
    pub reason: String,
}

/// The plan of a cleanup that only reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPlan {
    /// The number of images that the plan would remove.
    pub images: usize,
    /// The bytes of these images. Layers that other images share are counted too.
    pub bytes: u64,
}

/// The findings of the rule of a repository, for a digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryReport {
    /// Violations in the week.
    pub examples: Vec<ReportedViolation>,
    /// The number of further violations in the week.
    pub further: u64,
    /// The plan of the last sweep. None if it would remove no image.
    pub plan: Option<ReportedPlan>,
    /// The images that stay only because neither `Keep` nor `Expire` covers a tag, at the last sweep.
    pub uncovered: Option<UncoveredImages>,
}

impl RepositoryReport {
    /// Whether a digest lists the repository.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.violations() == 0 && self.plan.is_none() && self.uncovered.is_none()
    }

    /// The number of violations in the week.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.examples.len() as u64 + self.further
    }

    fn images(&self) -> u64 {
        self.plan.map_or(0, |plan| plan.images as u64)
    }

    fn uncovered(&self) -> u64 {
        self.uncovered.as_ref().map_or(0, |uncovered| uncovered.images as u64)
    }
}

/// The week of a digest.
#[derive(Clone, Copy, Debug)]
pub struct DigestWeek<'a> {
    /// The ISO week, such as `2026-W48`.
    pub week: &'a str,
    /// Whether the week is over. A digest that a person asks for is about the present week.
    pub is_over: bool,
}

/// The digest of one owner. `governed` is the number of governed repositories of the owner, and `found` has
/// those with something to report.
#[must_use]
pub fn report(
    place: &RoundContext<'_>,
    week: DigestWeek<'_>,
    owner: Option<&Owner>,
    governed: usize,
    mut found: Vec<(&RepositoryName, RepositoryReport)>,
) -> Alert {
    let affected = |report: &RepositoryReport| report.images() + report.violations();
    found.sort_by_key(|(name, report)| {
        (Reverse(affected(report)), Reverse(report.uncovered()), *name)
    });
    let plans = || found.iter().filter_map(|(_, report)| report.plan);
    let images: u64 = found.iter().map(|(_, report)| report.images()).sum();
    let bytes: u64 = plans().map(|plan| plan.bytes).sum();
    let violations: u64 = found.iter().map(|(_, report)| report.violations()).sum();
    let uncovered: u64 = found.iter().map(|(_, report)| report.uncovered()).sum();
    let would_lose = match (plans().count(), governed) {
        (1, 1) => "1 repository would lose images".to_owned(),
        (count, governed) => format!("{count} of {governed} repositories would lose images"),
    };
    let violate = match violations {
        1 => "1 tag violates its rule".to_owned(),
        count => format!("{count} tags violate their rule"),
    };
    let no_rule = format!("neither Keep nor Expire covers {}", number_of(uncovered, "image"));
    let parts = [
        (images > 0).then_some(would_lose),
        (violations > 0).then_some(violate),
        (uncovered > 0).then_some(no_rule),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let subject =
        owner.map_or_else(|| "Repositories without an owner".to_owned(), ToString::to_string);
    let title = format!("{subject}: {}", parts.join(", "));
    let DigestWeek { week, is_over } = week;
    let until = if is_over { "" } else { ", until now" };
    let mut event =
        format!("This is the digest of the week {week}{until}. The digest itself changes nothing.");
    if images > 0 {
        event += &format!(
            " By the last sweeps, the cleanup would remove {} ({}).",
            number_of(images, "image"),
            format_bytes(bytes)
        );
    }
    if violations > 0 {
        let pushed = number_of(violations, "pushed tag");
        event += &format!(" {pushed} violated the rules.");
    }
    let (mut why, mut next) = (Vec::new(), Vec::new());
    if images + violations > 0 {
        why.push("the enforcement of the tags or of the cleanup is report in the rules of these repositories");
        next.push("correct the tags or the rules, and read the plan of a repository before you enforce its rule");
    }
    if uncovered > 0 {
        let bytes = found.iter().filter_map(|(_, report)| report.uncovered.as_ref());
        let bytes: u64 = bytes.map(|uncovered| uncovered.bytes).sum();
        event += &format!(
            " No sweep removes {} ({}), because of tags that neither Keep nor Expire covers.",
            number_of(uncovered, "image"),
            format_bytes(bytes)
        );
        why.push("Keep does not count these tags, and no entry of Expire matches them");
        next.push("write an entry of Expire or a template of the grammar for these tags");
    }
    let (why, next) = (why.join("; and "), next.join("; "));
    let text = format!(
        "{event}\n\n\
         {WHY}{why}.\n\n\
         {WHAT_TO_DO}{next}.\n\n\
         Repositories, the most affected first:{}",
        list(&found, line)
    );
    let details = |most: usize| {
        let repositories: Vec<Value> = found.iter().take(most).map(value).collect();
        Map::from_iter([
            ("week".to_owned(), json!(week)),
            ("governed".to_owned(), json!(governed)),
            ("images".to_owned(), json!(images)),
            ("bytes".to_owned(), json!(bytes)),
            ("violations".to_owned(), json!(violations)),
            ("uncovered".to_owned(), json!(uncovered)),
            ("repositories".to_owned(), json!(repositories)),
            ("repositoriesTotal".to_owned(), json!(found.len())),
        ])
    };
    let details = fit_details(MOST_LISTED, details);
    let remedies = remedies(place, &found);
    Alert {
        owner: owner.cloned(),
        details,
        remedies,
        ..place.alert(AlertKind::Report, Severity::Informational, title, text)
    }
}

/// The alert about the warnings of a policy: parts of it have no effect, or a repository has no rule.
#[must_use]
pub fn policy_warnings(place: &RoundContext<'_>, warnings: &[Problem]) -> Alert {
    let count = number_of(warnings.len() as u64, "warning");
    let text = format!(
        "The policy of the deployment has {count}. The deployment did not fail.\n\n\
         {WHY}a part of a policy without effect is usually a mistake. The warnings of each version of the \
         policy are published once.\n\n\
         {WHAT_TO_DO}correct the policy, unless the part is for a later time.\n\n\
         Warnings:{}",
        list(warnings, |warning| format!("\n- {warning}"))
    );
    let details = |most: usize| {
        let texts: Vec<String> = warnings.iter().take(most).map(ToString::to_string).collect();
        Map::from_iter([
            ("rule".to_owned(), json!("policy-warnings")),
            ("warnings".to_owned(), json!(texts)),
            ("warningsTotal".to_owned(), json!(warnings.len())),
        ])
    };
    Alert {
        details: fit_details(MOST_LISTED, details),
        ..place.alert(AlertKind::SelfAudit, Severity::Low, format!("The policy has {count}"), text)
    }
}

/// A list with a line for each entry, and the number of the entries that are left out.
fn list<T>(entries: &[T], line: impl Fn(&T) -> String) -> String {
    let mut text = String::new();
    for (nth, entry) in entries.iter().enumerate() {
        let line = line(entry);
        if nth == MOST_LISTED || text.chars().count() + line.chars().count() > LONGEST_LIST {
            text += &format!("\n- and {} more", entries.len() - nth);
            break;
        }
        text += &line;
    }
    text
}

fn line((repository, report): &(&RepositoryName, RepositoryReport)) -> String {
    let mut parts = Vec::new();
    if let Some(ReportedPlan { images, bytes }) = report.plan {
        let images = number_of(images as u64, "image");
        parts.push(format!("the cleanup would remove {images} ({})", format_bytes(bytes)));
    }
    let violations = report.violations();
    if violations > 0 {
        let named = report.examples.iter().take(MOST_NAMED);
        let named: Vec<String> = named
            .map(|ReportedViolation { tag, reason, .. }| {
                format!("{tag} ({})", short_line(reason, LONGEST_REASON))
            })
            .collect();
        let tags = number_of(violations, "tag");
        let violate = if violations == 1 { "violates" } else { "violate" };
        let such = if violations > MOST_NAMED as u64 { ", such as" } else { ":" };
        parts.push(format!("{tags} {violate} the rule{such} {}", named.join(", ")));
    }
    parts.extend(
        report
            .uncovered
            .as_ref()
            .map(|uncovered| format!("neither Keep nor Expire covers {uncovered}")),
    );
    format!("\n- {repository}: {}", parts.join("; "))
}

fn value((repository, report): &(&RepositoryName, RepositoryReport)) -> Value {
    let ReportedPlan { images, bytes } = report.plan.unwrap_or_default();
    json!({
        "repository": repository,
        "images": images,
        "bytes": bytes,
        "violations": report.violations(),
        "examples": report.examples,
        "uncovered": report.uncovered,
    })
}

fn remedies(
    place: &RoundContext<'_>,
    found: &[(&RepositoryName, RepositoryReport)],
) -> Vec<Remedy> {
    let RoundContext { region, function, .. } = place;
    // Readers show only commands about repositories in the details.
    let planned = found.iter().take(MOST_LISTED).find(|(_, report)| report.plan.is_some());
    let plan = planned.map(|(repository, _)| read_plan(region, function, repository));
    let test = format!("ecr-warden policy test infra/sam/policy.yaml --region {region}");
    plan.into_iter().chain([Remedy::aws(TEST_POLICY, test)]).collect()
}

impl RoundContext<'_> {
    fn alert(&self, kind: AlertKind, severity: Severity, title: String, text: String) -> Alert {
        Alert {
            version: VERSION,
            kind,
            severity,
            title,
            text,
            account: self.account.to_owned(),
            region: self.region.to_owned(),
            repository: None,
            component: None,
            owner: None,
            image: None,
            details: Map::new(),
            remedies: Vec::new(),
            runbook: None,
            policy: None,
            source: self.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
