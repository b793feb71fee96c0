//! Parses a command line. An error is one line, with the nearest known option.

use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser};

/// The option that names a stack.
#[derive(Args, Clone, Debug)]
pub struct StackOption {
    /// The name of the stack.
    // The AWS CLI describes every stack if the name is empty.
    #[arg(
        long = "stack",
        value_name = "NAME",
        default_value = "ecr-warden",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub stack: String,
}

/// Parses the arguments of the process. After `--help`, returns the exit code 0. After a mistake,
/// prints one line to standard error and returns the exit code 2.
pub fn parse<P: Parser>() -> Result<P, ExitCode> {
    P::try_parse().map_err(|error| {
        let text = error.render().to_string();
        #[expect(clippy::print_stdout, clippy::print_stderr, reason = "a person reads the text")]
        if error.use_stderr() {
            eprintln!("{}: {}", P::command().get_name(), in_one_line(&text));
            ExitCode::from(2)
        } else {
            print!("{text}");
            ExitCode::SUCCESS
        }
    })
}

/// Joins the lines of a text into one line. Removes the labels of clap, and its last line, which
/// recommends `--help`.
#[must_use]
pub fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    let lines = lines.map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "));
    lines.fold(String::new(), |text, line| match text.chars().last() {
        None => line.to_owned(),
        Some(':') => format!("{text} {line}"),
        Some(_) => format!("{text}; {line}"),
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
    fn a_mistake_is_reported_in_one_line_with_the_nearest_option() {
        check(
            &["--jsn"],
            "unexpected argument '--jsn' found; a similar argument exists: '--json'; \
             Usage: demo --json [PORT]",
        );
        check(&["70000"], "invalid value '70000' for '[PORT]': 70000 is not in 0..=65535");
    }
}
