//! Runs the built command, which reads a policy from a file.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends at the first surprise"
)]

mod deployed;
mod documented;
mod reference;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use expect_test::{Expect, expect};

const CONFORMS: &str = "infrastructure:litellm-v1.80.5";

/// Runs `ecr-warden check` with these arguments and this standard input, and without an AWS configuration.
/// Compares its output and its exit code. Each error is one line.
fn run(arguments: &[&str], input: &str, expected: &Expect) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecr-warden"));
    let command = command.arg("check").args(arguments).env_clear();
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // A command that fails before it reads its input closes the pipe, so an error is ignored.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(ended.stdout), String::from_utf8(ended.stderr));
    let (stdout, stderr, code) = (stdout.unwrap(), stderr.unwrap(), ended.status.code().unwrap());
    expected.assert_eq(&format!("{stdout}{stderr}exit {code}\n"));
    assert!(stderr.lines().all(|line| line.starts_with("ecr-warden: ")), "{stderr}");
    assert_eq!(code == 2, !stderr.is_empty());
}

/// Checks with the policy of the test data.
fn check(arguments: &[&str], expected: &Expect) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy.yaml");
    run(&[&["--policy", file], arguments].concat(), "", expected);
}

/// Checks with a policy on standard input.
fn check_policy(policy: &str, arguments: &[&str], expected: &Expect) {
    run(&[&["--policy", "-"], arguments].concat(), policy, expected);
}

fn policy() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy.yaml");
    std::fs::read_to_string(file).unwrap()
}

/// Writes a file for one test.
fn file(name: &str, content: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, content).unwrap();
    file
}

#[test]
fn the_policy_of_the_stack_is_used_and_the_worst_image_decides_the_exit_code() {
    check(
        &[CONFORMS],
        &expect![[r#"
            infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
            exit 0
        "#]],
    );
    check(
        &[CONFORMS, "infrastructure:litellm-1.80.5", CONFORMS],
        &expect![[r#"
            infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
            infrastructure:litellm-1.80.5 does not match {component}-v{semver}; did you mean litellm-v1.80.5? The image would be quarantined, or only lose this tag if it has a conforming tag
            infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
            exit 1
        "#]],
    );
    check(
        &["infrastructure:latest", "infra:v1", "deployments:web-latest"],
        &expect![[r#"
            infrastructure:latest does not match {component}-v{semver}. The image would be quarantined, or only lose this tag if it has a conforming tag
            deployments:web-latest conforms: channel latest of web
            ecr-warden: infra:v1 cannot be judged: no rule of the policy governs the repository infra
            exit 2
        "#]],
    );
}

#[test]
fn a_policy_can_be_read_from_a_file_or_standard_input() {
    let file = file("policy.yaml", &policy());
    run(
        &["--policy", file.to_str().unwrap(), CONFORMS],
        "",
        &expect![[r#"
            infrastructure:litellm-v1.80.5 conforms: version 1.80.5 of litellm
            exit 0
        "#]],
    );
    check_policy(
        &policy(),
        &["infrastructure:latest"],
        &expect![[r#"
            infrastructure:latest does not match {component}-v{semver}. The image would be quarantined, or only lose this tag if it has a conforming tag
            exit 1
        "#]],
    );
}

#[test]
fn an_error_about_a_policy_that_cannot_be_read_says_how_to_read_it() {
    run(
        &[CONFORMS],
        "",
        &expect![[r#"
        ecr-warden: no region is configured: name the region with --region, AWS_REGION or a profile
        exit 2
    "#]],
    );
    run(
        &["--policy", "absent.yaml", CONFORMS],
        "",
        &expect![[r#"
        ecr-warden: absent.yaml cannot be read; expected a policy, such as infra/sam/policy.yaml: No such file or directory (os error 2)
        exit 2
    "#]],
    );
}

#[test]
fn an_error_about_an_invalid_policy_names_the_field() {
    check_policy(
        "",
        &[CONFORMS],
        &expect![[r#"
        ecr-warden: the policy is invalid: standard input: mistake: policy: the file has no policy; expected Version and Rules
        exit 2
    "#]],
    );
    check_policy(
        "{}",
        &[CONFORMS],
        &expect![[r#"
        ecr-warden: the policy is invalid: standard input:1:1: mistake: Version: this required property is missing; standard input:1:1: mistake: Rules: this required property is missing
        exit 2
    "#]],
    );
    check_policy(
        "[]",
        &[CONFORMS],
        &expect![[r#"
        ecr-warden: the policy is invalid: standard input:1:1: mistake: ResourceProperties: missing; expected an object
        exit 2
    "#]],
    );
    check_policy(
        &policy().replacen("{semver}", "{semvr}", 1),
        &[CONFORMS],
        &expect![[r#"
        ecr-warden: the policy is invalid: standard input:5:23: mistake: Rules[0] (platform).Tags.Grammar[0]: unknown placeholder {semvr}; the nearest placeholder is {semver}, got "{component}-v{semvr}"
        exit 2
    "#]],
    );
    check_policy(
        &policy().replacen("Grammar", "Grammer", 1),
        &[CONFORMS],
        &expect![[r#"
        ecr-warden: the policy is invalid: standard input:5:13: mistake: Rules[0] (platform).Tags.Grammer: unknown property; the nearest known name is Grammar
        exit 2
    "#]],
    );
}

#[test]
fn a_mistake_in_the_arguments_is_reported_in_one_line() {
    check(
        &["--polcy", "-", CONFORMS],
        &expect![[r#"
            ecr-warden: unexpected argument '--polcy' found; a similar argument exists: '--policy'; Usage: ecr-warden check --policy <FILE> <REPOSITORY:TAG>...
            exit 2
        "#]],
    );
    check(
        &["--policy", "-", "--stack", "mine", CONFORMS],
        &expect![[r#"
            ecr-warden: the argument '--policy <FILE>' cannot be used multiple times; Usage: ecr-warden check [OPTIONS] <REPOSITORY:TAG>...
            exit 2
        "#]],
    );
    check(
        &[],
        &expect![[r#"
            ecr-warden: the following required arguments were not provided: <REPOSITORY:TAG>...; Usage: ecr-warden check --policy <FILE> <REPOSITORY:TAG>...
            exit 2
        "#]],
    );
    check(
        &["--stack", "", CONFORMS],
        &expect![[r#"
            ecr-warden: a value is required for '--stack <NAME>' but none was supplied
            exit 2
        "#]],
    );
    check(
        &["--policy", "", CONFORMS],
        &expect![[r#"
            ecr-warden: the argument '--policy <FILE>' cannot be used multiple times; Usage: ecr-warden check [OPTIONS] <REPOSITORY:TAG>...
            exit 2
        "#]],
    );
    check(
        &["infrastructure"],
        &expect![[r#"
            ecr-warden: invalid value 'infrastructure' for '<REPOSITORY:TAG>...': the tag is missing; expected REPOSITORY:TAG, such as infrastructure:litellm-v1.80.5
            exit 2
        "#]],
    );
    check(
        &["infrastructure:a b"],
        &expect![[r#"
            ecr-warden: invalid value 'infrastructure:a b' for '<REPOSITORY:TAG>...': "a b" is not a tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
            exit 2
        "#]],
    );
    check(
        &["infrastructure:litellm\nv1"],
        &expect![[r#"
            ecr-warden: invalid value 'infrastructure:litellm; v1' for '<REPOSITORY:TAG>...': "litellm\nv1" is not a tag: expected 1 to 128 letters, digits, '_', '.' and '-', not starting with '.' or '-'
            exit 2
        "#]],
    );
}

#[test]
fn the_tool_prints_its_version() {
    for option in ["--version", "-V"] {
        let output = Command::new(env!("CARGO_BIN_EXE_ecr-warden")).arg(option).output().unwrap();
        let version = concat!("ecr-warden ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
    }
}
