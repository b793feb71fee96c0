//! Logs the images, the bytes and the open findings of each component after a run. The queries of the
//! template build tables from these lines. A metric for each component would cost 0.30 USD a month.
//!
//! An error here never fails a run: unreadable findings are logged as unknown.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;
use tracing::{info, warn};
use warden_aws::ledger::Ledger;
use warden_core::arena::ImageId;
use warden_core::findings::{OpenFindingsStatus, ReleaseLine};
use warden_core::image::{RepositoryName, Tag};
use warden_core::policy::Severity;
use warden_core::retention::RetentionPlan;
use warden_core::usage::{
    ComponentUsage, ComponentUsageRow, FindingsStatus, measure_usage, open_version_name,
};

/// The most components that are logged. Those with the most bytes are logged.
const MOST_COMPONENTS: usize = 500;
/// The most time for reading the ledger. A run has a minute for everything after its changes.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Logs the usage of each component after these images were removed.
pub async fn log_usage(ledger: &Ledger, plan: &RetentionPlan<'_>, removed: &[ImageId]) {
    let repository = &plan.policy.repository_name;
    let threshold = plan.policy.scan.threshold;
    let usage = measure_usage(plan, removed);
    let (of_components, of_none): (Vec<&ComponentUsageRow>, Vec<&ComponentUsageRow>) =
        usage.rows.iter().partition(|row| row.component.is_some());
    let (written, left) =
        of_components.split_at_checked(MOST_COMPONENTS).unwrap_or((&of_components, &[]));
    let lines: Vec<&ReleaseLine> = written.iter().filter_map(|row| row.line.as_ref()).collect();
    let mut status = read_findings(ledger, repository, &lines, threshold).await;
    for row in written.iter().copied().chain(of_none) {
        let findings = findings(&usage, row, status.as_mut(), threshold);
        log_row(repository, row, &findings);
    }
    if !left.is_empty() {
        let left = left.len();
        info!(
            repository.name = %repository, components.left = left,
            "{repository}: {left} components with the fewest bytes are not logged"
        );
    }
}

/// Reads the open findings of these release lines. None if they cannot be read.
async fn read_findings(
    ledger: &Ledger,
    repository: &RepositoryName,
    lines: &[&ReleaseLine],
    threshold: Severity,
) -> Option<HashMap<ReleaseLine, OpenFindingsStatus>> {
    if lines.is_empty() {
        return Some(HashMap::new());
    }
    let read = timeout(READ_WITHIN, ledger.open_findings(repository, lines, threshold)).await;
    let read = read
        .unwrap_or_else(|_| Err(anyhow!("reading the ledger took longer than {READ_WITHIN:?}")));
    let warn = |error: &anyhow::Error| {
        warn!(
            repository.name = %repository,
            "{repository}: the open findings of its components are unknown: {error:#}",
        );
    };
    read.inspect_err(warn).ok()
}

fn findings(
    usage: &ComponentUsage<'_>,
    row: &ComponentUsageRow,
    status: Option<&mut HashMap<ReleaseLine, OpenFindingsStatus>>,
    threshold: Severity,
) -> FindingsStatus {
    match (&row.line, status) {
        (None, _) => FindingsStatus::ByImage,
        (Some(_), None) => FindingsStatus::Unknown,
        (Some(line), Some(status)) => {
            usage.findings(status.remove(line).unwrap_or_default(), threshold)
        }
    }
}

fn log_row(repository: &RepositoryName, row: &ComponentUsageRow, findings: &FindingsStatus) {
    let open = findings.open();
    let count = |severity| open.and_then(|open| open.count_of(severity));
    // An unknown number has no field in the line.
    info!(
        repository.name = %repository,
        component.name = row.name(),
        component.images = row.images,
        component.bytes = row.bytes,
        component.archived = row.archived,
        component.archived_bytes = row.archived_bytes,
        component.newest = row.newest.as_ref().map(Tag::as_str),
        findings.critical = count(Severity::Critical),
        findings.high = count(Severity::High),
        findings.medium = count(Severity::Medium),
        findings.low = count(Severity::Low),
        findings.informational = count(Severity::Informational),
        findings.open = open.map(|open| open.counts.total()),
        findings.version = open.map(open_version_name),
        findings.summary = %findings,
        "{}",
        row.line(repository, findings),
    );
}
