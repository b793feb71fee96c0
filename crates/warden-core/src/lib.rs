//! The rules for Amazon ECR repositories: this crate decides, and never calls AWS.
//!
//! Every decision is a function of its arguments. The crate reads no clock, no environment variable
//! and no network. The modules, in reading order:
//!
//! - [`image`]: types for the names that ECR uses;
//! - [`text`]: makes text from outside safe to show;
//! - [`grammar`]: matches tags, finds the component of a tag, and suggests a corrected tag;
//! - [`node`]: a tree of values from YAML, CloudFormation or JSON;
//! - [`properties`]: reads such a tree, and reports every mistake at once;
//! - [`policy`]: the policy of the registry and of one repository, parsed, validated and normalised;
//! - [`lifecycle`]: the lifecycle policy that ECR carries out;
//! - [`tagging`]: judges a pushed tag by the policy;
//! - [`mutability`]: whether a tag can move to another image;
//! - [`quarantine`]: the quarantine tag, which replaces a tag that violates the policy;
//! - [`enforcement`]: plans the changes to an image whose tag violates the policy;
//! - [`arena`]: lists of images, units and groups, each with an index type of its own;
//! - [`artifact`]: the kind of an artifact: an image, a signature, a chart, a cache, and so on;
//! - [`graph`]: groups an index with its images, and an image with its signatures;
//! - [`sightings`]: times that the ledger records;
//! - [`tag_times`]: records when each tag was pushed to its image;
//! - [`untagged`]: records since when an image has no tag;
//! - [`retention`]: decides which images are kept and which are removed, and why;
//! - [`due`]: decides which repositories a round of sweeps sweeps;
//! - [`findings`]: compares the findings of a scan with the history of its release line;
//! - [`replication`]: the copies of images in other registries;
//! - [`risks`]: the accepted risks: findings that do not count until a date;
//! - [`audit`]: compares a repository with its policy;
//! - [`usage`]: the number of images, the bytes and the open findings of each component.

#[macro_use]
mod keyword;
#[macro_use]
mod name;
pub mod arena;
pub mod artifact;
pub mod audit;
pub mod due;
pub mod enforcement;
pub mod findings;
pub mod grammar;
pub mod graph;
pub mod image;
pub mod lifecycle;
pub mod mutability;
pub mod node;
pub mod policy;
pub mod properties;
pub mod quarantine;
pub mod replication;
pub mod retention;
pub mod risks;
pub mod sightings;
pub mod tag_times;
pub mod tagging;
pub mod text;
pub mod untagged;
pub mod usage;
