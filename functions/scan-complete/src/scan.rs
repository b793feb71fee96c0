//! Handles the result of a scan.

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
    CleanScanOutcome, CollectedEvents, CollectionClaim, Fact, FindingEvent, HistoryClaim,
};
use warden_aws::telemetry::Counts as Metrics;
use warden_core::findings::{
    Finding, FindingsReport, Level, ScanContents, ScanHistory, ScanVerdict, Scanned, compare_scan,
};
use warden_core::graph::IndexChildKind;
use warden_core::image::Component;
use warden_core::policy::Policy;
use warden_core::risks::AcceptedRisk;

use self::version::Version;
use crate::AlertPublisher;
use crate::event::{ImageScan, ScanResult};
use warden_aws::registry::scan::ScanFindings;

/// For how long the events of single findings are gathered: they come by the hundred.
const WINDOW: Duration = Duration::from_secs(10);
/// The clocks of two invocations may differ, and the ledger counts in seconds.
const SLACK: Duration = Duration::from_secs(2);
/// Until when, of the function's time, is waited for somebody else who is at work on the same
/// component: the images of an index are scanned at once.
const CLAIMED_BY: Duration = Duration::from_secs(30);
/// Until when, of the function's time, a batch begins to handle another image.
pub const HANDLED_BY: Duration = Duration::from_secs(30);
/// How old an event may be to be believed against what ECR says later.
const FRESH: Duration = Duration::from_secs(900);

/// What an invocation is about.
pub struct Invocation<'a> {
    teller: AlertPublisher<'a>,
    policy: &'a Policy,
    scan: &'a ImageScan,
    /// The findings that other events of the same batch bring.
    others: Vec<FindingEvent>,
    started: Instant,
}

/// What is known of a scan.
enum Known {
    /// What it found.
    Found(ScanContents),
    /// What the event says of that, and why no more is known.
    Said(ScanContents, String),
    /// That there is nothing to be known: the status, and ECR's words about it.
    Failed(String, Option<String>),
    /// That a finding is closed, and why it is not known what else there is.
    Closed(String),
    /// Nothing that anybody needs to hear of.
    Nothing,
}

impl<'a> Invocation<'a> {
    pub fn new(teller: AlertPublisher<'a>, policy: &'a Policy, scan: &'a ImageScan) -> Self {
        Self { teller, policy, scan, others: Vec::new(), started: Instant::now() }
    }

    /// The events of single findings of one image, of which there is at least one, handled as one.
    pub fn of_findings(
        teller: AlertPublisher<'a>,
        policy: &'a Policy,
        scans: &'a [ImageScan],
    ) -> Option<Self> {
        let newest = scans.iter().max_by_key(|scan| said_at(scan))?;
        let others = scans.iter().filter(|scan| !std::ptr::eq(*scan, newest));
        let others = others.filter_map(finding_event).collect();
        Some(Self { others, ..Self::new(teller, policy, newest) })
    }

    /// Handles the event.
    pub async fn handle(&self) -> anyhow::Result<()> {
        match self.collect().await? {
            Some(collected) => self.process(&collected).await,
            None => Ok(()),
        }
    }

    /// Collects what events say of single findings of the image. None if another invocation does.
    pub async fn collect(&self) -> anyhow::Result<Option<CollectedEvents>> {
        match finding_event(self.scan) {
            Some(own) => self.gather(own).await,
            None => Ok(Some(CollectedEvents::default())),
        }
    }

    /// Handles the event, with what was collected.
    pub async fn process(&self, gathered: &CollectedEvents) -> anyhow::Result<()> {
        self.process_collected(gathered).await?;
        // Its own is among them, and nowhere else.
        if gathered.events.len() > 1 {
            self.teller.context.ledger.remove_collected(&self.scan.about, &gathered.events).await?;
        }
        Ok(())
    }

    async fn process_collected(&self, gathered: &CollectedEvents) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        let Some(version) = self.version(gathered.tag.as_ref()).await? else { return Ok(()) };
        let threshold = Level::from(self.policy.governance.scan.threshold);
        match &self.scan.said {
            // What a build attests of its images has nothing to be scanned, and ECR tries.
            _ if version.part == IndexChildKind::Attestation => {
                info!(
                    repository.name = %repository, image.digest = %digest,
                    "{repository}@{digest} is an attestation"
                );
                Ok(())
            }
            ScanResult::Failed => self.failed(version).await,
            ScanResult::Complete(Some(counts)) if counts.at_or_above(threshold).total() == 0 => {
                self.clean(version).await
            }
            ScanResult::Complete(_) | ScanResult::Finding { .. } => {
                self.found(version, &gathered.events).await
            }
        }
    }

    /// Whether a collected event says what the own event says.
    fn is_own(&self, collected: &FindingEvent) -> bool {
        matches!(&self.scan.said, ScanResult::Finding { finding, .. } if finding.id == collected.id)
            && collected.at == said_at(self.scan)
    }

    /// Gathers for a while what events say of single findings of the image. None if another
    /// invocation does.
    async fn gather(&self, own: FindingEvent) -> anyhow::Result<Option<CollectedEvents>> {
        let (ledger, id) = (&self.teller.context.ledger, self.teller.request_id);
        let heard = [&[own], &self.others[..]].concat();
        let (tag, _) = self.named(&self.scan.tags);
        let gathering = ledger.claim_collection(
            &self.scan.about,
            tag.as_ref(),
            &heard,
            id,
            WINDOW + 2 * SLACK,
            self.time(),
        );
        if gathering.await? == CollectionClaim::Theirs {
            return Ok(None);
        }
        sleep(WINDOW + SLACK).await;
        let mut gathered = ledger.end_collection(&self.scan.about, id).await?;
        gathered.events.extend(heard);
        Ok(Some(gathered))
    }

    /// The time now: waiting takes some.
    fn time(&self) -> DateTime<Utc> {
        self.teller.now + self.started.elapsed()
    }

    /// Lets an event go whose image ECR does not know. The image of a young event may come, so
    /// that is an error. Inspector closes the findings of an image that was deleted, so an event
    /// of a closed finding is let go at once.
    fn let_go(&self) -> anyhow::Result<()> {
        let About { repository, digest, source, .. } = &self.scan.about;
        let is_closed = matches!(self.scan.said, ScanResult::Finding { is_active: false, .. });
        ensure!(
            is_closed || !is_young(source, self.time()),
            "ECR does not know {repository}@{digest} yet; to be tried again"
        );
        info!(repository.name = %repository, image.digest = %digest, "{repository}@{digest} is gone, and so are its findings");
        Ok(())
    }

    fn scanned(&self, version: &Version, pushed: DateTime<Utc>, found: ScanContents) -> Scanned {
        Scanned {
            component: version.component.clone(),
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
        memory: &ScanHistory,
        scanned: &Scanned,
        risks: &[AcceptedRisk],
    ) -> FindingsReport {
        let threshold = self.policy.governance.scan.threshold;
        compare_scan(memory, scanned, risks, threshold, self.teller.now.date_naive())
    }

    /// A scan in which nothing counts: noted in one call, unless there is an alert to end.
    async fn clean(&self, mut version: Version) -> anyhow::Result<()> {
        let repository = &self.scan.about.repository;
        let Some(pushed) = self.pushed(&version).await? else { return Ok(()) };
        version.pushed = Some(pushed);
        let scanned = self.scanned(&version, pushed, ScanContents::All(Vec::new()));
        let none = ScanHistory::default();
        let report = self.report(&none, &scanned, &[]);
        if let Some(clean) = none.record(&scanned, &report).latest {
            let ledger = &self.teller.context.ledger;
            let is_done =
                match ledger.record_clean_scan(repository, &scanned, &clean, self.time()).await? {
                    CleanScanOutcome::Recorded => true,
                    CleanScanOutcome::NotRecorded(memory) => {
                        let report = self.report(&memory, &scanned, &[]);
                        let next = memory.clone().record(&scanned, &report);
                        // What ends an alert depends on what is accepted, too.
                        report.verdict == ScanVerdict::Nothing
                            && next == *memory
                            && !memory.published.is_open
                    }
                };
            if is_done {
                self.print(&version, &report);
                return Ok(());
            }
        }
        // What is to end an alert is not believed of an event, which may be an old one.
        self.found(version, &[]).await
    }

    /// A scan that failed. If there are findings by now, it has been done again.
    async fn failed(&self, version: Version) -> anyhow::Result<()> {
        match self.details().await {
            ScanFindings::Gone => self.let_go(),
            ScanFindings::Found(..) => self.found(version, &[]).await,
            ScanFindings::NotScanned { status, description } => {
                let reason = FailureReason::Described(description.as_deref());
                self.tell_of_failure(&version, &status, reason).await
            }
            ScanFindings::Unread(error) => {
                let reason = FailureReason::Unreadable(&error);
                self.tell_of_failure(&version, "FAILED", reason).await
            }
        }
    }

    async fn tell_of_failure(
        &self,
        version: &Version,
        status: &str,
        reason: FailureReason<'_>,
    ) -> anyhow::Result<()> {
        let repository = &self.scan.about.repository;
        let found = ScanContents::All(Vec::new());
        let scanned = self.scanned(version, self.teller.now, found);
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let alert =
            warden_alerts::scan_failed(&self.told(&about, version, &scanned), status, reason);
        // One for all images of an index.
        let fact = Fact::ScanFailed { repository, digest: &version.digest, status };
        self.teller.tell(fact, &alert).await?;
        let counts = Metrics::new("Repository", repository).count("ScansFailed", 1);
        counts.write(self.teller.request_id, self.teller.now);
        Ok(())
    }

    async fn details(&self) -> ScanFindings {
        let About { repository, digest, .. } = &self.scan.about;
        let details = self.teller.context.registry.findings(repository, digest).await;
        if let ScanFindings::Unread(why) = &details {
            warn!(
                repository.name = %repository, image.digest = %digest,
                "the findings of {repository}@{digest} could not be read: {why}"
            );
        }
        details
    }

    /// Compares what was found with what is remembered, and tells what is news.
    async fn found(&self, version: Version, heard: &[FindingEvent]) -> anyhow::Result<()> {
        // A copy of the same event has nothing to add to the first one.
        let has_only_own = heard.iter().all(|other| self.is_own(other));
        let Some(memory) = self.claim(&version, has_only_own).await? else { return Ok(()) };
        let compared = self.compare(&version, heard, &memory).await;
        let (repository, component) = (&self.scan.about.repository, version.component.as_ref());
        let next = compared.as_ref().ok().and_then(Option::as_ref).filter(|next| **next != memory);
        let (ledger, id) = (&self.teller.context.ledger, self.teller.request_id);
        // After an error too, so that nobody waits for this attempt.
        let settled =
            ledger.release_history(repository, component, &version.digest, id, next).await;
        compared.and(settled)
    }

    /// Claims the scan history of the component. Waits for another invocation that has claimed it,
    /// and fails after half a minute, so that the event is tried again. None if that invocation
    /// handles another copy of the same event and `has_only_own`: its own retries cover a crash.
    async fn claim(
        &self,
        version: &Version,
        has_only_own: bool,
    ) -> anyhow::Result<Option<ScanHistory>> {
        let (repository, component) = (&self.scan.about.repository, version.component.as_ref());
        let (ledger, id) = (&self.teller.context.ledger, self.teller.request_id);
        let mut turn = 0;
        loop {
            let event_id = &self.scan.about.source.id;
            let recalled = ledger
                .claim_history(repository, component, &version.digest, id, event_id, self.time())
                .await?;
            match recalled {
                HistoryClaim::Ours(memory) => return Ok(Some(*memory)),
                HistoryClaim::Theirs { has_same_event: true } if has_only_own => return Ok(None),
                HistoryClaim::Theirs { .. } => {}
            }
            if self.started.elapsed() > CLAIMED_BY {
                let of = component.map_or(version.digest.as_str(), Component::as_str);
                bail!("another invocation is at work on the scans of {of} in {repository}");
            }
            turn += 1;
            sleep(self.pause(turn)).await;
        }
    }

    /// How long to wait for one's turn, which is not the same for all who wait.
    fn pause(&self, turn: u64) -> Duration {
        let bytes = self.teller.request_id.bytes().map(u64::from);
        let sum = bytes.fold(turn, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        Duration::from_millis(300 + sum % 500)
    }

    /// What is to be remembered from now on, once what is news has been told; none if that is
    /// the same as before.
    async fn compare(
        &self,
        version: &Version,
        heard: &[FindingEvent],
        memory: &ScanHistory,
    ) -> anyhow::Result<Option<ScanHistory>> {
        let image = &self.scan.about.digest;
        let is_known = |heard: &FindingEvent| {
            let finding = Finding::new(&heard.id, heard.level);
            finding
                .is_some_and(|it| memory.has_no_news(&version.digest, image, &it, heard.is_active))
        };
        // Of all that was gathered: whoever left it here has gone.
        if !heard.is_empty() && heard.iter().all(is_known) {
            return Ok(None);
        }
        let details = self.details().await;
        let own = match &details {
            // Of an index it is the index that people push.
            ScanFindings::Found(_, pushed) if version.digest == *image => *pushed,
            _ => None,
        };
        let (found, unread) = match self.known(details, heard)? {
            Known::Found(found) => (found, None),
            Known::Said(found, why) => (found, Some(why)),
            Known::Failed(status, description) => {
                let reason = FailureReason::Described(description.as_deref());
                self.tell_of_failure(version, &status, reason).await?;
                return Ok(None);
            }
            Known::Closed(why) if memory.published.is_open => return Err(self.unknown_end(&why)),
            Known::Closed(_) | Known::Nothing => return Ok(None),
        };
        let same = memory.latest.as_ref().filter(|latest| latest.digest == version.digest);
        let known = same.map(|same| same.pushed).or(version.pushed).or(own);
        let pushed = if known.is_some() { known } else { self.pushed(version).await? };
        let Some(pushed) = pushed else { return Ok(None) };
        let scanned = self.scanned(version, pushed, found);
        let mut report = self.report(memory, &scanned, &[]);
        let may_be_over = report.is_latest && memory.published.is_open;
        if report.verdict == ScanVerdict::Publish || !report.counted.is_empty() || may_be_over {
            // Only now: most scans have nothing that anybody could have accepted. But what was
            // told may have been accepted since, and what was accepted may be so no more.
            let risks = self.risks().await?;
            report = self.report(memory, &scanned, &risks);
        }
        self.print(version, &report);
        let is_none_known = report.counts.at_or_above(report.threshold.into()).total() == 0;
        if let Some(why) = &unread
            && report.verdict == ScanVerdict::Nothing
            && may_be_over
            && is_none_known
        {
            return Err(self.unknown_end(why));
        }
        self.tell(version, &scanned, &report, unread.as_deref()).await?;
        Ok(Some(memory.clone().record(&scanned, &report)))
    }

    /// What is known of the scan, by ECR and by events.
    fn known(&self, details: ScanFindings, heard: &[FindingEvent]) -> anyhow::Result<Known> {
        // Of each the last word.
        let mut last: BTreeMap<&str, &FindingEvent> = BTreeMap::new();
        for heard in heard {
            let word = last.entry(&heard.id).or_insert(heard);
            if heard.at >= word.at {
                *word = heard;
            }
        }
        let active = last.into_values().filter(|heard| heard.is_active);
        let active: Vec<(&FindingEvent, Finding)> = active
            .filter_map(|heard| {
                // Of its own finding an event says more.
                let own = match &self.scan.said {
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
                // ECR may not show yet what an event of just now tells; and it has no EPSS.
                for (heard, finding) in active {
                    let is_fresh = heard.at + FRESH > self.teller.now;
                    match found.iter_mut().find(|it| it.id == finding.id) {
                        Some(known) if is_fresh => known.join(finding),
                        Some(known) => known.epss = finding.epss,
                        None if is_fresh => found.push(finding),
                        None => {}
                    }
                }
                return Ok(Known::Found(ScanContents::All(found)));
            }
            ScanFindings::Gone => {
                self.let_go()?;
                return Ok(Known::Nothing);
            }
            ScanFindings::NotScanned { status, description } => {
                match (&self.scan.said, description) {
                    (ScanResult::Complete(None), description) => {
                        return Ok(Known::Failed(status, description));
                    }
                    (_, Some(description)) => format!("{status}: {description}"),
                    (_, None) => status,
                }
            }
            ScanFindings::Unread(why) => why,
        };
        Ok(match &self.scan.said {
            ScanResult::Finding { .. } if active.is_empty() => Known::Closed(why),
            ScanResult::Finding { .. } => {
                let active = active.into_iter().map(|(_, finding)| finding).collect();
                Known::Said(ScanContents::Some(active), why)
            }
            ScanResult::Complete(Some(counts)) => {
                Known::Said(ScanContents::Counts(counts.clone()), why)
            }
            // There is nothing to be told by: it is tried again, and ends in a queue.
            ScanResult::Complete(None) | ScanResult::Failed => {
                let About { repository, digest, .. } = &self.scan.about;
                bail!("{repository}@{digest} was scanned, and what was found cannot be read: {why}")
            }
        })
    }

    /// That an alert may be over, and cannot be ended: it is tried again, and ends in a queue.
    /// There may be no other event that would end it.
    fn unknown_end(&self, why: &str) -> anyhow::Error {
        let About { repository, digest, .. } = &self.scan.about;
        anyhow!(
            "{repository}@{digest} may have no open findings any more, and that cannot be read: {why}"
        )
    }

    /// What is accepted; nothing, if that cannot be read.
    async fn risks(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        match self.teller.context.risks.read().await {
            Ok(risks) => Ok(risks),
            Err(error) => {
                self.teller.tell_of_risks(&self.place(), &error).await?;
                Ok(Vec::new())
            }
        }
    }

    fn place(&self) -> AlertOrigin<'_> {
        let About { account, region, source, .. } = &self.scan.about;
        AlertOrigin { account, region, source, parameter: &self.teller.context.config.parameter }
    }

    fn told<'b>(
        &'b self,
        about: &'b About,
        version: &'b Version,
        scanned: &'b Scanned,
    ) -> ScanAlert<'b> {
        let parameter = &self.teller.context.config.parameter;
        ScanAlert { about, tags: &version.tags, scanned, parameter }
    }

    /// Tells what was decided.
    async fn tell(
        &self,
        version: &Version,
        scanned: &Scanned,
        report: &FindingsReport,
        unread: Option<&str>,
    ) -> anyhow::Result<()> {
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let told = self.told(&about, version, scanned);
        let alert = match report.verdict {
            ScanVerdict::Publish => warden_alerts::scan_findings(&told, report, unread),
            ScanVerdict::Resolve => warden_alerts::scan_resolved(&told, report),
            ScanVerdict::Nothing => return Ok(()),
        };
        self.teller.context.alerts.publish(&alert).await
    }

    /// Prints what was decided, and counts it.
    fn print(&self, version: &Version, report: &FindingsReport) {
        let About { repository, digest, .. } = &self.scan.about;
        let name = version.tag.as_ref().map_or_else(|| format!("@{digest}"), |it| format!(":{it}"));
        info!(
            repository.name = %repository, image.digest = %digest,
            findings.counted = report.counted.len(), findings.new = report.news().count(),
            "{repository}{name}: {report}"
        );
        let counts = Metrics::new("Repository", repository);
        let new = u32::try_from(report.news().count()).unwrap_or(u32::MAX);
        let counts = counts.count("ScansSeen", 1).count("FindingsNew", new);
        counts.write(self.teller.request_id, self.teller.now);
    }
}

/// When the event says what it says.
fn said_at(scan: &ImageScan) -> DateTime<Utc> {
    let time = DateTime::parse_from_rfc3339(&scan.about.source.time);
    time.map_or(DateTime::UNIX_EPOCH, |time| time.to_utc())
}

/// The finding that an event is about. None if it is about a whole scan.
fn finding_event(scan: &ImageScan) -> Option<FindingEvent> {
    let ScanResult::Finding { finding, is_active } = &scan.said else { return None };
    Some(FindingEvent {
        id: finding.id.clone(),
        level: finding.level,
        epss: finding.epss,
        is_active: *is_active,
        at: said_at(scan),
    })
}
