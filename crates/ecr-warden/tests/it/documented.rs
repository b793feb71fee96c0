//! The documented check of a tag before a push, by a policy in a file.

use std::path::PathBuf;
use std::process::Command;

use expect_test::expect_file;

/// A file of `docs/snippets`.
fn snippet(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../../docs/snippets", name].iter().collect()
}

#[test]
fn the_documented_check_prints_the_documented_line() {
    let script = std::fs::read_to_string(snippet("readme/check.sh")).unwrap();
    let arguments = script.trim_end().strip_prefix("cargo ecr-warden ").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecr-warden"));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = command.args(arguments.split(' ')).current_dir(root).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    expect_file![snippet("check/check.txt")].assert_eq(&String::from_utf8(output.stdout).unwrap());
}
