//! Writes down how much there is of each component after a run, and what is open in it: a line
//! each, of which the template's queries make tables. Metrics of each component would cost
//! 0.30 USD a month apiece.
//!
//! It stands in no run's way: what cannot be read is said to be unknown.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;
use tracing::{info, warn};
use warden_aws::ledger::Ledger;
use warden_core::arena::ImageId;
use warden_core::findings::OpenFindingsStatus;
use warden_core::image::{Component, RepositoryName, Tag};
use warden_core::policy::Severity;
use warden_core::retention::RetentionPlan;
use warden_core::usage::{
    ComponentUsage, ComponentUsageRow, FindingsStatus, measure_usage, open_version_name,
};

/// The most components that have a line: those with the most bytes.
const MOST_COMPONENTS: usize = 500;
/// How long the ledger may take: there is a minute for everything that is said after a run.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Writes down what there is after these images were removed.
pub async fn write(ledger: &Ledger, plan: &RetentionPlan<'_>, removed: &[ImageId]) {
    let repository = &plan.policy.repository_name;
    let threshold = plan.policy.governance.scan.threshold;
    let usage = measure_usage(plan, removed);
    let (of_components, of_none): (Vec<&ComponentUsageRow>, Vec<&ComponentUsageRow>) =
        usage.rows.iter().partition(|row| row.component.is_some());
    let (written, left) =
        of_components.split_at_checked(MOST_COMPONENTS).unwrap_or((&of_components, &[]));
    let components: Vec<&Component> =
        written.iter().filter_map(|row| row.component.as_ref()).collect();
    let mut standing = read(ledger, repository, &components, threshold).await;
    for row in written.iter().copied().chain(of_none) {
        let findings = findings(&usage, row, standing.as_mut(), threshold);
        write_one(repository, row, &findings);
    }
    if !left.is_empty() {
        let left = left.len();
        info!(
            repository.name = %repository, components.left = left,
            "{repository}: {left} components have no line, those with the fewest bytes"
        );
    }
}

/// What is remembered of the scans of these; none if that cannot be read.
async fn read(
    ledger: &Ledger,
    repository: &RepositoryName,
    components: &[&Component],
    threshold: Severity,
) -> Option<HashMap<Component, OpenFindingsStatus>> {
    if components.is_empty() {
        return Some(HashMap::new());
    }
    let read = timeout(READ_WITHIN, ledger.open_findings(repository, components, threshold)).await;
    let read = read.unwrap_or_else(|_| Err(anyhow!("it took longer than {READ_WITHIN:?}")));
    let warn = |error: &anyhow::Error| {
        warn!(repository.name = %repository, "{repository}: what is open is not known: {error:#}");
    };
    read.inspect_err(warn).ok()
}

fn findings(
    usage: &ComponentUsage<'_>,
    row: &ComponentUsageRow,
    standing: Option<&mut HashMap<Component, OpenFindingsStatus>>,
    threshold: Severity,
) -> FindingsStatus {
    match (&row.component, standing) {
        (None, _) => FindingsStatus::ByImage,
        (Some(_), None) => FindingsStatus::Unknown,
        (Some(component), Some(standing)) => {
            usage.findings(standing.remove(component).unwrap_or_default(), threshold)
        }
    }
}

fn write_one(repository: &RepositoryName, row: &ComponentUsageRow, findings: &FindingsStatus) {
    let open = findings.open();
    let of = |severity| open.and_then(|open| open.count_of(severity));
    // What is not known has no field.
    info!(
        repository.name = %repository,
        component.name = row.name(),
        component.images = row.images,
        component.bytes = row.bytes,
        component.archived = row.archived,
        component.archived_bytes = row.archived_bytes,
        component.newest = row.newest.as_ref().map(Tag::as_str),
        findings.critical = of(Severity::Critical),
        findings.high = of(Severity::High),
        findings.medium = of(Severity::Medium),
        findings.low = of(Severity::Low),
        findings.informational = of(Severity::Informational),
        findings.open = open.map(|open| open.counts.total()),
        findings.version = open.map(open_version_name),
        findings.summary = %findings,
        "{}",
        row.line(repository, findings),
    );
}
