//! The log lines of a test's functions, as CloudWatch receives them. Each test has its own thread and
//! its own lines.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use serde_json::Value;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Collects the lines from now on, in the deployed format.
pub fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let format = tracing_subscriber::fmt().json().flatten_event(true).with_target(false);
        format.with_writer(|| Writer).init();
    });
}

/// All lines since the last time.
#[must_use]
pub fn text() -> String {
    String::from_utf8_lossy(&LINES.take()).into_owned()
}

/// The lines since the last time that have a field.
#[must_use]
pub fn lines(field: &str) -> Vec<Value> {
    let text = text();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get(field).is_some()).collect()
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
