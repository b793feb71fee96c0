//! Logs and metrics for CloudWatch. Each log line is one JSON object with the time in RFC 3339, the
//! level, the request ID from the span of the runtime, and fields with dotted names. A metric is a log
//! line too.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::metrics::{METRICS, NAMESPACE};

/// Starts writing logs to standard output, at the level of Lambda's logging configuration
/// (`AWS_LAMBDA_LOG_LEVEL`), or at `INFO`.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    // Lambda's filter treats a line without a time and a level as a line of level INFO.
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .finish()
        .with(filter_fn(is_harmless))
        .init();
}

/// Whether a log line contains no secret. At the level TRACE, the runtime logs whole events. An event
/// of CloudFormation contains the response URL, and anybody who has the URL can answer in place of the
/// function.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("lambda_runtime")
}

/// Counts of one invocation. CloudWatch reads them from the log as metrics of the namespace
/// `EcrWarden`.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    dimensions: Vec<(&'static str, String)>,
    counts: Vec<(&'static str, u32)>,
}

impl Counts {
    /// Starts counts with a dimension.
    #[must_use]
    pub fn new(dimension: &'static str, value: &impl ToString) -> Self {
        Self::default().and(dimension, value)
    }

    /// Adds another dimension.
    #[must_use]
    pub fn and(mut self, dimension: &'static str, value: &impl ToString) -> Self {
        self.dimensions.push((dimension, value.to_string()));
        self
    }

    /// Adds a count of one.
    #[must_use]
    pub fn one(self, metric: &'static str) -> Self {
        self.count(metric, 1)
    }

    /// Adds a count.
    #[must_use]
    pub fn count(mut self, metric: &'static str, count: u32) -> Self {
        self.counts.push((metric, count));
        self
    }

    /// Writes the line.
    pub fn write(&self, request_id: &str, now: DateTime<Utc>) {
        #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from standard output")]
        {
            println!("{}", self.line(request_id, now));
        }
    }

    /// The log line in the embedded metric format
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>).
    fn line(&self, request_id: &str, now: DateTime<Utc>) -> Value {
        let names: Vec<&str> = self.dimensions.iter().map(|(name, _)| *name).collect();
        for (name, _) in &self.counts {
            let is_listed =
                METRICS.iter().any(|metric| metric.name == *name && metric.dimensions == names);
            debug_assert!(is_listed, "{name} with the dimensions {names:?} is not in METRICS");
        }
        let metric = |(name, _): &(&str, u32)| json!({"Name": name, "Unit": "Count"});
        let mut line = Map::from_iter([
            // In the form of the other log lines, because Lambda filters lines by their level.
            ("timestamp".to_owned(), now.to_rfc3339_opts(SecondsFormat::Micros, true).into()),
            ("level".to_owned(), "INFO".into()),
            ("requestId".to_owned(), request_id.into()),
            (
                "_aws".to_owned(),
                json!({
                    "Timestamp": now.timestamp_millis(),
                    "CloudWatchMetrics": [{
                        "Namespace": NAMESPACE,
                        "Dimensions": [names],
                        "Metrics": self.counts.iter().map(metric).collect::<Vec<_>>(),
                    }],
                }),
            ),
        ]);
        let dimensions = self.dimensions.iter().map(|(name, value)| (*name, json!(value)));
        let counts = self.counts.iter().map(|(name, count)| (*name, json!(count)));
        line.extend(dimensions.chain(counts).map(|(name, value)| (name.to_owned(), value)));
        line.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_counts_is_in_the_embedded_metric_format() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let counts = Counts::new("Stack", &"ecr-warden").and("Rule", &"grammar");
        assert_eq!(
            counts.one("Violations").line("request-1", now),
            json!({
                "timestamp": "2027-01-15T08:00:00.000000Z",
                "level": "INFO",
                "requestId": "request-1",
                "_aws": {
                    "Timestamp": 1_800_000_000_000_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "EcrWarden",
                        "Dimensions": [["Stack", "Rule"]],
                        "Metrics": [{"Name": "Violations", "Unit": "Count"}],
                    }],
                },
                "Stack": "ecr-warden",
                "Rule": "grammar",
                "Violations": 1,
            })
        );
    }
}
