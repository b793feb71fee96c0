//! The findings of a scan, and the comparison with earlier scans of the same release line.
//!
//! Basic and enhanced scanning report the same facts in different formats; a [`Finding`] is one format
//! for both. The texts come from people who publish packages or vulnerabilities, and are untrusted. A
//! [`Finding`] contains only short printable texts and `https` links.
//!
//! In reading order: [`Level`], [`Finding`] and [`merge_findings`]; [`ReleaseLine`]; [`ScanHistory`], the earlier scans
//! and published findings; [`compare_scan`], which decides about an alert; [`OpenFindings`], the open
//! findings of a component.

mod history;
mod line;
mod open;
mod report;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use history::{PublishedFindings, PushedVersion, ScanHistory, SeverityById, Version};
pub use line::{ReleaseLine, find_release_line};
pub use open::{OpenFindings, OpenFindingsStatus};
pub use report::{
    AcceptedFinding, FindingsReport, ReportedFinding, ScanContents, ScanVerdict, Scanned,
    compare_scan,
};

use crate::policy::Severity;
use crate::text::inert;

keywords!(
    /// The severity of a finding. A finding without a severity is between the two lowest levels.
    #[derive(PartialOrd, Ord)]
    Level {
        /// The lowest level.
        Informational = "INFORMATIONAL",
        /// The scanner gave no severity: ECR's `UNDEFINED`, Inspector's `UNTRIAGED`.
        Untriaged = "UNTRIAGED",
        /// Low.
        Low = "LOW",
        /// Medium.
        Medium = "MEDIUM",
        /// High.
        High = "HIGH",
        /// The highest level.
        Critical = "CRITICAL",
    }
);

impl Level {
    /// Reads the severity that a scanner reports. An unknown word is [`Level::Untriaged`].
    #[must_use]
    pub fn read(word: &str) -> Self {
        word.parse().unwrap_or(Self::Untriaged)
    }

    /// The severity for an alert. Alerts have no [`Level::Untriaged`].
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

/// The number of findings of each level. Levels without a finding are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<Level, u64>);

impl Counts {
    /// Adds `count` findings of a level.
    pub fn add(&mut self, level: Level, count: u64) {
        if count > 0 {
            let sum = self.0.entry(level).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// The counts of the levels at or above `lowest`.
    #[must_use]
    pub fn at_or_above(&self, lowest: Level) -> Self {
        Self(self.0.range(lowest..).map(|(level, count)| (*level, *count)).collect())
    }

    /// The number of findings of a severity.
    #[must_use]
    pub fn count_of(&self, severity: Severity) -> u64 {
        let counts = self.0.iter().filter(|(level, _)| level.severity() == severity);
        counts.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The number of all findings.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The highest level of a finding. None without a finding.
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
    /// The ID of the vulnerability, such as `CVE-2026-1234`. An image has one finding for each ID.
    pub id: String,
    /// The severity.
    pub level: Level,
    /// The packages that have the vulnerability.
    pub packages: Vec<Package>,
    /// Whether an exploit is known.
    pub exploit: Option<bool>,
    /// Whether a fix exists for at least one of the packages.
    pub fix: Option<bool>,
    /// The probability that the vulnerability is exploited within 30 days, from 0 to 1
    /// (<https://www.first.org/epss/>).
    pub epss: Option<f64>,
    /// The number of tasks and pods that use the image.
    pub in_use: Option<u64>,
    /// An `https` link to a description of the vulnerability.
    pub url: Option<String>,
}

/// A package that has a vulnerability.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// The name.
    pub name: String,
    /// The version in the image.
    pub installed: Option<String>,
    /// The version without the vulnerability.
    pub fixed: Option<String>,
}

/// The most packages of a finding. Further packages are ignored.
const MOST_PACKAGES: usize = 20;

impl Finding {
    /// A finding with an ID and a level, and no other facts. `None` for an empty ID.
    #[must_use]
    pub fn new(id: &str, level: Level) -> Option<Self> {
        let id = inert(id, 64);
        let (packages, exploit, fix, epss, in_use, url) = (vec![], None, None, None, None, None);
        let finding = Self { id, level, packages, exploit, fix, epss, in_use, url };
        (!finding.id.is_empty()).then_some(finding)
    }

    /// Whether a fix is known: the scanner reports a fix, or a package has a fixed version.
    #[must_use]
    pub fn has_fix(&self) -> bool {
        self.fix == Some(true) || self.packages.iter().any(|package| package.fixed.is_some())
    }

    /// Merges another finding of the same vulnerability. Of two values, the worse one is kept.
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
    /// A package. `None` for an empty name. A scanner writes `NotAvailable` for a missing version.
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

/// Merges the findings with the same ID. Basic scanning reports a finding for each package that has
/// the vulnerability.
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
