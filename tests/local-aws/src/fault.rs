//! Faults of calls, which a test injects.

use std::time::Duration;

/// A fault of a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The service answers with an error of this status and code.
    Error(u16, &'static str),
    /// The connection breaks before the service carries out the call.
    ResetBefore,
    /// The connection breaks after the service has carried out the call.
    ResetAfter,
    /// The service carries out and answers the call after this time.
    Slow(Duration),
    /// The service never carries out the call and never answers.
    Hang,
    /// The service carries out the call but never answers.
    HangAfter,
    /// The caller panics. Only for callers in this process.
    Panic,
    /// The caller's process is killed before the service carries out the call. Only for functions.
    KillBefore,
    /// The caller's process is killed after the service has carried out the call. Only for functions.
    KillAfter,
}

/// The faults of future calls.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(String, usize, Fault)>);

impl Faults {
    /// Adds a fault of the `nth` call of the operation from now on, or of each call if `nth` is 0.
    pub fn add(&mut self, operation: &str, nth: usize, fault: Fault) {
        self.0.push((operation.to_owned(), nth, fault));
    }

    /// The fault of the next call of the operation. Each fault has its own counter, because a test
    /// may clear the record of calls.
    pub fn take_next(&mut self, operation: &str) -> Option<Fault> {
        let mut found = None;
        self.0.retain_mut(|(faulty, left, fault)| {
            if faulty != operation {
                return true;
            }
            if *left <= 1 {
                found.get_or_insert_with(|| fault.clone());
            }
            let remains = *left != 1;
            *left = left.saturating_sub(1);
            remains
        });
        found
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
