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

/// The metrics are of the whole stack: their cost does not grow with the repositories.
const STACK: &[&str] = &["Stack"];

/// Every metric that a function writes. [`crate::telemetry::Counts`] accepts no other metric.
pub const METRICS: [Metric; 14] = [
    Metric {
        name: "PushesJudged",
        dimensions: STACK,
        description: "Pushed tags that were judged by the policy.",
    },
    Metric {
        name: "Violations",
        dimensions: &["Stack", "Rule"],
        description: "Pushed tags that violate the policy, by the violated rule: `forbidden`, \
                      `grammar` or `component`.",
    },
    Metric {
        name: "Quarantined",
        dimensions: STACK,
        description: "Images whose violating tag was replaced by a quarantine tag.",
    },
    Metric {
        name: "Untagged",
        dimensions: STACK,
        description: "Violating tags that were removed from an image with another accepted tag.",
    },
    Metric {
        name: "Archived",
        dimensions: STACK,
        description: "Images that were archived because of a violating tag.",
    },
    Metric {
        name: "ScansSeen",
        dimensions: STACK,
        description: "Completed scans whose findings were read.",
    },
    Metric { name: "ScansFailed", dimensions: STACK, description: "Scans that failed." },
    Metric {
        name: "FindingsNew",
        dimensions: STACK,
        description: "Findings that a scan reported as new.",
    },
    Metric {
        name: "ImagesRemoved",
        dimensions: STACK,
        description: "Images that a sweep archived or deleted, and quarantine tags that it removed.",
    },
    Metric {
        name: "SweepsStopped",
        dimensions: STACK,
        description: "Sweeps that removed nothing: a guard stopped them, their plan waits for a \
                      confirmation, or something could not be read.",
    },
    Metric {
        name: "SweepsCompleted",
        dimensions: STACK,
        description: "Sweeps that examined the whole repository and left no image for lack of time.",
    },
    Metric {
        name: "RepositoriesGoverned",
        dimensions: STACK,
        description: "Repositories of the registry that a rule governs, at each round of sweeps.",
    },
    Metric {
        name: "SweepsQueued",
        dimensions: STACK,
        description: "Repositories that a round of sweeps found due, and queued.",
    },
    Metric {
        name: "RepositoriesOverdue",
        dimensions: STACK,
        description: "Repositories without a complete sweep for more than a day after they were due, \
                      at each round of sweeps.",
    },
];
