//! The fuzz targets: functions that panic when an input breaks a property.
//!
//! Tests run every target over `events/` and over `corpus/`. The package `libfuzzer` in this
//! folder hands the same functions to libFuzzer, which looks for new inputs every night.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target reports a broken property by a panic"
)]

pub mod blocks;
pub mod events;
pub mod findings;
pub mod grammar;
pub mod manifest;
pub mod policy;
pub mod properties;
pub mod rendering;

/// A target: its name, and the function that runs it on one input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("blocks", blocks::run),
    ("events", events::run),
    ("findings", findings::run),
    ("grammar", grammar::run),
    ("manifest", manifest::run),
    ("policy", policy::run),
    ("properties", properties::run),
    ("rendering", rendering::run),
];
