//! The pipelines and the workloads of the simulated year. They push to ECR, pull from ECR, and record both for
//! the oracle.

mod workloads;

use std::collections::BTreeMap;

use local_aws::LocalAws;
use local_aws::ecr::Registry;
use local_aws::ecr::scan::finding::basic_finding;
use local_aws::sample::Numbers;
use serde_json::{Value, json};

use super::component::{Build, Component, Vulnerability};
use super::oracle::{Kind, Oracle, TagUse};
use super::rates::{
    self, CANDIDATE, CANDIDATE_DAYS, Group, IMPORTED, LONG_RUN_DAYS, PRODUCTION_DAYS, REQUEST_DAYS,
    REQUEST_PUSHES, TO_PRODUCTION, draw,
};
use super::schedule::{Job, Schedule, Step, is_working_day, start_of_day, working_day_after};
use super::{DAY, Seconds, as_time};

/// The seconds from a push to the end of its scan.
const SCAN_TIME: Seconds = 90;
const HOUR: Seconds = 3_600;
/// The pipelines of a group push in the first minutes of an hour.
const WINDOW_MINUTES: u32 = 45;

/// The pipelines, the workloads, and the registry that they use.
#[derive(Debug)]
pub struct Pipelines {
    /// The registry.
    pub aws: LocalAws,
    /// The record of everything that was pushed and run.
    pub oracle: Oracle,
    /// The steps that are still to come.
    pub schedule: Schedule,
    /// The time.
    pub now: Seconds,
    /// Whether ECR scans pushes: not before the deployment.
    pub scans: bool,
    /// The pulls and pushes that failed.
    pub failures: Vec<String>,
    /// The promotions of builds that were removed before.
    pub missed_promotions: Vec<String>,
    components: Vec<Component>,
    workloads: Vec<workloads::Workload>,
    /// The findings of the scan of each image that is being scanned. The error is a failed scan.
    scanning: BTreeMap<String, Result<Vec<Value>, ()>>,
    numbers: Numbers,
    vulnerabilities: u32,
}

impl Pipelines {
    /// The pipelines of these components, before their first push.
    #[must_use]
    pub fn new(aws: LocalAws, components: Vec<Component>, seed: u64) -> Self {
        Self {
            aws,
            oracle: Oracle::default(),
            schedule: Schedule::default(),
            now: 0,
            scans: false,
            failures: Vec::new(),
            missed_promotions: Vec::new(),
            components,
            workloads: Vec::new(),
            scanning: BTreeMap::new(),
            numbers: Numbers::new(seed),
            vulnerabilities: 0,
        }
    }

    /// Changes the registry. The result must be Ok.
    fn ecr<T>(&self, change: impl FnOnce(&mut Registry) -> Result<T, local_aws::ecr::Error>) -> T {
        let mut state = self.aws.state();
        #[expect(clippy::panic, reason = "a pipeline pushes only what ECR accepts")]
        change(state.ecr()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Decides what the pipelines of all components do on this day.
    pub fn plan_day(&mut self) {
        self.schedule.add(start_of_day(self.now) + DAY, Step::Day);
        if !is_working_day(self.now) {
            return;
        }
        let jobs = [
            (&rates::BUILD, Job::Build),
            (&rates::BRANCH_BUILD, Job::BuildBranch),
            (&rates::PULL_REQUEST, Job::PushRequest(0, 0)),
            (&rates::RELEASE, Job::Release),
            (&rates::BACKPORT, Job::Backport),
            (&rates::LONG_RUN, Job::RunLong),
            (&rates::VIOLATION, Job::Violate),
            (&rates::VULNERABILITY, Job::BecomeVulnerable),
        ];
        for nth in 0..self.components.len() {
            for (rate, job) in &jobs {
                let component = &self.components[nth];
                if component.starts_at > self.now
                    || !rate.happens(component.group, &mut self.numbers)
                {
                    continue;
                }
                let job = match job {
                    Job::PushRequest(..) => {
                        self.components[nth].request += 1;
                        let pushes = REQUEST_PUSHES.draw(&mut self.numbers);
                        Job::PushRequest(self.components[nth].request, pushes - 1)
                    }
                    job => job.clone(),
                };
                self.plan(nth, 0, job);
            }
        }
    }

    /// Plans a job in the hour of the component, so many days later or on the next working day after that.
    pub fn plan(&mut self, nth: usize, days: u32, job: Job) {
        let minute = draw(0, WINDOW_MINUTES - 1, &mut self.numbers);
        let hour = self.components[nth].hour() * HOUR + Seconds::from(minute) * 60;
        let mut at = working_day_after(self.now, days) + hour;
        if at < self.now {
            at = working_day_after(self.now, 1) + hour;
        }
        self.schedule.add(at, Step::Pipeline(nth, job));
    }

    /// Runs a job of a component.
    pub fn run(&mut self, nth: usize, job: Job) {
        match job {
            Job::Build => self.build(nth),
            Job::BuildBranch => {
                let branch = ["feature-x", "fix-login", "spike"][self.numbers.below(3)];
                let tag = format!("{branch}-{}-{}", self.commit(), self.now);
                let kind = self.kind(nth, "branch");
                self.push(nth, &tag, Kind::BranchBuild, TagUse::Version(kind, None));
            }
            Job::PushRequest(number, following) => self.push_request(nth, number, following),
            Job::Release => self.release(nth),
            Job::ReleaseAfterCandidate(version) => {
                self.release_platform(nth, version, None, Kind::Release);
            }
            Job::Backport => self.backport(nth),
            Job::Promote(digest) => self.promote(nth, &digest),
            Job::RollBack(digest) => self.move_channel(nth, "prod", &digest),
            Job::RunLong => {
                let digests = self.components[nth].released.clone();
                let days = LONG_RUN_DAYS.draw(&mut self.numbers);
                if let Some(workload) = self.start(nth, digests, true) {
                    self.schedule.add(self.now + Seconds::from(days) * DAY, Step::End(workload));
                }
            }
            Job::Violate => {
                let tag = format!("{}_{}", self.components[nth].name, self.now);
                self.push(nth, &tag, Kind::Violation, TagUse::Violation);
            }
            Job::BecomeVulnerable => {
                self.vulnerabilities += 1;
                let severity = if self.numbers.below(5) == 0 { "CRITICAL" } else { "HIGH" };
                let id = format!("CVE-2027-{}", 1_000 + self.vulnerabilities);
                let finding = basic_finding(&id, severity, "openssl", "3.0.17");
                let vulnerability = Vulnerability { finding, since: self.now };
                self.components[nth].vulnerabilities.push(vulnerability);
            }
            Job::Import => self.import(nth),
        }
    }

    /// A commit of seven hexadecimal digits.
    fn commit(&mut self) -> String {
        format!("{:07x}", self.numbers.below(1 << 28))
    }

    /// The name of a kind of tag of a component.
    fn kind(&self, nth: usize, part: &str) -> String {
        let Component { repository, name, .. } = &self.components[nth];
        format!("{repository} {name} {part}")
    }

    /// The tag of a version of a component.
    fn version_tag(&self, nth: usize, [major, minor, patch]: [u64; 3]) -> String {
        let Component { group, name, .. } = &self.components[nth];
        match group {
            Group::Apps => format!("v{major}.{minor}.{patch}"),
            Group::Vendor => format!("{name}-{major}.{minor}"),
            _ => format!("{name}-v{major}.{minor}.{patch}"),
        }
    }

    /// Pushes a new image with this tag. Returns its digest.
    fn push(&mut self, nth: usize, tag: &str, kind: Kind, tag_use: TagUse) -> String {
        let at = as_time(self.now);
        let repository = self.components[nth].repository.clone();
        let digest = self.ecr(|registry| registry.push_made_up(&repository, &[tag], at));
        let findings = self.components[nth].scan_findings(self.now, &mut self.numbers);
        self.oracle.record_push(&repository, &digest, kind, (&[], None), self.now);
        self.oracle.record_tag(&repository, tag, &digest, tag_use, self.now);
        self.scan(nth, &digest, Ok(findings));
        digest
    }

    /// Has ECR scan a pushed image, with this outcome.
    fn scan(&mut self, nth: usize, digest: &str, outcome: Result<Vec<Value>, ()>) {
        if self.scans && self.components[nth].is_scanned() {
            let repository = self.components[nth].repository.clone();
            self.scanning.insert(digest.to_owned(), outcome);
            self.schedule.add(self.now + SCAN_TIME, Step::Scanned(repository, digest.to_owned()));
        }
    }

    /// Ends the scan of an image. ECR sends the event.
    pub fn end_scan(&mut self, repository: &str, digest: &str) {
        let Some(outcome) = self.scanning.remove(digest) else { return };
        let outcome =
            outcome.map_err(|()| ("FAILED", "UnsupportedImageError: the image has no packages"));
        let mut state = self.aws.state();
        let image = state.ecr().image(repository, digest).ok();
        // Enforcement may have archived the image.
        if image.is_some_and(|image| image.status.name() == "ACTIVE") {
            let ended = state.ecr().complete_scan(repository, digest, outcome, as_time(self.now));
            drop(state);
            if let Err(error) = ended {
                self.failures.push(format!("{repository}: the scan of {digest} fails: {error:?}"));
            }
        }
    }

    /// Adds a tag to an image, as a pipeline promotes it. Returns whether the image is there.
    fn add_tag(&mut self, nth: usize, tag: &str, digest: &str, tag_use: TagUse) -> bool {
        let repository = self.components[nth].repository.clone();
        let manifest = {
            let mut state = self.aws.state();
            let image = state.ecr().image(&repository, digest).ok();
            let image = image.filter(|image| image.status.name() == "ACTIVE");
            image.map(|image| (image.manifest_text.clone(), image.tags.contains(tag)))
        };
        let Some((manifest, has_tag)) = manifest else {
            let missed = format!("{repository}: {digest} is gone and cannot become {tag}");
            self.missed_promotions.push(missed);
            return false;
        };
        if !has_tag {
            let put =
                json!({"repositoryName": repository, "imageManifest": manifest, "imageTag": tag});
            if let Err(error) = self.aws.by_hand("PutImage", &put) {
                self.failures.push(format!("{repository}: {tag} cannot be pushed: {error:?}"));
            }
            self.oracle.record_tag(&repository, tag, digest, tag_use, self.now);
        }
        true
    }

    /// Builds the main branch.
    fn build(&mut self, nth: usize) {
        let (commit, now) = (self.commit(), self.now);
        let Component { group, name, .. } = &self.components[nth];
        let (tag, kind, version) = match group {
            Group::Models => {
                let date = chrono::DateTime::from_timestamp(now, 0).unwrap_or_default();
                let date = date.format("%Y.%m.%d").to_string();
                let [year, month, day] = [&date[..4], &date[5..7], &date[8..]]
                    .map(|number| number.parse::<u64>().unwrap_or_default());
                (format!("{name}-{date}-{commit}"), "calver", Some([year, month, day, 0]))
            }
            Group::Jobs => {
                let number = self.components[nth].number + 1;
                self.components[nth].number = number;
                let name = &self.components[nth].name;
                (format!("{name}-{number}-{commit}"), "number", Some([number, 0, 0, 0]))
            }
            Group::Apps => (format!("main-{commit}-{now}"), "branch", None),
            _ => (format!("{name}-main-{commit}"), "main", None),
        };
        let kind = self.kind(nth, kind);
        let digest = self.push(nth, &tag, Kind::Build, TagUse::Version(kind, version));
        let component = &mut self.components[nth];
        let group = component.group;
        if group == Group::Models {
            component.released = vec![digest.clone()];
        }
        component.add_build(Build { digest: digest.clone(), commit, at: now, is_promoted: false });
        if group == Group::Services {
            self.push_cache(nth, &digest);
        }
        self.pull_base_image();
    }

    /// A build pulls the newest release of some base image.
    fn pull_base_image(&mut self) {
        let is_base = |component: &&Component| {
            component.group == Group::Platform && !component.released.is_empty()
        };
        let bases: Vec<&Component> = self.components.iter().filter(is_base).collect();
        if bases.is_empty() {
            return;
        }
        let base = bases[self.numbers.below(bases.len())];
        let (repository, digests) = (base.repository.clone(), base.released.clone());
        self.pull_images(&repository, &digests);
    }

    /// Pushes the cache of a build, as buildx does: the manifest is that of an image, with another
    /// configuration.
    fn push_cache(&mut self, nth: usize, build: &str) {
        let Component { repository, name, .. } = &self.components[nth];
        let (repository, tag) = (repository.clone(), format!("{name}-buildcache"));
        let text =
            self.ecr(|registry| Ok(registry.image(&repository, build)?.manifest_text.clone()));
        let mut manifest: Value = serde_json::from_str(&text).unwrap_or_default();
        manifest["config"]["mediaType"] = "application/vnd.buildkit.cacheconfig.v0".into();
        let put = json!({
            "repositoryName": repository,
            "imageManifest": manifest.to_string(),
            "imageTag": tag,
        });
        let pushed = self.aws.by_hand("PutImage", &put);
        let pushed = pushed.ok().and_then(|pushed| {
            pushed["image"]["imageId"]["imageDigest"].as_str().map(str::to_owned)
        });
        let Some(digest) = pushed else {
            return self.failures.push(format!("{repository}: {tag} cannot be pushed"));
        };
        self.oracle.record_push(&repository, &digest, Kind::Cache, (&[], None), self.now);
        self.oracle.record_tag(&repository, &tag, &digest, TagUse::Other, self.now);
        self.scan(nth, &digest, Err(()));
    }

    /// Pushes to a pull request, whose tag moves, and deploys a preview.
    fn push_request(&mut self, nth: usize, number: u64, following: u32) {
        let Component { group, name, .. } = &self.components[nth];
        let (tag, tag_use) = match group {
            Group::Apps => {
                let order = Some([number, 0, 0, 0]);
                (format!("pr-{number}"), TagUse::Version(self.kind(nth, "pr"), order))
            }
            _ => (format!("{name}-pr-{number}"), TagUse::Expiring),
        };
        let digest = self.push(nth, &tag, Kind::PullRequest, tag_use);
        let repository = self.components[nth].repository.clone();
        self.pull_images(&repository, &[digest]);
        if following > 0 {
            let days = REQUEST_DAYS.draw(&mut self.numbers);
            self.plan(nth, days, Job::PushRequest(number, following - 1));
        }
    }

    /// Releases the next version of a component.
    fn release(&mut self, nth: usize) {
        let group = self.components[nth].group;
        match group {
            Group::Platform => {
                let version = self.components[nth].next_version(&mut self.numbers);
                if CANDIDATE.happens(&mut self.numbers) {
                    self.release_platform(nth, version, Some(1), Kind::Release);
                    let days = CANDIDATE_DAYS.draw(&mut self.numbers);
                    self.plan(nth, days, Job::ReleaseAfterCandidate(version));
                } else {
                    self.release_platform(nth, version, None, Kind::Release);
                }
            }
            Group::Vendor => {
                let version = self.components[nth].next_version(&mut self.numbers);
                self.push_version(nth, version, Kind::Release);
            }
            Group::Jobs => self.release_job(nth),
            Group::Models => {}
            Group::Services | Group::Apps => {
                if self.components[nth].builds.is_empty() {
                    self.build(nth);
                }
                let build = self.components[nth].choose_build(self.now, &mut self.numbers);
                let Some(Build { digest, .. }) = build else { return };
                let version = self.components[nth].next_version(&mut self.numbers);
                let tag = self.version_tag(nth, version);
                let tag_use = self.version_use(nth, "v", version);
                if !self.add_tag(nth, &tag, &digest, tag_use) {
                    return;
                }
                let repository = self.components[nth].repository.clone();
                self.oracle.record_promotion(&repository, &digest);
                if self.components[nth].signs() {
                    self.sign(nth, &digest);
                }
                self.move_channel(nth, "staging", &digest);
                if TO_PRODUCTION.happens(&mut self.numbers) {
                    let days = PRODUCTION_DAYS.draw(&mut self.numbers);
                    self.plan(nth, days, Job::Promote(digest));
                }
            }
        }
    }

    fn version_use(&self, nth: usize, part: &str, [major, minor, patch]: [u64; 3]) -> TagUse {
        TagUse::Version(self.kind(nth, part), Some([major, minor, patch, u64::MAX]))
    }

    /// Pushes a new image as a version. A workload may run it later.
    fn push_version(&mut self, nth: usize, version: [u64; 3], kind: Kind) {
        let (tag, tag_use) = (self.version_tag(nth, version), self.version_use(nth, "v", version));
        let digest = self.push(nth, &tag, kind, tag_use);
        self.components[nth].released = vec![digest];
    }

    /// Puts a build of a job into production: the tag has the commit and the channel.
    fn release_job(&mut self, nth: usize) {
        let build = self.components[nth].choose_build(self.now, &mut self.numbers);
        let Some(Build { digest, commit, is_promoted: false, .. }) = build else { return };
        let tag = format!("{}-{commit}-prod", self.components[nth].name);
        let tag_use = TagUse::Version(self.kind(nth, "prod"), None);
        if !self.add_tag(nth, &tag, &digest, tag_use) {
            return;
        }
        let component = &mut self.components[nth];
        for build in component.builds.iter_mut().filter(|build| build.digest == digest) {
            build.is_promoted = true;
        }
        let repository = component.repository.clone();
        self.oracle.record_promotion(&repository, &digest);
        self.replace_production(nth, &digest, true);
    }

    /// Releases a base image for two platforms, in each variant. `candidate` is the number of a release
    /// candidate.
    fn release_platform(
        &mut self,
        nth: usize,
        version: [u64; 3],
        candidate: Option<u64>,
        kind: Kind,
    ) {
        let at = as_time(self.now);
        let repository = self.components[nth].repository.clone();
        let findings = self.components[nth].scan_findings(self.now, &mut self.numbers);
        let candidate_end = candidate.map_or_else(String::new, |number| format!("-rc.{number}"));
        let [major, minor, patch] = version;
        let order = Some([major, minor, patch, candidate.unwrap_or(u64::MAX)]);
        let mut pulled = Vec::new();
        for variant in self.components[nth].variants() {
            let tag = format!("{}{candidate_end}{variant}", self.version_tag(nth, version));
            let mut parts = Vec::new();
            for platform in ["amd64", "arm64"] {
                let part_tag = format!("{tag}-{platform}");
                let tags =
                    if self.components[nth].tags_platforms() { vec![&*part_tag] } else { vec![] };
                let part = self.ecr(|registry| registry.push_made_up(&repository, &tags, at));
                self.oracle.record_push(&repository, &part, Kind::Platform, (&[], None), self.now);
                for tag in tags {
                    let part_kind = self.kind(nth, &format!("v{variant}-{platform}"));
                    let tag_use = TagUse::Version(part_kind, order);
                    self.oracle.record_tag(&repository, tag, &part, tag_use, self.now);
                }
                self.scan(nth, &part, Ok(findings.clone()));
                parts.push(part);
            }
            let index = self.ecr(|registry| registry.push_index(&repository, &parts, &[&tag], at));
            self.oracle.record_push(&repository, &index, kind, (&parts, None), self.now);
            let tag_use = TagUse::Version(self.kind(nth, &format!("v{variant}")), order);
            self.oracle.record_tag(&repository, &tag, &index, tag_use, self.now);
            self.sign(nth, &index);
            let bill = self.ecr(|registry| {
                registry.push_referrer(&repository, &index, "application/spdx+json", at)
            });
            let subject = (&[][..], Some(index.as_str()));
            self.oracle.record_push(&repository, &bill, Kind::BillOfMaterials, subject, self.now);
            if pulled.is_empty() {
                pulled = vec![index, parts.swap_remove(0)];
            }
        }
        self.components[nth].released = pulled;
    }

    /// Signs an image, as cosign does.
    fn sign(&mut self, nth: usize, digest: &str) {
        let at = as_time(self.now);
        let repository = self.components[nth].repository.clone();
        let tag = format!("{}.sig", digest.replacen(':', "-", 1));
        {
            let mut state = self.aws.state();
            let signed = state.ecr().repository(&repository).ok();
            if signed.is_some_and(|repository| repository.images.tagged(&tag).is_some()) {
                return;
            }
        }
        let signature =
            self.ecr(|registry| registry.push_attached(&repository, digest, ".sig", at));
        let subject = (&[][..], Some(digest));
        self.oracle.record_push(&repository, &signature, Kind::Signature, subject, self.now);
        self.oracle.record_tag(&repository, &tag, &signature, TagUse::Other, self.now);
        self.scan(nth, &signature, Err(()));
    }

    /// Releases a version of an older line, from a build of its own.
    fn backport(&mut self, nth: usize) {
        let Some(version) = self.components[nth].next_backport(&mut self.numbers) else { return };
        if self.components[nth].group == Group::Platform {
            let released = self.components[nth].released.clone();
            self.release_platform(nth, version, None, Kind::Backport);
            // Builds pull the newest line.
            self.components[nth].released = released;
        } else {
            let (tag, tag_use) =
                (self.version_tag(nth, version), self.version_use(nth, "v", version));
            self.push(nth, &tag, Kind::Backport, tag_use);
        }
    }

    /// Imports the past of an upstream project: the releases 1.0 to 1.N, in alphabetical order.
    fn import(&mut self, nth: usize) {
        let count = u64::from(IMPORTED.draw(&mut self.numbers));
        let mut versions: Vec<[u64; 3]> = (0..count).map(|minor| [1, minor, 0]).collect();
        versions.sort_by_key(|[_, minor, _]| minor.to_string());
        for version in versions {
            self.push_version(nth, version, Kind::Import);
            self.now += 2;
            self.aws.state().set_clock(Some(as_time(self.now)));
        }
        self.components[nth].newest = [1, count - 1, 0];
    }
}
