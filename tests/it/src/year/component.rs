//! A component of the simulated year: its versions, its builds and its known vulnerabilities.

use local_aws::sample::Numbers;
use serde_json::Value;

use super::rates::{
    FIX_DAYS, FIXED, Group, MAJOR, MINOR, OLD_PROMOTION, PROMOTION_AGE, SIGNED, SILENT,
    TAGGED_PLATFORMS, VARIANTS, draw,
};
use super::{DAY, Seconds};

/// The most builds that a component remembers for a promotion.
const REMEMBERED_BUILDS: usize = 40;

/// A build of the main branch.
#[derive(Clone, Debug)]
pub struct Build {
    /// The image.
    pub digest: String,
    /// The commit, as seven hexadecimal digits.
    pub commit: String,
    /// The time of the push.
    pub at: Seconds,
    /// Whether a job has this build in production.
    pub is_promoted: bool,
}

/// A vulnerability that the images of a component have.
#[derive(Clone, Debug)]
pub struct Vulnerability {
    /// The finding of a scan.
    pub finding: Value,
    /// The time at which it became known.
    pub since: Seconds,
}

/// A component.
#[derive(Debug)]
pub struct Component {
    /// The group.
    pub group: Group,
    /// The name in tags.
    pub name: String,
    /// The repository.
    pub repository: String,
    /// The number in the group, from 0.
    nth: usize,
    /// The time of the first push.
    pub starts_at: Seconds,
    /// The newest version.
    pub newest: [u64; 3],
    /// The newest version of each older line.
    pub older: Vec<[u64; 3]>,
    /// The last builds, the newest last.
    pub builds: Vec<Build>,
    /// The number of the last build.
    pub number: u64,
    /// The number of the last pull request.
    pub request: u64,
    /// The images of the last release that a workload pulls.
    pub released: Vec<String>,
    /// The number of the workload in staging.
    pub staging: Option<usize>,
    /// The number of the workload in production.
    pub production: Option<usize>,
    /// The known vulnerabilities.
    pub vulnerabilities: Vec<Vulnerability>,
}

impl Component {
    /// A component before its first push.
    #[must_use]
    pub fn new(group: Group, nth: usize, name: &str, starts_at: Seconds) -> Self {
        let repository = match group {
            Group::Apps => format!("apps/{name}"),
            _ => group.name().to_owned(),
        };
        // A copied project has no release of the line that is imported later.
        let (newest, older) = match group {
            Group::Vendor => ([0, 9, 0], vec![]),
            _ => ([2, 0, 0], vec![[1, 9, 0]]),
        };
        Self {
            group,
            name: name.to_owned(),
            repository,
            nth,
            starts_at,
            newest,
            older,
            builds: Vec::new(),
            number: 400,
            request: 100,
            released: Vec::new(),
            staging: None,
            production: None,
            vulnerabilities: Vec::new(),
        }
    }

    /// The hour of the day in which the pipelines push.
    #[must_use]
    pub fn hour(&self) -> Seconds {
        match self.group {
            Group::Models => 6,
            Group::Services => 9,
            Group::Platform => 11,
            Group::Jobs => 13,
            Group::Apps => 15,
            Group::Vendor => 17,
        }
    }

    fn is_one_of(&self, setting: &super::rates::Setting) -> bool {
        u32::try_from(self.nth).is_ok_and(|nth| nth % setting.least == 0)
    }

    /// Whether the workloads in production pull only once.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.is_one_of(&SILENT)
    }

    /// Whether the pipeline signs releases.
    #[must_use]
    pub fn signs(&self) -> bool {
        self.is_one_of(&SIGNED)
    }

    /// Whether the platforms of an index have tags of their own.
    #[must_use]
    pub fn tags_platforms(&self) -> bool {
        self.is_one_of(&TAGGED_PLATFORMS)
    }

    /// The variants of a base image, as ends of a tag.
    #[must_use]
    pub fn variants(&self) -> &'static [&'static str] {
        if self.is_one_of(&VARIANTS) { &["", "-alpine"] } else { &[""] }
    }

    /// Whether ECR scans the pushes.
    #[must_use]
    pub fn is_scanned(&self) -> bool {
        !matches!(self.group, Group::Models | Group::Vendor)
    }

    /// Takes the next version of the newest line.
    pub fn next_version(&mut self, numbers: &mut Numbers) -> [u64; 3] {
        let [major, minor, patch] = self.newest;
        let drawn = draw(0, 99, numbers);
        self.newest = if self.group == Group::Vendor {
            // A copied project has versions of two numbers.
            [major, minor + 1, 0]
        } else if drawn < MAJOR.least {
            self.older.push(self.newest);
            [major + 1, 0, 0]
        } else if drawn < MAJOR.least + MINOR.least {
            [major, minor + 1, 0]
        } else {
            [major, minor, patch + 1]
        };
        self.newest
    }

    /// Takes the next patch of an older line.
    pub fn next_backport(&mut self, numbers: &mut Numbers) -> Option<[u64; 3]> {
        let lines = self.older.len();
        let line = (lines > 0).then(|| numbers.below(lines))?;
        let version = self.older.get_mut(line)?;
        version[2] += 1;
        Some(*version)
    }

    /// Remembers a build.
    pub fn add_build(&mut self, build: Build) {
        self.builds.push(build);
        if self.builds.len() > REMEMBERED_BUILDS {
            self.builds.remove(0);
        }
    }

    /// Chooses a build for a promotion: the newest, or one that was tested for a while.
    pub fn choose_build(&self, now: Seconds, numbers: &mut Numbers) -> Option<Build> {
        let newest = self.builds.last().cloned();
        if !OLD_PROMOTION.happens(numbers) {
            return newest;
        }
        let ages = PROMOTION_AGE.least..=PROMOTION_AGE.most;
        let is_tested = |build: &&Build| {
            u32::try_from((now - build.at) / DAY).is_ok_and(|days| ages.contains(&days))
        };
        let tested: Vec<&Build> = self.builds.iter().filter(is_tested).collect();
        if tested.is_empty() {
            return newest;
        }
        tested.get(numbers.below(tested.len())).map(|build| (*build).clone())
    }

    /// Removes the vulnerabilities that a new build fixes. Returns the findings of a scan of the build.
    pub fn scan_findings(&mut self, now: Seconds, numbers: &mut Numbers) -> Vec<Value> {
        let is_fixable =
            |found: &Vulnerability| now - found.since >= Seconds::from(FIX_DAYS.least) * DAY;
        self.vulnerabilities.retain(|found| !(is_fixable(found) && FIXED.happens(numbers)));
        self.vulnerabilities.iter().map(|found| found.finding.clone()).collect()
    }
}
