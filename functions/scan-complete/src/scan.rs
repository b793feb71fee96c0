//! What becomes of what is said of a scan.

use std::time::Duration;

use anyhow::bail;
use aws::ledger::{Fact, Gathering, Note, Passing, Recalled};
use aws::telemetry::Counts as Metrics;
use chrono::{DateTime, Utc};
use governance::alert::{self, About, Place, Scan};
use governance::findings::{Found, Level, Memory, Report, Scanned, Verdict, merged, report};
use governance::graph::Part;
use governance::image::{Component, Digest, Tag};
use governance::policy::Policy;
use governance::risks::AcceptedRisk;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::Teller;
use crate::event::{ImageScan, Said};
use crate::registry::Details;

/// For how long the events of single findings are gathered: they come by the hundred.
const WINDOW: Duration = Duration::from_secs(10);
/// The clocks of two invocations may differ, and the ledger counts in seconds.
const SLACK: Duration = Duration::from_secs(2);
/// How long is waited for somebody else who is at work on the same component, each time: the
/// images of an index are scanned at once.
const TURNS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What an invocation is about.
pub struct Invocation<'a> {
    teller: Teller<'a>,
    policy: &'a Policy,
    scan: &'a ImageScan,
    started: Instant,
}

/// What the image is a version of, or a part of a version of.
struct Version {
    digest: Digest,
    tags: Vec<Tag>,
    /// What people know it by: the tag that names its component, or the first.
    tag: Option<Tag>,
    component: Option<Component>,
    /// When it was pushed, as far as that has been asked.
    pushed: Option<DateTime<Utc>>,
}

/// What is known of a scan.
enum Known {
    /// What it found.
    Found(Found),
    /// What the event says of that, and why no more is known.
    Said(Found, String),
    /// That there is nothing to be known: the status, and ECR's words about it.
    Failed(String, Option<String>),
    /// Nothing that anybody needs to hear of.
    Nothing,
}

impl<'a> Invocation<'a> {
    pub fn new(teller: Teller<'a>, policy: &'a Policy, scan: &'a ImageScan) -> Self {
        Self { teller, policy, scan, started: Instant::now() }
    }

    /// Sees to it.
    pub async fn handle(&self) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        let ledger = &self.teller.context.ledger;
        let note = match &self.scan.said {
            Said::Finding { .. } => {
                let id = self.teller.request_id;
                match ledger.gather(repository, digest, id, WINDOW, self.time()).await? {
                    Gathering::Ours(note) => {
                        sleep(WINDOW + SLACK).await;
                        note
                    }
                    Gathering::Theirs => return Ok(()),
                }
            }
            _ if self.scan.tags.is_empty() => ledger.image(repository, digest).await?,
            _ => None,
        };
        // What a build attests of its images has nothing to be scanned, and ECR tries.
        if note.as_ref().is_some_and(|note| note.part == Part::Attestation) {
            info!(repository.name = %repository, image.digest = %digest, "{repository}@{digest} is an attestation");
            return Ok(());
        }
        let Some(version) = self.version(note).await? else { return Ok(()) };
        let threshold = Level::from(self.policy.governance.scan.threshold);
        match &self.scan.said {
            Said::Failed => self.failed(version).await,
            Said::Complete(Some(counts)) if counts.from(threshold).total() == 0 => {
                self.clean(version).await
            }
            Said::Complete(_) | Said::Finding { .. } => self.found(version).await,
        }
    }

    /// The time now: waiting takes some.
    fn time(&self) -> DateTime<Utc> {
        self.teller.now + self.started.elapsed()
    }

    fn is_gone(&self) {
        let About { repository, digest, .. } = &self.scan.about;
        info!(repository.name = %repository, image.digest = %digest, "{repository}@{digest} is gone, and so are its findings");
    }

    /// The version that the image is, or is a part of; none if the image is gone.
    async fn version(&self, note: Option<Note>) -> anyhow::Result<Option<Version>> {
        let About { repository, digest, .. } = &self.scan.about;
        let (digest, tags, pushed) = match note {
            _ if !self.scan.tags.is_empty() => (digest.clone(), self.scan.tags.clone(), None),
            Some(Note { index, tag, pushed, .. }) => {
                (index, tag.into_iter().collect(), Some(pushed))
            }
            None => {
                let image = self.teller.context.registry.image(repository, digest).await?;
                let Some(image) = image else {
                    self.is_gone();
                    return Ok(None);
                };
                (digest.clone(), image.tags, image.at)
            }
        };
        let grammar = &self.policy.governance.tags.grammar;
        let mut conforming =
            tags.iter().filter_map(|tag| Some((tag, grammar.conforming(repository, tag)?)));
        let (tag, component) = match conforming.next() {
            Some((tag, conforming)) => (Some(tag.clone()), Some(conforming.component)),
            None => (tags.first().cloned(), None),
        };
        Ok(Some(Version { digest, tags, tag, component, pushed }))
    }

    /// When a version was pushed; none if it is gone.
    async fn pushed(&self, version: &Version) -> anyhow::Result<Option<DateTime<Utc>>> {
        if version.pushed.is_some() {
            return Ok(version.pushed);
        }
        let repository = &self.scan.about.repository;
        let image = self.teller.context.registry.image(repository, &version.digest).await?;
        if image.is_none() {
            self.is_gone();
        }
        // One that says no time was pushed before anything that does.
        Ok(image.map(|image| image.at.unwrap_or_default()))
    }

    fn scanned(&self, version: &Version, pushed: DateTime<Utc>, found: Found) -> Scanned {
        Scanned {
            component: version.component.clone(),
            version: version.digest.clone(),
            tag: version.tag.clone(),
            pushed,
            image: self.scan.about.digest.clone(),
            found,
        }
    }

    fn report(&self, memory: &Memory, scanned: &Scanned, risks: &[AcceptedRisk]) -> Report {
        let threshold = self.policy.governance.scan.threshold;
        report(memory, scanned, risks, threshold, self.teller.now.date_naive())
    }

    /// A scan in which nothing counts: noted in one call, unless there is an alert to end.
    async fn clean(&self, mut version: Version) -> anyhow::Result<()> {
        let repository = &self.scan.about.repository;
        let Some(pushed) = self.pushed(&version).await? else { return Ok(()) };
        version.pushed = Some(pushed);
        let scanned = self.scanned(&version, pushed, Found::All(Vec::new()));
        let none = Memory::default();
        let report = self.report(&none, &scanned, &[]);
        if let Some(clean) = none.after(&scanned, &report).latest {
            let ledger = &self.teller.context.ledger;
            let is_done = match ledger.pass(repository, &scanned, &clean, self.time()).await? {
                Passing::Noted => true,
                Passing::Not(memory) => {
                    let report = self.report(&memory, &scanned, &[]);
                    let next = memory.clone().after(&scanned, &report);
                    report.verdict == Verdict::Nothing && next == *memory
                }
            };
            if is_done {
                self.print(&version, &report);
                return Ok(());
            }
        }
        // What is to end an alert is not believed of an event, which may be an old one.
        self.found(version).await
    }

    /// A scan that failed. If there are findings by now, it has been done again.
    async fn failed(&self, version: Version) -> anyhow::Result<()> {
        match self.details().await {
            Details::Gone => {
                self.is_gone();
                Ok(())
            }
            Details::Found(..) => self.found(version).await,
            Details::None { status, description } => {
                self.tell_of_failure(&version, &status, description.as_deref()).await
            }
            Details::Unread(why) => {
                let why = format!("the reason could not be read: {why}");
                self.tell_of_failure(&version, "FAILED", Some(&why)).await
            }
        }
    }

    async fn tell_of_failure(
        &self,
        version: &Version,
        status: &str,
        description: Option<&str>,
    ) -> anyhow::Result<()> {
        let repository = &self.scan.about.repository;
        let found = Found::All(Vec::new());
        let scanned = self.scanned(version, self.teller.now, found);
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let alert = alert::scan_failed(&self.told(&about, version, &scanned), status, description);
        // One for all images of an index.
        let fact = Fact::ScanFailed { repository, digest: &version.digest, status };
        self.teller.tell(fact, &alert).await?;
        let counts = Metrics::of("Repository", repository).count("ScansFailed", 1);
        counts.write(self.teller.request_id, self.teller.now);
        Ok(())
    }

    async fn details(&self) -> Details {
        let About { repository, digest, .. } = &self.scan.about;
        let details = self.teller.context.registry.findings(repository, digest).await;
        if let Details::Unread(why) = &details {
            warn!(
                repository.name = %repository, image.digest = %digest,
                "the findings of {repository}@{digest} could not be read: {why}"
            );
        }
        details
    }

    /// Compares what was found with what is remembered, and tells what is news.
    async fn found(&self, version: Version) -> anyhow::Result<()> {
        let memory = self.claim(&version).await?;
        let next = self.compare(&version, &memory).await?;
        let (repository, component) = (&self.scan.about.repository, version.component.as_ref());
        let next = next.filter(|next| *next != memory);
        let (ledger, id) = (&self.teller.context.ledger, self.teller.request_id);
        ledger.remember(repository, component, &version.digest, id, next.as_ref()).await
    }

    /// Claims what is remembered of the component. Whoever else is at it is waited for, or met
    /// again a minute later.
    async fn claim(&self, version: &Version) -> anyhow::Result<Memory> {
        let (repository, component) = (&self.scan.about.repository, version.component.as_ref());
        let (ledger, id) = (&self.teller.context.ledger, self.teller.request_id);
        for pause in TURNS.iter().map(Some).chain([None]) {
            let recalled =
                ledger.recall(repository, component, &version.digest, id, self.time()).await?;
            match (recalled, pause) {
                (Recalled::Ours(memory), _) => return Ok(*memory),
                (Recalled::Theirs, Some(pause)) => sleep(*pause).await,
                (Recalled::Theirs, None) => {}
            }
        }
        let of = component.map_or(version.digest.as_str(), Component::as_str);
        bail!("another invocation is at work on the scans of {of} in {repository}")
    }

    /// What is to be remembered from now on, once what is news has been told; none if that is
    /// the same as before.
    async fn compare(&self, version: &Version, memory: &Memory) -> anyhow::Result<Option<Memory>> {
        let image = &self.scan.about.digest;
        if let Said::Finding { finding, is_active } = &self.scan.said
            && memory.knows(&version.digest, image, finding, *is_active)
        {
            return Ok(None);
        }
        let details = self.details().await;
        let own = match &details {
            // Of an index it is the index that people push.
            Details::Found(_, pushed) if version.digest == *image => *pushed,
            _ => None,
        };
        let (found, unread) = match self.known(details) {
            Known::Found(found) => (found, None),
            Known::Said(found, why) => (found, Some(why)),
            Known::Failed(status, description) => {
                self.tell_of_failure(version, &status, description.as_deref()).await?;
                return Ok(None);
            }
            Known::Nothing => return Ok(None),
        };
        let same = memory.latest.as_ref().filter(|latest| latest.digest == version.digest);
        let known = same.map(|same| same.pushed).or(version.pushed).or(own);
        let pushed = if known.is_some() { known } else { self.pushed(version).await? };
        let Some(pushed) = pushed else { return Ok(None) };
        let scanned = self.scanned(version, pushed, found);
        let mut report = self.report(memory, &scanned, &[]);
        if report.verdict == Verdict::Tell {
            // Only now: most scans have nothing that anybody could have accepted.
            let risks = self.risks().await?;
            report = self.report(memory, &scanned, &risks);
        }
        self.print(version, &report);
        self.tell(version, &scanned, &report, unread.as_deref()).await?;
        Ok(Some(memory.clone().after(&scanned, &report)))
    }

    /// What is known of the scan, by ECR and by the event itself.
    fn known(&self, details: Details) -> Known {
        let why = match details {
            Details::Found(found, _) => {
                return Known::Found(Found::All(match &self.scan.said {
                    // ECR's answer may be older than the event; and EPSS is in the event alone.
                    Said::Finding { finding, is_active } => {
                        let others =
                            found.into_iter().filter(|it| *is_active || it.id != finding.id);
                        merged(others.chain(is_active.then(|| finding.clone())))
                    }
                    Said::Complete(_) | Said::Failed => found,
                }));
            }
            Details::Gone => {
                self.is_gone();
                return Known::Nothing;
            }
            Details::None { status, description } => match (&self.scan.said, description) {
                (Said::Complete(None), description) => return Known::Failed(status, description),
                (_, Some(description)) => format!("{status}: {description}"),
                (_, None) => status,
            },
            Details::Unread(why) => why,
        };
        match &self.scan.said {
            Said::Finding { finding, is_active: true } => {
                Known::Said(Found::One(finding.clone()), why)
            }
            // That a finding is closed can wait for the next scan.
            Said::Finding { .. } => Known::Nothing,
            Said::Complete(Some(counts)) => Known::Said(Found::Counts(counts.clone()), why),
            Said::Complete(None) | Said::Failed => {
                let why = format!("what it found could not be read: {why}");
                Known::Failed("COMPLETE".to_owned(), Some(why))
            }
        }
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

    fn place(&self) -> Place<'_> {
        let About { account, region, source, .. } = &self.scan.about;
        Place { account, region, source, parameter: &self.teller.context.config.parameter }
    }

    fn told<'b>(
        &'b self,
        about: &'b About,
        version: &'b Version,
        scanned: &'b Scanned,
    ) -> Scan<'b> {
        let parameter = &self.teller.context.config.parameter;
        Scan { about, tags: &version.tags, scanned, parameter }
    }

    /// Tells what was decided.
    async fn tell(
        &self,
        version: &Version,
        scanned: &Scanned,
        report: &Report,
        unread: Option<&str>,
    ) -> anyhow::Result<()> {
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let told = self.told(&about, version, scanned);
        let alert = match report.verdict {
            Verdict::Tell => alert::scan_findings(&told, report, unread),
            Verdict::Resolve => alert::scan_resolved(&told, report),
            Verdict::Nothing => return Ok(()),
        };
        self.teller.context.alerts.publish(&alert).await
    }

    /// Prints what was decided, and counts it.
    fn print(&self, version: &Version, report: &Report) {
        let About { repository, digest, .. } = &self.scan.about;
        let name = version.tag.as_ref().map_or_else(|| format!("@{digest}"), |it| format!(":{it}"));
        info!(
            repository.name = %repository, image.digest = %digest,
            findings.counted = report.counted.len(), findings.new = report.news().count(),
            "{repository}{name}: {report}"
        );
        let counts = Metrics::of("Repository", repository);
        let new = u32::try_from(report.news().count()).unwrap_or(u32::MAX);
        let counts = counts.count("ScansSeen", 1).count("FindingsNew", new);
        counts.write(self.teller.request_id, self.teller.now);
    }
}
