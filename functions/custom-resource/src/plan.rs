//! A plan: what is to be done, as a value that prints.

use std::fmt;

/// What is to be done, in order; each action is one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePlan<A> {
    /// The actions. None, where everything is as it should be.
    pub actions: Vec<A>,
}

impl<A: fmt::Display> fmt::Display for ChangePlan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return f.write_str("nothing to do");
        }
        for (nth, action) in self.actions.iter().enumerate() {
            write!(f, "{}{action}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
