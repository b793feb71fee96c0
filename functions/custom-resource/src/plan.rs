//! A plan of changes, as a value that prints.

use std::fmt;

/// The changes to make, in order. Each action is one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePlan<A> {
    /// The actions. Empty if nothing has to change.
    pub actions: Vec<A>,
}

impl<A: fmt::Display> fmt::Display for ChangePlan<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return f.write_str("no change");
        }
        for (nth, action) in self.actions.iter().enumerate() {
            write!(f, "{}{action}", if nth == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
