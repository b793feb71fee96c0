//! The embedded AWS as a command: its errors for wrong arguments and for a port in use.

use std::net::TcpListener;
use std::process::Command;

use expect_test::{Expect, expect};

/// Runs the command with arguments that it must refuse. Returns the exit code and the error line.
fn run(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_local-aws")).args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((error.lines().count(), output.stdout.len()), (1, 0), "{error}");
    format!("exit {}: {error}", output.status.code().unwrap())
}

fn check(arguments: &[&str], expected: &Expect) {
    expected.assert_eq(&run(arguments));
}

#[test]
fn a_wrong_argument_is_reported_in_one_line() {
    check(
        &["70000"],
        &expect![[r#"
            exit 2: local-aws: invalid value '70000' for '[PORT]': expected a port, from 0 to 65535
        "#]],
    );
    check(
        &["http"],
        &expect![[r#"
            exit 2: local-aws: invalid value 'http' for '[PORT]': expected a port, from 0 to 65535
        "#]],
    );
    check(
        &["4566", "4567"],
        &expect![[r#"
            exit 2: local-aws: unexpected argument '4567' found; Usage: local-aws [PORT]
        "#]],
    );
    check(
        &["--prot", "4566"],
        &expect![[r#"
            exit 2: local-aws: unexpected argument '--prot' found; to pass '--prot' as a value, use '-- --prot'; Usage: local-aws [PORT]
        "#]],
    );
}

#[test]
fn a_port_in_use_is_reported_in_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = run(&[&port.to_string()]);
    assert_eq!(error, format!("exit 1: local-aws: port {port} is in use; choose another one\n"));
}
