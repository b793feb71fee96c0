//! What can be made to go wrong with a call.

use std::time::Duration;

/// What goes wrong with a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The service refuses it with this status and code.
    Error(u16, &'static str),
    /// The connection breaks before anything was done.
    ResetBefore,
    /// The connection breaks after it was done.
    ResetAfter,
    /// It is done and answered, so much later.
    Slow(Duration),
    /// No answer ever comes.
    Hang,
    /// It is done, but no answer ever comes.
    HangAfter,
    /// The caller's process has a defect just there; only for callers in this process.
    Panic,
    /// The caller's process is killed before anything was done; only for functions.
    KillBefore,
    /// The caller's process is killed after it was done; only for functions.
    KillAfter,
}

/// The faults that are to come.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(String, usize, Fault)>);

impl Faults {
    /// The `nth` call of the operation from now on, 0 for each one.
    pub fn add(&mut self, operation: &str, nth: usize, fault: Fault) {
        self.0.push((operation.to_owned(), nth, fault));
    }

    /// What becomes of the next call of the operation. Each fault counts for itself: the
    /// record of calls may be emptied.
    pub fn of_next(&mut self, operation: &str) -> Option<Fault> {
        let mut found = None;
        self.0.retain_mut(|(of, left, fault)| {
            if of != operation {
                return true;
            }
            if *left <= 1 {
                found.get_or_insert_with(|| fault.clone());
            }
            let comes_again = *left != 1;
            *left = left.saturating_sub(1);
            comes_again
        });
        found
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
