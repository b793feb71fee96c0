//! The outcome of a simulated year, as tables for a person.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::functions::{CallFigures, Function};
use super::oracle::{Figures, Kind, WrongRemoval};

/// The outcome of a simulated year.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of simulated days after the deployment.
    pub days: usize,
    /// The images of each kind.
    pub images: BTreeMap<Kind, Figures>,
    /// The images in the end that only a workload, a pull or a channel keeps.
    pub kept_by_use: usize,
    /// The number of alerts in each week, by their kinds.
    pub alerts: BTreeMap<String, Vec<usize>>,
    /// The calls of each function.
    pub calls: BTreeMap<Function, CallFigures>,
    /// The confirmed plans: the repository and the guard that stopped the plan.
    pub confirmations: Vec<(String, String)>,
    /// The sweeps that stopped for another reason, by repository and reason.
    pub stopped: BTreeMap<(String, String), usize>,
    /// The attempts of functions that failed, and were tried again.
    pub failed_attempts: Vec<String>,
    /// The events and messages that no attempt handled.
    pub lost_events: Vec<String>,
    /// The pulls and pushes that failed.
    pub failed_pipelines: Vec<String>,
    /// The promotions of builds that were removed before, because enough newer builds existed.
    pub missed_promotions: Vec<String>,
    /// The images that went although they had to stay, or that lost a tag.
    pub wrong: Vec<WrongRemoval>,
}

impl Report {
    /// Counts an alert of a week, from 0.
    pub fn count_alert(&mut self, alert: &Value, week: usize) {
        let mut kind = alert["kind"].as_str().unwrap_or_default().to_owned();
        if kind == "cleanup" {
            kind += if alert["details"]["stopped"].is_null() { ", removed" } else { ", stopped" };
        }
        let weeks = self.alerts.entry(kind).or_default();
        if weeks.len() <= week {
            weeks.resize(week + 1, 0);
        }
        weeks[week] += 1;
    }

    /// The images of all kinds.
    #[must_use]
    pub fn all_images(&self) -> Figures {
        self.images.values().fold(Figures::default(), |sum, figures| Figures {
            before: sum.before + figures.before,
            pushed: sum.pushed + figures.pushed,
            archived: sum.archived + figures.archived,
            deleted: sum.deleted + figures.deleted,
            kept: sum.kept + figures.kept,
        })
    }

    fn write_images(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<22}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "images", "before", "pushed", "archived", "deleted", "kept"
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &dyn fmt::Display, figures: &Figures| {
            let Figures { before, pushed, archived, deleted, kept } = figures;
            writeln!(f, "{name:<22}{before:>10}{pushed:>10}{archived:>10}{deleted:>10}{kept:>10}")
        };
        for (kind, figures) in &self.images {
            row(f, kind, figures)?;
        }
        row(f, &"all", &self.all_images())?;
        writeln!(
            f,
            "kept only because a workload ran, somebody pulled or a channel names the image: {}",
            self.kept_by_use
        )
    }

    fn write_alerts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22}{:>10}{:>10}{:>10}", "alerts", "all", "a week", "at most")?;
        let row = |f: &mut fmt::Formatter<'_>, kind: &str, weeks: &[usize]| {
            let all: usize = weeks.iter().sum();
            let tenths = all * 70 / self.days.max(1);
            let mean = format!("{}.{}", tenths / 10, tenths % 10);
            let most = weeks.iter().max().copied().unwrap_or_default();
            writeln!(f, "{kind:<22}{all:>10}{mean:>10}{most:>10}")
        };
        let mut sum = vec![0; self.days.div_ceil(7)];
        for (kind, weeks) in &self.alerts {
            row(f, kind, weeks)?;
            for (week, count) in weeks.iter().enumerate() {
                sum[week] += count;
            }
        }
        row(f, "all", &sum)
    }

    fn write_calls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = ["ecr", "dynamodb", "sqs", "sns"];
        write!(f, "{:<22}{:>12}", "calls", "invocations")?;
        for service in services {
            write!(f, "{service:>10}")?;
        }
        writeln!(f, "{:>10}", "other")?;
        for (function, CallFigures { invocations, calls }) in &self.calls {
            write!(f, "{:<22}{invocations:>12}", function.folder())?;
            for service in services {
                write!(f, "{:>10}", calls.get(service).copied().unwrap_or_default())?;
            }
            let others = calls.iter().filter(|(name, _)| !services.contains(&name.as_str()));
            writeln!(f, "{:>10}", others.map(|(_, count)| count).sum::<usize>())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_images(f)?;
        writeln!(f)?;
        self.write_alerts(f)?;
        writeln!(f)?;
        self.write_calls(f)?;
        writeln!(f, "\nconfirmed plans: {}", self.confirmations.len())?;
        let mut guards: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, guard) in &self.confirmations {
            *guards.entry(guard).or_default() += 1;
        }
        for (guard, count) in guards {
            writeln!(f, "  {guard}: {count}")?;
        }
        writeln!(f, "sweeps that stopped for another reason: {}", self.stopped.len())?;
        for ((repository, reason), count) in &self.stopped {
            writeln!(f, "  {repository}: {reason}: {count}")?;
        }
        for (title, list) in [
            ("failed attempts, tried again", &self.failed_attempts),
            ("events and messages that no attempt handled", &self.lost_events),
            ("failed pulls and pushes", &self.failed_pipelines),
            ("promotions of a build that was removed before", &self.missed_promotions),
        ] {
            writeln!(f, "{title}: {}", list.len())?;
            for line in list {
                writeln!(f, "  {line}")?;
            }
        }
        writeln!(
            f,
            "images that ran, were promoted or had to stay, and went: {}",
            self.wrong.len()
        )?;
        for WrongRemoval { at, repository, image, kind, reason } in &self.wrong {
            let at = chrono::DateTime::from_timestamp(*at, 0).unwrap_or_default();
            writeln!(
                f,
                "  {} {repository}:{image} ({kind}): {reason}",
                at.format("%Y-%m-%d %H:%M")
            )?;
        }
        Ok(())
    }
}
