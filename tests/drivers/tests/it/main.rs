//! `cargo demo` and the embedded AWS as processes.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod demo;
mod local_aws;
