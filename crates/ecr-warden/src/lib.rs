//! The command-line tool of ECR Warden, as a library for its `main` and for tests.
//!
//! [`arguments`] parses a command line, [`stack`] reads a stack's policy with the AWS CLI, and
//! [`mod@check`] judges image tags by that policy.

pub mod arguments;
pub mod check;
pub mod stack;
