//! `cargo demo` and the embedded AWS as processes.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed test may panic")]

mod demo;
mod local_aws;
