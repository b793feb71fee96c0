//! Handles the result of one scan: compares its findings with the history of its release line, and
//! publishes the difference.

mod alone;
mod failure;
mod version;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use warden_alerts::{About, AlertOrigin, FailureReason, ScanAlert};
use warden_aws::event::is_young;
use warden_aws::ledger::{
    CleanScanOutcome, CollectedEvents, CollectionClaim, FindingEvent, HistoryClaim,
};
use warden_aws::telemetry::Counts as Metrics;
use warden_core::findings::{
    Finding, FindingsReport, Level, ScanContents, ScanHistory, ScanVerdict, Scanned, compare_scan,
};
use warden_core::policy::Policy;
use warden_core::risks::AcceptedRisk;

use self::version::Version;
use crate::AlertPublisher;
use crate::event::{ImageScan, ScanResult};
use warden_aws::registry::scan::ScanFindings;

/// An invocation collects the events of single findings for this long. Inspector sends one event for
/// each finding, and an image may have hundreds.
const WINDOW: Duration = Duration::from_secs(10);
/// The clocks of two invocations may differ, and the ledger counts in seconds.
const SLACK: Duration = Duration::from_secs(2);
/// An invocation waits until this time after its start for another invocation that has claimed the
/// same release line. The images of an index are scanned at the same time.
const CLAIMED_BY: Duration = Duration::from_secs(30);
/// After this time since the start of a batch, the function starts with no further image.
pub const HANDLED_BY: Duration = Duration::from_secs(30);
/// An event that is younger than this may add a finding that ECR does not show yet.
const FRESH: Duration = Duration::from_secs(900);

/// The invocation for one scan, or for the single findings of one image.
pub struct Invocation<'a> {
    publisher: AlertPublisher<'a>,
    policy: &'a Policy,
    scan: &'a ImageScan,
    /// The findings in other events of the same batch.
    others: Vec<FindingEvent>,
    started: Instant,
}

/// The findings of a scan as far as ECR and the events show them.
enum ScanKnowledge {
    /// All findings of the scan.
    Found(ScanContents),
    /// The findings in the events, and the reason why ECR shows no findings.
    Partial(ScanContents, String),
    /// ECR has no findings: the status of the scan and ECR's description.
    NotScanned(String, Option<String>),
    /// The events close a finding, and ECR shows no other findings for this reason.
    Closed(String),
    /// The image is gone.
    Nothing,
}

impl<'a> Invocation<'a> {
    pub fn new(publisher: AlertPublisher<'a>, policy: &'a Policy, scan: &'a ImageScan) -> Self {
        Self { publisher, policy, scan, others: Vec::new(), started: Instant::now() }
    }

    /// Builds one invocation for several events of single findings of one image. None for an empty
    /// list.
    pub fn of_findings(
        publisher: AlertPublisher<'a>,
        policy: &'a Policy,
        scans: &'a [ImageScan],
    ) -> Option<Self> {
        let newest = scans.iter().max_by_key(|scan| event_time(scan))?;
        let others = scans.iter().filter(|scan| !std::ptr::eq(*scan, newest));
        let others = others.filter_map(finding_event).collect();
        Some(Self { others, ..Self::new(publisher, policy, newest) })
    }

    /// Handles the event.
    pub async fn handle(&self) -> anyhow::Result<()> {
        match self.collect().await? {
            Some(collected) => self.process(&collected).await,
            None => Ok(()),
        }
    }

    /// Collects the single findings of the image from several events. None if another invocation
    /// collects them.
    pub async fn collect(&self) -> anyhow::Result<Option<CollectedEvents>> {
        match finding_event(self.scan) {
            Some(own) => self.collect_findings(own).await,
            None => Ok(Some(CollectedEvents::default())),
        }
    }

    /// Handles the event together with the collected findings.
    pub async fn process(&self, collected: &CollectedEvents) -> anyhow::Result<()> {
        self.process_collected(collected).await?;
        // The finding of this event is in the list, but not in the ledger.
        if collected.events.len() > 1 {
            self.publisher
                .context
                .ledger
                .remove_collected(&self.scan.about, &collected.events)
                .await?;
        }
        Ok(())
    }

    async fn process_collected(&self, collected: &CollectedEvents) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        let Some(version) = self.find_version(collected.tag.as_ref()).await? else { return Ok(()) };
        let threshold = Level::from(self.policy.scan.threshold);
        match &self.scan.result {
            // ECR also tries to scan the parts of an index that are not images, such as attestations.
            _ if !version.part.may_be_image() => {
                info!(
                    repository.name = %repository, image.digest = %digest,
                    artifact.kind = %version.part,
                    "{repository}@{digest} is not an image; its scan is ignored"
                );
                Ok(())
            }
            ScanResult::Failed => self.handle_failed(version).await,
            ScanResult::Complete(Some(counts)) if counts.at_or_above(threshold).total() == 0 => {
                self.handle_clean(version).await
            }
            ScanResult::Complete(_) | ScanResult::Finding { .. } | ScanResult::Recheck => {
                self.handle_findings(version, &collected.events).await
            }
        }
    }

    /// Whether a collected event is a copy of the event of this invocation.
    fn is_own(&self, collected: &FindingEvent) -> bool {
        matches!(&self.scan.result, ScanResult::Finding { finding, .. } if finding.id == collected.id)
            && collected.at == event_time(self.scan)
    }

    /// Collects the single findings of the image that arrive within [`WINDOW`]. None if another
    /// invocation collects them.
    async fn collect_findings(&self, own: FindingEvent) -> anyhow::Result<Option<CollectedEvents>> {
        let (ledger, id) = (&self.publisher.context.ledger, self.publisher.request_id);
        let heard = [&[own], &self.others[..]].concat();
        let (tag, _) = self.tag_and_line(&self.scan.tags);
        let claim = ledger.claim_collection(
            &self.scan.about,
            tag.as_ref(),
            &heard,
            id,
            WINDOW + 2 * SLACK,
            self.time(),
        );
        if claim.await? == CollectionClaim::Theirs {
            return Ok(None);
        }
        sleep(WINDOW + SLACK).await;
        let mut collected = ledger.end_collection(&self.scan.about, id).await?;
        collected.events.extend(heard);
        Ok(Some(collected))
    }

    /// The current time. An invocation may have waited since its start.
    fn time(&self) -> DateTime<Utc> {
        self.publisher.now + self.started.elapsed()
    }

    /// Ignores an event whose image ECR does not know. ECR may show the image of a young event later,
    /// so a young event is an error. Inspector closes the findings of a deleted image, so the event
    /// of a closed finding is never an error.
    fn skip_unknown_image(&self) -> anyhow::Result<()> {
        let About { repository, digest, source, .. } = &self.scan.about;
        let is_closed = matches!(self.scan.result, ScanResult::Finding { is_active: false, .. });
        ensure!(
            is_closed || !is_young(source, self.time()),
            "ECR does not know {repository}@{digest} yet; Lambda tries the event again"
        );
        info!(
            repository.name = %repository, image.digest = %digest,
            "{repository}@{digest} does not exist any more; its findings are ignored"
        );
        Ok(())
    }

    fn scanned(&self, version: &Version, pushed: DateTime<Utc>, found: ScanContents) -> Scanned {
        Scanned {
            component: version.line.as_ref().map(|line| line.component.clone()),
            version: version.digest.clone(),
            tag: version.tag.clone(),
            pushed,
            image: self.scan.about.digest.clone(),
            images: version.images,
            found,
        }
    }

    fn report(
        &self,
        history: &ScanHistory,
        scanned: &Scanned,
        risks: &[AcceptedRisk],
    ) -> FindingsReport {
        let threshold = self.policy.scan.threshold;
        compare_scan(history, scanned, risks, threshold, self.publisher.now.date_naive())
    }

    /// Handles a scan without findings at or above the threshold. One call records the scan, unless
    /// an alert has to be resolved.
    async fn handle_clean(&self, mut version: Version) -> anyhow::Result<()> {
        if !version.early_scans.is_empty() {
            return self.handle_findings(version, &[]).await;
        }
        let repository = &self.scan.about.repository;
        let Some(pushed) = self.read_push_time(&version).await? else { return Ok(()) };
        version.pushed = Some(pushed);
        let scanned = self.scanned(&version, pushed, ScanContents::All(Vec::new()));
        let none = ScanHistory::default();
        let report = self.report(&none, &scanned, &[]);
        if let Some(clean) = none.record(&scanned, &report).latest {
            let ledger = &self.publisher.context.ledger;
            let is_recorded = match ledger
                .record_clean_scan(repository, version.line.as_ref(), &scanned, &clean, self.time())
                .await?
            {
                CleanScanOutcome::Recorded => true,
                CleanScanOutcome::NotRecorded(history) => {
                    let report = self.report(&history, &scanned, &[]);
                    let next = history.clone().record(&scanned, &report);
                    // Accepted risks also decide whether an open alert is resolved.
                    report.verdict == ScanVerdict::Nothing
                        && next == *history
                        && !history.published.is_open
                }
            };
            if is_recorded {
                self.log_report(&version, &report);
                return Ok(());
            }
        }
        // The event may be old, so it cannot resolve an alert. ECR's findings are read instead.
        self.handle_findings(version, &[]).await
    }

    async fn read_findings(&self) -> ScanFindings {
        let About { repository, digest, .. } = &self.scan.about;
        let details = self.publisher.context.registry.findings(repository, digest).await;
        if let ScanFindings::Unread(why) = &details {
            warn!(
                repository.name = %repository, image.digest = %digest,
                "the findings of {repository}@{digest} cannot be read: {why}"
            );
        }
        details
    }

    /// Compares the findings with the scan history, and publishes the new findings.
    async fn handle_findings(
        &self,
        version: Version,
        heard: &[FindingEvent],
    ) -> anyhow::Result<()> {
        // A copy of an event adds no findings to the first event. The rechecks of the images of an index
        // are no copies, but have the event of the push of the index.
        let is_recheck = matches!(self.scan.result, ScanResult::Recheck);
        let has_only_own = !is_recheck && heard.iter().all(|other| self.is_own(other));
        let Some(recorded) = self.claim(&version, has_only_own).await? else { return Ok(()) };
        let history = Self::take_over(&version, recorded.clone());
        let compared = self.compare(&version, heard, &history).await;
        let (repository, line) = (&self.scan.about.repository, version.line.as_ref());
        let next = compared.as_ref().ok().map(|next| next.as_ref().unwrap_or(&history));
        let next = next.filter(|next| **next != recorded);
        let (ledger, id) = (&self.publisher.context.ledger, self.publisher.request_id);
        // The claim is settled even after an error, so that no other invocation waits for its lease.
        let settled = ledger.release_history(repository, line, &version.digest, id, next).await;
        compared.and(settled)?;
        self.end_early_scan(&version).await
    }

    /// Claims the scan history of the release line. If another invocation has claimed the history, waits,
    /// and fails after half a minute, so that Lambda tries the event again. None if that invocation
    /// handles a copy of the same event and `has_only_own`: Lambda retries that copy if it crashes.
    async fn claim(
        &self,
        version: &Version,
        has_only_own: bool,
    ) -> anyhow::Result<Option<ScanHistory>> {
        let (repository, line) = (&self.scan.about.repository, version.line.as_ref());
        let (ledger, id) = (&self.publisher.context.ledger, self.publisher.request_id);
        let mut turn = 0;
        loop {
            let event_id = &self.scan.about.source.id;
            let recalled = ledger
                .claim_history(repository, line, &version.digest, id, event_id, self.time())
                .await?;
            match recalled {
                HistoryClaim::Ours(history) => return Ok(Some(*history)),
                HistoryClaim::Theirs { has_same_event: true } if has_only_own => return Ok(None),
                HistoryClaim::Theirs { .. } => {}
            }
            if self.started.elapsed() > CLAIMED_BY {
                let name = line.map_or(version.digest.as_str(), |line| line.component.as_str());
                bail!(
                    "another invocation is handling the scans of {name} in {repository}; Lambda tries the event again"
                );
            }
            turn += 1;
            sleep(self.pause(turn)).await;
        }
    }

    /// The pause before the next claim. It depends on the request ID, so that waiting invocations do
    /// not all try at the same time.
    fn pause(&self, turn: u64) -> Duration {
        let bytes = self.publisher.request_id.bytes().map(u64::from);
        let sum = bytes.fold(turn, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        Duration::from_millis(300 + sum % 500)
    }

    /// Compares the findings with the scan history and publishes the new findings. Returns the new
    /// history, or None if the history does not change.
    async fn compare(
        &self,
        version: &Version,
        heard: &[FindingEvent],
        history: &ScanHistory,
    ) -> anyhow::Result<Option<ScanHistory>> {
        let image = &self.scan.about.digest;
        let is_known = |heard: &FindingEvent| {
            let finding = Finding::new(&heard.id, heard.level);
            finding.is_some_and(|finding| {
                history.has_no_news(&version.digest, image, &finding, heard.is_active)
            })
        };
        // Every collected finding must be known: the invocations that brought them have ended.
        if !heard.is_empty() && heard.iter().all(is_known) {
            return Ok(None);
        }
        let details = self.read_findings().await;
        let own = match &details {
            // For a part of an index, the time of the push of the index counts.
            ScanFindings::Found(_, pushed) if version.digest == *image => *pushed,
            _ => None,
        };
        let (found, unread) = match self.combine_findings(details, heard)? {
            ScanKnowledge::Found(found) => (found, None),
            ScanKnowledge::Partial(found, why) => (found, Some(why)),
            ScanKnowledge::NotScanned(status, description) => {
                let reason = FailureReason::Described(description.as_deref());
                self.publish_failure(version, &status, reason).await?;
                return Ok(None);
            }
            ScanKnowledge::Closed(why) if history.published.is_open => {
                return Err(self.unknown_end(&why));
            }
            ScanKnowledge::Closed(_) | ScanKnowledge::Nothing => return Ok(None),
        };
        let same = history.latest.as_ref().filter(|latest| latest.digest == version.digest);
        let known_time = same.map(|same| same.pushed).or(version.pushed).or(own);
        let pushed =
            if known_time.is_some() { known_time } else { self.read_push_time(version).await? };
        let Some(pushed) = pushed else { return Ok(None) };
        let scanned = self.scanned(version, pushed, found);
        let mut report = self.report(history, &scanned, &[]);
        let may_be_over = report.is_latest && history.published.is_open;
        if report.verdict == ScanVerdict::Publish || !report.counted.is_empty() || may_be_over {
            // The accepted risks are read only here, because most scans have no findings that could
            // be accepted. A published finding may have been accepted since, and an acceptance may
            // have expired.
            let risks = self.risks().await?;
            report = self.report(history, &scanned, &risks);
        }
        self.log_report(version, &report);
        let is_none_known = report.counts.at_or_above(report.threshold.into()).total() == 0;
        if let Some(why) = &unread
            && report.verdict == ScanVerdict::Nothing
            && may_be_over
            && is_none_known
        {
            return Err(self.unknown_end(why));
        }
        self.publish_report(version, &scanned, &report, unread.as_deref()).await?;
        Ok(Some(history.clone().record(&scanned, &report)))
    }

    /// Combines the findings that ECR shows with the findings of events.
    fn combine_findings(
        &self,
        details: ScanFindings,
        heard: &[FindingEvent],
    ) -> anyhow::Result<ScanKnowledge> {
        // The newest event about each vulnerability.
        let mut last: BTreeMap<&str, &FindingEvent> = BTreeMap::new();
        for heard in heard {
            let newest = last.entry(&heard.id).or_insert(heard);
            if heard.at >= newest.at {
                *newest = heard;
            }
        }
        let active = last.into_values().filter(|heard| heard.is_active);
        let active: Vec<(&FindingEvent, Finding)> = active
            .filter_map(|heard| {
                // The event of this invocation has more details than the ledger has of other events.
                let own = match &self.scan.result {
                    ScanResult::Finding { finding, .. } if finding.id == heard.id => {
                        finding.clone()
                    }
                    _ => Finding::new(&heard.id, heard.level)?,
                };
                Some((heard, Finding { level: heard.level, epss: heard.epss, ..own }))
            })
            .collect();
        let why = match details {
            ScanFindings::Found(mut found, _) => {
                // ECR may not show the finding of a fresh event yet, and ECR never shows its EPSS.
                for (heard, finding) in active {
                    let is_fresh = heard.at + FRESH > self.publisher.now;
                    match found.iter_mut().find(|known| known.id == finding.id) {
                        Some(known) if is_fresh => known.join(finding),
                        Some(known) => known.epss = finding.epss,
                        None if is_fresh => found.push(finding),
                        None => {}
                    }
                }
                return Ok(ScanKnowledge::Found(ScanContents::All(found)));
            }
            ScanFindings::Gone => {
                self.skip_unknown_image()?;
                return Ok(ScanKnowledge::Nothing);
            }
            ScanFindings::NotScanned { status, description } => {
                match (&self.scan.result, description) {
                    (ScanResult::Complete(None) | ScanResult::Recheck, description) => {
                        return Ok(ScanKnowledge::NotScanned(status, description));
                    }
                    (_, Some(description)) => format!("{status}: {description}"),
                    (_, None) => status,
                }
            }
            ScanFindings::Unread(why) => why,
        };
        Ok(match &self.scan.result {
            ScanResult::Finding { .. } if active.is_empty() => ScanKnowledge::Closed(why),
            ScanResult::Finding { .. } => {
                let active = active.into_iter().map(|(_, finding)| finding).collect();
                ScanKnowledge::Partial(ScanContents::Some(active), why)
            }
            ScanResult::Complete(Some(counts)) => {
                ScanKnowledge::Partial(ScanContents::Counts(counts.clone()), why)
            }
            // The function has nothing to publish. After two retries, Lambda sends the event to the
            // dead-letter queue.
            ScanResult::Complete(None) | ScanResult::Failed | ScanResult::Recheck => {
                let About { repository, digest, .. } = &self.scan.about;
                bail!("the findings of {repository}@{digest} cannot be read after its scan: {why}")
            }
        })
    }

    /// The error for an open alert that may be over, while ECR shows no findings that prove it. Lambda
    /// tries the event again, and then the event goes to the dead-letter queue. No other event may
    /// arrive that would resolve the alert.
    fn unknown_end(&self, why: &str) -> anyhow::Error {
        let About { repository, digest, .. } = &self.scan.about;
        anyhow!(
            "the open alert about {repository}@{digest} may be over, but its findings cannot be read: {why}"
        )
    }

    /// Reads the accepted risks. If they cannot be read, publishes that and accepts no risk.
    async fn risks(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        match self.publisher.context.risks.read().await {
            Ok(risks) => Ok(risks),
            Err(error) => {
                self.publisher.publish_unreadable_risks(&self.alert_origin(), &error).await?;
                Ok(Vec::new())
            }
        }
    }

    fn alert_origin(&self) -> AlertOrigin<'_> {
        let About { account, region, source, .. } = &self.scan.about;
        AlertOrigin { account, region, source, parameter: &self.publisher.context.config.parameter }
    }

    fn scan_alert<'b>(
        &'b self,
        about: &'b About,
        version: &'b Version,
        scanned: &'b Scanned,
    ) -> ScanAlert<'b> {
        let parameter = &self.publisher.context.config.parameter;
        let owner = self.policy.owner.as_ref();
        ScanAlert { about, tags: &version.tags, scanned, parameter, owner }
    }

    /// Publishes the alert that the report asks for.
    async fn publish_report(
        &self,
        version: &Version,
        scanned: &Scanned,
        report: &FindingsReport,
        unread: Option<&str>,
    ) -> anyhow::Result<()> {
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let scan_alert = self.scan_alert(&about, version, scanned);
        let alert = match report.verdict {
            ScanVerdict::Publish => warden_alerts::scan_findings(&scan_alert, report, unread),
            ScanVerdict::Resolve => warden_alerts::scan_resolved(&scan_alert, report),
            ScanVerdict::Nothing => return Ok(()),
        };
        // Findings and their resolution are alerts about the same image.
        let About { repository, digest, .. } = &about;
        let subject = format!("scan {repository} {digest}");
        self.publisher.publish(&alert, &subject, &alert.content()).await
    }

    /// Logs the report, and writes its metrics.
    fn log_report(&self, version: &Version, report: &FindingsReport) {
        let About { repository, digest, .. } = &self.scan.about;
        let tag = version.tag.as_ref();
        let name = tag.map_or_else(|| format!("@{digest}"), |tag| format!(":{tag}"));
        info!(
            repository.name = %repository, image.digest = %digest,
            findings.counted = report.counted.len(), findings.new = report.news().count(),
            "{repository}{name}: {report}"
        );
        let counts = Metrics::new("Stack", &self.publisher.context.config.stack_name);
        let new = u32::try_from(report.news().count()).unwrap_or(u32::MAX);
        let counts = counts.count("ScansSeen", 1).count("FindingsNew", new);
        counts.write(self.publisher.request_id, self.publisher.now);
    }
}

/// The time of the event. An event with an invalid time counts as the oldest event.
fn event_time(scan: &ImageScan) -> DateTime<Utc> {
    let time = DateTime::parse_from_rfc3339(&scan.about.source.time);
    time.map_or(DateTime::UNIX_EPOCH, |time| time.to_utc())
}

/// The finding that an event is about. None if it is about a whole scan.
fn finding_event(scan: &ImageScan) -> Option<FindingEvent> {
    let ScanResult::Finding { finding, is_active } = &scan.result else { return None };
    Some(FindingEvent {
        id: finding.id.clone(),
        level: finding.level,
        epss: finding.epss,
        is_active: *is_active,
        at: event_time(scan),
    })
}
