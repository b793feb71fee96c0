//! What a scan of an image found, what of it is news, and what is remembered for the next.
//!
//! Basic and enhanced scanning say the same in many words; here it has one form. What scanners
//! say comes from whoever published a package or a vulnerability, and so is untrusted: texts
//! are bounded and printable once they are in a [`Finding`], and links are `https`.
//!
//! In reading order: [`Level`], [`Finding`] and [`merge_findings`] here; [`ScanHistory`], what was seen and
//! told before; [`compare_scan`], which decides; [`OpenFindings`], what of it is open.

mod history;
mod open;
mod report;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use history::{PublishedFindings, ScanHistory, SeverityById, Version};
pub use open::{OpenFindings, OpenFindingsStatus};
pub use report::{
    AcceptedFinding, FindingsReport, ReportedFinding, ScanContents, ScanVerdict, Scanned,
    compare_scan,
};

use crate::policy::Severity;
use crate::text::inert;

keywords!(
    /// How bad a finding is. What scanners leave open is between the lowest two.
    #[derive(PartialOrd, Ord)]
    Level {
        /// The lowest.
        Informational = "INFORMATIONAL",
        /// Not said: ECR's `UNDEFINED`, Inspector's `UNTRIAGED`.
        Untriaged = "UNTRIAGED",
        /// Low.
        Low = "LOW",
        /// Medium.
        Medium = "MEDIUM",
        /// High.
        High = "HIGH",
        /// The highest.
        Critical = "CRITICAL",
    }
);

impl Level {
    /// What a scanner says. What is none of its words is left open.
    #[must_use]
    pub fn read(word: &str) -> Self {
        word.parse().unwrap_or(Self::Untriaged)
    }

    /// As alerts have it, which know no open ones.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Critical => Severity::Critical,
            Self::High => Severity::High,
            Self::Medium => Severity::Medium,
            Self::Low => Severity::Low,
            Self::Untriaged | Self::Informational => Severity::Informational,
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word: String = Deserialize::deserialize(deserializer)?;
        Ok(Self::read(&word))
    }
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Self::Critical,
            Severity::High => Self::High,
            Severity::Medium => Self::Medium,
            Severity::Low => Self::Low,
            Severity::Informational => Self::Informational,
        }
    }
}

/// How many findings there are of each level that has some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Level, u64>);

impl Counts {
    /// Counts so many more of a level.
    pub fn add(&mut self, level: Level, count: u64) {
        if count > 0 {
            let sum = self.0.entry(level).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// Those at or above a level.
    #[must_use]
    pub fn from(&self, lowest: Level) -> Self {
        Self(self.0.range(lowest..).map(|(level, count)| (*level, *count)).collect())
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn of(&self, severity: Severity) -> u64 {
        let of = self.0.iter().filter(|(level, _)| level.severity() == severity);
        of.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The worst level of which there is one.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.0.last_key_value().map(|(level, _)| *level)
    }
}

impl FromIterator<Level> for Counts {
    fn from_iter<I: IntoIterator<Item = Level>>(levels: I) -> Self {
        let mut counts = Self::default();
        levels.into_iter().for_each(|level| counts.add(level, 1));
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (level, count)) in self.0.iter().rev().enumerate() {
            write!(f, "{}{count} {level}", if nth == 0 { "" } else { ", " })?;
        }
        if self.0.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(level, count)| (level.to_string(), count)))
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_word: BTreeMap<String, u64> = Deserialize::deserialize(deserializer)?;
        let mut counts = Self::default();
        for (word, count) in by_word {
            counts.add(Level::read(&word), count);
        }
        Ok(counts)
    }
}

/// A vulnerability in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Such as `CVE-2026-1234`; with an image it is what a finding is known by.
    pub id: String,
    /// How bad.
    pub level: Level,
    /// What has it.
    pub packages: Vec<Package>,
    /// Whether an exploit is known.
    pub exploit: Option<bool>,
    /// Whether there is a fix, for some of the packages at least.
    pub fix: Option<bool>,
    /// How probable it is that it is exploited within 30 days, from 0 to 1
    /// (<https://www.first.org/epss/>).
    pub epss: Option<f64>,
    /// By how many tasks and pods the image is in use.
    pub in_use: Option<u64>,
    /// Where to read about it; `https`.
    pub url: Option<String>,
}

/// A package that has a vulnerability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The version in the image.
    pub installed: Option<String>,
    /// The version that does not have it.
    pub fixed: Option<String>,
}

/// The most packages of a finding that are looked at.
const MOST_PACKAGES: usize = 20;

impl Finding {
    /// A finding of which no more is known; none without an ID.
    #[must_use]
    pub fn new(id: &str, level: Level) -> Option<Self> {
        let id = inert(id, 64);
        let (packages, exploit, fix, epss, in_use, url) = (vec![], None, None, None, None, None);
        let finding = Self { id, level, packages, exploit, fix, epss, in_use, url };
        (!finding.id.is_empty()).then_some(finding)
    }

    /// Whether a fix is known, by the scanner's word or a package's version.
    #[must_use]
    pub fn has_fix(&self) -> bool {
        self.fix == Some(true) || self.packages.iter().any(|package| package.fixed.is_some())
    }

    /// Takes in what is said of the same vulnerability elsewhere: the worse of both.
    pub fn join(&mut self, other: Self) {
        self.level = self.level.max(other.level);
        for package in other.packages {
            if self.packages.len() < MOST_PACKAGES && !self.packages.contains(&package) {
                self.packages.push(package);
            }
        }
        self.exploit = self.exploit.max(other.exploit);
        self.fix = self.fix.max(other.fix);
        self.epss = [self.epss, other.epss].into_iter().flatten().reduce(f64::max);
        self.in_use = self.in_use.max(other.in_use);
        self.url = self.url.take().or(other.url);
    }
}

impl Package {
    /// A package; none without a name. What a scanner calls `NotAvailable` is no version.
    #[must_use]
    pub fn new(name: &str, installed: Option<&str>, fixed: Option<&str>) -> Option<Self> {
        let version = |text: Option<&str>| {
            text.map(|text| inert(text, 60))
                .filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("notavailable"))
        };
        let name = inert(name, 80);
        let (installed, fixed) = (version(installed), version(fixed));
        (!name.is_empty()).then_some(Self { name, installed, fixed })
    }
}

/// Each vulnerability once, by its ID: basic scanning tells one for each package that has it.
#[must_use]
pub fn merge_findings(findings: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut by_id: BTreeMap<String, Finding> = BTreeMap::new();
    for finding in findings {
        match by_id.get_mut(&finding.id) {
            Some(known) => known.join(finding),
            None => {
                by_id.insert(finding.id.clone(), finding);
            }
        }
    }
    by_id.into_values().collect()
}

#[cfg(test)]
mod tests;
