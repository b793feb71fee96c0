//! What a team's Amazon ECR repositories should be, decided without a cloud in sight.
//!
//! Everything here is a function of values: no clock, no environment, no network.
//! In reading order:
//!
//! - [`image`]: the names ECR knows, as types;
//! - [`grammar`]: which tags conform, which component they belong to, and what was meant;
//! - [`properties`]: reading what people wrote, reporting every mistake at once;
//! - [`policy`]: the policy of one repository, parsed, validated and normalised;
//! - [`lifecycle`]: the part of it that ECR carries out by itself.

pub mod image;
#[macro_use]
mod keyword;
pub mod grammar;
pub mod lifecycle;
pub mod policy;
pub mod properties;
