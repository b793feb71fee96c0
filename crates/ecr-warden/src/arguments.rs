//! Parses a command line. A mistake is reported in one line, with the nearest known option.

use std::process::ExitCode;

use clap::Parser;

/// Parses the process's arguments, or gives the exit code: success after `--help`; 2 after a
/// mistake, with one line on standard error that says what was expected.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        let said = error.render().to_string();
        #[expect(clippy::print_stdout, clippy::print_stderr, reason = "it is for reading")]
        if error.use_stderr() {
            eprintln!("{}: {}", P::command().get_name(), in_one_line(&said));
            ExitCode::from(2)
        } else {
            print!("{said}");
            ExitCode::SUCCESS
        }
    })
}

/// Joins a text of several lines into one, without clap's labels and without its last line,
/// which advertises `--help`.
#[must_use]
pub fn in_one_line(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    let lines = lines.map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "));
    lines.fold(String::new(), |said, line| match said.chars().last() {
        None => line.to_owned(),
        Some(':') => format!("{said} {line}"),
        Some(_) => format!("{said}; {line}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "cargo demo")]
    struct Options {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// A port.
        port: Option<u16>,
    }

    fn check(arguments: &[&str], expected: &str) {
        let error = Options::try_parse_from([&["demo"], arguments].concat()).unwrap_err();
        assert_eq!(in_one_line(&error.render().to_string()), expected);
    }

    #[test]
    fn a_mistake_is_told_in_one_line_with_the_nearest_option() {
        check(
            &["--jsn"],
            "unexpected argument '--jsn' found; a similar argument exists: '--json'; \
             Usage: demo --json [PORT]",
        );
        check(&["70000"], "invalid value '70000' for '[PORT]': 70000 is not in 0..=65535");
    }
}
