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
    /// The `nth` call of the operation, 0 for each one.
    pub fn add(&mut self, operation: &str, nth: usize, fault: Fault) {
        self.0.push((operation.to_owned(), nth, fault));
    }

    /// What becomes of the `nth` call.
    pub fn of(&self, operation: &str, nth: usize) -> Option<Fault> {
        let mut faults = self.0.iter();
        let found = faults.find(|(of, at, _)| of == operation && (*at == nth || *at == 0));
        found.map(|(_, _, fault)| fault.clone())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
