//! Log lines as CloudWatch wants them: one JSON object each, with the time in RFC 3339, the
//! level, the request's id from the runtime's span, and fields with dotted names.

use tracing::level_filters::LevelFilter;

/// Writes logs to standard output from now on, at the level that Lambda's logging
/// configuration asks for (`AWS_LAMBDA_LOG_LEVEL`), or `INFO`.
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    // Lambda's filter takes a line without a time and a level for one of level INFO.
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level.unwrap_or(LevelFilter::INFO))
        .init();
}
