//! The documented check of a tag before a push, by a policy in a file.

use std::path::PathBuf;
use std::process::Command;

use expect_test::{expect, expect_file};

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

#[test]
fn the_documented_check_of_the_shipped_policy_finds_no_mistake() {
    let script = std::fs::read_to_string(snippet("policy/check.sh")).unwrap();
    let arguments: Vec<&str> = script.split_whitespace().skip(2).collect();
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecr-warden"));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let output = command.args(arguments).current_dir(root).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let [command @ .., "--enforce-repositories", _] = arguments.as_slice() else {
        panic!("{script}")
    };
    assert_eq!(check(&arguments), "infra/sam/policy.yaml has no mistake: 2 rules\n");
    // Without the ceiling, the command says what it did not check.
    expect![[r#"
        infra/sam/policy.yaml has no mistake: 2 rules
        The check does not know EnforceRepositories of the stack: a rule that enforces in other repositories fails the deployment. Give the parameter with --enforce-repositories.
    "#]].assert_eq(&check(command));
}

#[test]
fn the_documented_trial_of_an_edited_policy_judges_by_the_copy() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("trial");
    std::fs::create_dir_all(&folder).unwrap();
    let script = std::fs::read_to_string(snippet("policy/try.sh")).unwrap();
    let judge = |editor: &str| {
        // The files of the clone are in another folder than the copy.
        let infra = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra");
        let script = script.replace("infra/sam", &format!("{infra}/sam"));
        let cargo = r#"cargo() { test "$1" = ecr-warden && shift && "$TOOL" "$@"; }"#;
        let mut bash = Command::new("bash");
        bash.args(["-euc", &format!("{cargo}\n{script}")]).current_dir(&folder);
        bash.env("TOOL", env!("CARGO_BIN_EXE_ecr-warden")).env("EDITOR", editor);
        let output = bash.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let documented = std::fs::read_to_string(snippet("check/check.txt")).unwrap();
    assert_eq!(judge("true"), (Some(1), documented));
    let (code, line) = judge("sed -i.bak s/-v{semver}/-{semver}/");
    assert_eq!(code, Some(0), "{line}");
    assert!(line.starts_with("infrastructure:litellm-1.80.5 conforms"), "{line}");
}
