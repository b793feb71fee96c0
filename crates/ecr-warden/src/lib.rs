//! The command-line tool of ECR Warden, as a library for its `main` and for tests.
//!
//! [`arguments`] parses a command line. [`mod@check`] judges image tags by a policy in a file, which
//! [`policy_file`] and [`yaml`] read, or by the policy of a stack. [`mod@policy`] checks such a file. [`mod@plan`], [`mod@explain`] and [`mod@restore`] read and invoke a
//! [`deployed`] stack, and so do [`mod@outputs`], [`mod@status`], [`mod@replay`], [`mod@quarantined`] and
//! [`mod@archived`]. [`mod@lifecycle`] needs no stack.

pub mod archived;
pub mod arguments;
pub mod check;
pub mod deployed;
pub mod explain;
pub mod image;
pub mod lifecycle;
pub mod outputs;
pub mod plan;
pub mod policy;
pub mod policy_file;
pub mod print;
pub mod quarantined;
pub mod replay;
pub mod restore;
pub mod status;
pub mod yaml;
