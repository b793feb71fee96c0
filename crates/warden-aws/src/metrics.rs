//! The list of the metrics that the functions write.

/// The namespace of the metrics in CloudWatch.
pub const NAMESPACE: &str = "EcrWarden";

/// A metric of [`NAMESPACE`]. The unit is `Count`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in CloudWatch.
    pub name: &'static str,
    /// The names of the dimensions.
    pub dimensions: &'static [&'static str],
    /// The events that are counted, as a sentence.
    pub description: &'static str,
}

const REPOSITORY: &[&str] = &["Repository"];

/// Every metric that a function writes. [`crate::telemetry::Counts`] accepts no other metric.
pub const METRICS: [Metric; 11] = [
    Metric {
        name: "PushesJudged",
        dimensions: REPOSITORY,
        description: "Pushed tags that were judged by the policy.",
    },
    Metric {
        name: "Violations",
        dimensions: &["Repository", "Rule"],
        description: "Pushed tags that violate the policy, by the violated rule: `forbidden`, \
                      `grammar` or `component`.",
    },
    Metric {
        name: "Quarantined",
        dimensions: REPOSITORY,
        description: "Images whose violating tag was replaced by a quarantine tag.",
    },
    Metric {
        name: "Untagged",
        dimensions: REPOSITORY,
        description: "Violating tags that were removed from an image with another accepted tag.",
    },
    Metric {
        name: "Archived",
        dimensions: REPOSITORY,
        description: "Images that were archived because of a violating tag.",
    },
    Metric {
        name: "ScansSeen",
        dimensions: REPOSITORY,
        description: "Completed scans whose findings were read.",
    },
    Metric { name: "ScansFailed", dimensions: REPOSITORY, description: "Scans that failed." },
    Metric {
        name: "FindingsNew",
        dimensions: REPOSITORY,
        description: "Findings that a scan reported as new.",
    },
    Metric {
        name: "ImagesRemoved",
        dimensions: REPOSITORY,
        description: "Images that a sweep archived or deleted, and quarantine tags that it removed.",
    },
    Metric {
        name: "SweepsStopped",
        dimensions: REPOSITORY,
        description: "Sweeps that removed nothing: a guard stopped them, their plan waits for a \
                      confirmation, or something could not be read.",
    },
    Metric {
        name: "SweepsCompleted",
        dimensions: REPOSITORY,
        description: "Sweeps that examined the whole repository and left no image for lack of time.",
    },
];
