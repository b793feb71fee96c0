//! What a team's Amazon ECR repositories should be, decided without a cloud in sight.
//!
//! Everything here is a function of values: no clock, no environment, no network.
//! In reading order:
//!
//! - [`image`]: the names ECR knows, as types;
//! - [`text`]: text from outside, safe to show;
//! - [`grammar`]: which tags conform, which component they belong to, and what was meant;
//! - [`properties`]: reading what people wrote, reporting every mistake at once;
//! - [`policy`]: the policy of one repository, parsed, validated and normalised;
//! - [`lifecycle`]: the part of it that ECR carries out by itself;
//! - [`tagging`]: what a push may be called;
//! - [`quarantine`]: the tag under which an image waits that lost its own;
//! - [`enforcement`]: what is done about a tag that breaks the rules;
//! - [`arena`]: lists of images, units and groups, each with an index type of its own;
//! - [`graph`]: what belongs together: an index and its images, an image and its signatures;
//! - [`untagged`]: since when an image has no tag;
//! - [`retention`]: what is kept, what goes, and why;
//! - [`findings`]: what a scan found, what of it is news, and what is remembered of it;
//! - [`replication`]: the copies of images in other registries;
//! - [`risks`]: the findings that are accepted;
//! - [`audit`]: whether a repository is what its policy says;
//! - [`usage`]: how much there is of each component, and what is open in it.

pub mod image;
#[macro_use]
mod keyword;
pub mod arena;
pub mod audit;
pub mod enforcement;
pub mod findings;
pub mod grammar;
pub mod graph;
pub mod lifecycle;
pub mod policy;
pub mod properties;
pub mod quarantine;
pub mod replication;
pub mod retention;
pub mod risks;
pub mod tagging;
pub mod text;
pub mod untagged;
pub mod usage;
