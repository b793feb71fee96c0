//! The embedded AWS as a command: what it says of a port that it cannot have.

use std::net::TcpListener;
use std::process::Command;

use expect_test::{Expect, expect};

/// How it ends with arguments that keep it from serving, and its one line.
fn run(arguments: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_local-aws")).args(arguments).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((said.lines().count(), ended.stdout.len()), (1, 0), "{said}");
    format!("exit {}: {said}", ended.status.code().unwrap())
}

fn check(arguments: &[&str], expected: &Expect) {
    expected.assert_eq(&run(arguments));
}

#[test]
fn a_mistake_in_the_arguments_is_told_in_one_line() {
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
fn a_port_that_is_taken_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = run(&[&port.to_string()]);
    assert_eq!(ended, format!("exit 1: local-aws: port {port} is in use; choose another one\n"));
}
