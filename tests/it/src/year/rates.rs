//! The rates of the simulated year. They were written down before the first run, and
//! `docs/contributing/simulated-year.md` has the same tables: a test compares them.

use local_aws::sample::Numbers;

/// The policy of the year.
pub const POLICY: &str = include_str!("policy.yaml");

/// A group of components, which push in the same way and have one rule of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Services that share a repository with mutable tags.
    Services,
    /// Base images for several platforms, in a repository with immutable tags.
    Platform,
    /// Models with calendar versions.
    Models,
    /// Batch jobs with build numbers.
    Jobs,
    /// Applications with a repository each.
    Apps,
    /// Imported images of other projects.
    Vendor,
}

/// All groups, in the order of the columns of [`RATES`].
pub const GROUPS: [Group; 6] =
    [Group::Services, Group::Platform, Group::Models, Group::Jobs, Group::Apps, Group::Vendor];

impl Group {
    /// The components of the group in the year: 50 in all. A shorter run takes the first of them.
    #[must_use]
    pub fn components(self) -> &'static [&'static str] {
        match self {
            Self::Services => &[
                "cart",
                "checkout",
                "catalog",
                "search",
                "pricing",
                "payment",
                "invoice",
                "shipping",
                "tracking",
                "profile",
                "session",
                "review",
                "voucher",
                "newsletter",
                "gateway",
                "webshop",
            ],
            Self::Platform => &[
                "base-java",
                "base-node",
                "base-python",
                "base-go",
                "ingress",
                "exporter",
                "backup",
                "dns",
                "vault-agent",
                "log-router",
            ],
            Self::Models => {
                &["ranker", "embedder", "classifier", "forecaster", "moderator", "translator"]
            }
            Self::Jobs => &[
                "mail",
                "export",
                "reaper",
                "billing-run",
                "sync",
                "thumbnails",
                "importer",
                "report-run",
            ],
            Self::Apps => &["shop", "admin", "blog", "status", "mobile-api", "partner"],
            Self::Vendor => &["redis", "postgres", "rabbitmq", "keycloak"],
        }
    }

    /// The name of the group, which is the name of its rule.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Platform => "platform",
            Self::Models => "models",
            Self::Jobs => "jobs",
            Self::Apps => "apps",
            Self::Vendor => "vendor",
        }
    }
}

/// How often something happens to a component.
#[derive(Debug)]
pub struct Rate {
    /// The event.
    pub event: &'static str,
    /// The number of events of a component in 100 weeks, for each of [`GROUPS`].
    pub in_100_weeks: [u32; 6],
    /// The reason of the numbers.
    pub reason: &'static str,
}

impl Rate {
    /// Whether the event happens to a component of this group on a working day.
    pub fn happens(&self, group: Group, numbers: &mut Numbers) -> bool {
        let rates = GROUPS.into_iter().zip(self.in_100_weeks);
        let rate = rates.into_iter().find(|(of, _)| *of == group).map_or(0, |(_, rate)| rate);
        // 100 weeks have 500 working days.
        rate > 0 && draw(0, 499, numbers) < rate
    }
}

/// A duration, a number or a share.
#[derive(Debug)]
pub struct Setting {
    /// The name.
    pub name: &'static str,
    /// The smallest value.
    pub least: u32,
    /// The largest value. Each value between both is as likely as another.
    pub most: u32,
    /// The unit. A share is in percent.
    pub unit: &'static str,
    /// The reason of the values.
    pub reason: &'static str,
}

impl Setting {
    /// A value.
    pub fn draw(&self, numbers: &mut Numbers) -> u32 {
        draw(self.least, self.most, numbers)
    }

    /// Whether a case of this share happens.
    pub fn happens(&self, numbers: &mut Numbers) -> bool {
        draw(0, 99, numbers) < self.least
    }
}

/// A number between both bounds, which are possible values.
pub fn draw(least: u32, most: u32, numbers: &mut Numbers) -> u32 {
    let width = usize::try_from(most - least).unwrap_or_default() + 1;
    least + u32::try_from(numbers.below(width)).unwrap_or_default()
}

macro_rules! table {
    ($type:ident, $all:ident, $about:literal: $($name:ident = $value:expr;)*) => {
        $(#[doc = concat!("A row of [`", stringify!($all), "`].")] pub const $name: $type = $value;)*
        #[doc = $about]
        pub const $all: &[&$type] = &[$(&$name),*];
    };
}

const fn rate(event: &'static str, in_100_weeks: [u32; 6], reason: &'static str) -> Rate {
    Rate { event, in_100_weeks, reason }
}

const fn setting(
    name: &'static str,
    [least, most]: [u32; 2],
    unit: &'static str,
    reason: &'static str,
) -> Setting {
    Setting { name, least, most, unit, reason }
}

table! { Rate, RATES, "The rates of all events.":
    BUILD = rate(
        "build of the main branch",
        [120, 0, 150, 150, 150, 0],
        "One or two merges a week: most components of a registry are quieter than its busiest",
    );
    BRANCH_BUILD = rate(
        "build of another branch",
        [0, 0, 0, 0, 60, 0],
        "Only the pipelines of the applications build branches without a pull request",
    );
    PULL_REQUEST = rate(
        "opened pull request",
        [80, 0, 0, 0, 60, 0],
        "Fewer than merges, because bots and small changes merge without an image",
    );
    RELEASE = rate(
        "release",
        [50, 30, 0, 30, 40, 30],
        "Every second or third week. A service, a job or an application promotes a build; a base image is built; an upstream release is copied",
    );
    BACKPORT = rate(
        "backport to an older line",
        [12, 10, 0, 0, 5, 0],
        "About one of four releases of a line that still has users",
    );
    LONG_RUN = rate(
        "long deployment by digest",
        [0, 25, 30, 0, 0, 25],
        "A workload that nobody moves to the next version for months, without a channel",
    );
    VIOLATION = rate(
        "tag that violates the grammar",
        [4, 4, 4, 4, 4, 4],
        "Two mistakes of a team in a year, after the grammar is known",
    );
    VULNERABILITY = rate(
        "new vulnerability, HIGH or CRITICAL",
        [8, 8, 0, 8, 8, 0],
        "Four a year in the packages of one base image; the other two groups are not scanned",
    );
}

table! { Setting, SETTINGS, "The durations, numbers and shares.":
    HISTORY = setting("age of the registry at the deployment", [26, 26], "weeks",
        "Long enough for images that every rule may remove at the first sweep");
    PROMISED = setting("versions of each kind that must stay", [6, 6], "highest and newest",
        "`Keep` of every rule");
    OLD_PROMOTION = setting("share of promotions of an older build", [30, 30], "%",
        "A release candidate that was tested for a while");
    PROMOTION_AGE = setting("age of an older build at its promotion", [3, 21], "days",
        "A test phase of at most three weeks");
    MINOR = setting("share of releases with a new minor version", [40, 40], "%",
        "The others are patches, or a new major version");
    MAJOR = setting("share of releases with a new major version", [10, 10], "%",
        "Two a year; the line before it gets the backports");
    CANDIDATE = setting("share of releases of a base image with a release candidate", [25, 25], "%",
        "Only releases that change more than packages");
    CANDIDATE_DAYS = setting("days from a candidate to its release", [2, 5], "days",
        "The teams try the candidate for some days");
    TO_PRODUCTION = setting("share of releases that reach production", [60, 60], "%",
        "The others are superseded in staging");
    PRODUCTION_DAYS = setting("days from staging to production", [1, 6], "days",
        "Within a week");
    ROLLBACK = setting("share of promotions to production that are rolled back", [5, 5], "%",
        "One or two of each twenty changes fail");
    ROLLBACK_DAYS = setting("days from a promotion to its roll-back", [1, 3], "days",
        "A failure that nobody saw at once");
    DRAIN = setting("days that a replaced version still runs", [0, 3], "days",
        "Rolling updates, and clusters that follow later");
    NODE_LIFE = setting("days between two pulls of a running workload", [5, 21], "days",
        "Nodes are replaced: Amazon EKS Auto Mode keeps a node for at most 21 days");
    SILENT = setting("components of which one never pulls in production again", [3, 3], "components",
        "Lambda functions and servers, which a channel protects");
    LONG_RUN_DAYS = setting("length of a long deployment", [60, 200], "days",
        "Two to seven months");
    REQUEST_PUSHES = setting("pushes to a pull request", [1, 3], "pushes",
        "The first push, and the answers to reviews; the tag moves");
    REQUEST_DAYS = setting("days between pushes to a pull request", [1, 2], "days",
        "Reviews take a day or two");
    VARIANTS = setting("base images of which one has a variant for Alpine", [3, 3], "components",
        "A matrix of two variants and two platforms, with an index for each variant");
    TAGGED_PLATFORMS = setting("base images of which one has tags for its platforms", [2, 2], "components",
        "Older pipelines tag each platform; buildx pushes the platforms without tags");
    SIGNED = setting("services and applications of which one signs its releases", [2, 2], "components",
        "Signing spreads slowly; every base image is signed, and has a bill of materials");
    IMPORTED = setting("releases of an import", [24, 40], "images",
        "The whole history of an upstream project, in alphabetical order within minutes");
    FIXED = setting("share of builds that fix a known vulnerability", [60, 60], "%",
        "A build takes the newest base image, which has the fix or not");
    FIX_DAYS = setting("age of a vulnerability before the first fix", [7, 7], "days",
        "A distribution needs about a week");
}

/// The table of [`RATES`] for the page of the book.
#[must_use]
pub fn rate_table() -> String {
    let names: Vec<&str> = GROUPS.iter().map(|group| group.name()).collect();
    let mut table =
        format!("| events of a component in 100 weeks | {} | reason |\n", names.join(" | "));
    table += &format!("|{}\n", " --- |".repeat(names.len() + 2));
    for Rate { event, in_100_weeks, reason } in RATES {
        let numbers: Vec<String> = in_100_weeks.iter().map(u32::to_string).collect();
        table += &format!("| {event} | {} | {reason} |\n", numbers.join(" | "));
    }
    table
}

/// The table of [`SETTINGS`] for the page of the book.
#[must_use]
pub fn setting_table() -> String {
    let mut table = "| setting | value | reason |\n| --- | --- | --- |\n".to_owned();
    for Setting { name, least, most, unit, reason } in SETTINGS {
        let value = if least == most { least.to_string() } else { format!("{least} to {most}") };
        table += &format!("| {name} | {value} {unit} | {reason} |\n");
    }
    table
}

/// The table of [`GROUPS`] for the page of the book.
#[must_use]
pub fn group_table() -> String {
    let mut table = "| group | number | components |\n| --- | --- | --- |\n".to_owned();
    for group in GROUPS {
        let names = group.components();
        table += &format!("| {} | {} | {} |\n", group.name(), names.len(), names.join(", "));
    }
    table
}
