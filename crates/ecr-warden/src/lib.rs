//! The command-line tool of ECR Warden, as a library for its `main` and for tests.
//!
//! [`arguments`] parses a command line. [`mod@check`] judges image tags by a policy in a file, which [`yaml`]
//! reads, or by the policy of a stack. [`mod@plan`], [`mod@explain`] and [`mod@restore`] read and invoke a
//! [`deployed`] stack. [`mod@lifecycle`] needs no stack.

pub mod arguments;
pub mod check;
pub mod deployed;
pub mod explain;
pub mod image;
pub mod lifecycle;
pub mod plan;
pub mod print;
pub mod restore;
pub mod yaml;
