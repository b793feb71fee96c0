//! The action for GitHub workflows and the documented workflow judge tags without credentials.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use local_aws::snippets::snippet;

/// The script of the last step of the action, which runs the cached program.
fn script() -> String {
    let action = include_str!("../../../../.github/actions/check/action.yml");
    let (_, script) = action.rsplit_once("      run: |\n").unwrap();
    script.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

/// Runs the script with a cached program that prints its arguments.
fn run(name: &str, variables: &[(&str, &str)]) -> Output {
    let temporary: PathBuf = env!("CARGO_TARGET_TMPDIR").into();
    let temporary = temporary.join(format!("workflow-{name}"));
    let folder = temporary.join("ecr-warden/bin");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("ecr-warden");
    fs::write(&program, "#!/bin/sh\necho \"ran $*\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", &script()]).env_clear();
    bash.env("PATH", "/usr/bin:/bin").env("RUNNER_TEMP", &temporary);
    bash.env("IMAGES", "a:b * c:d").env("POLICY", "policy.json");
    bash.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn the_step_judges_by_the_policy_and_without_credentials() {
    let output = run("none", &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "ran check --policy=policy.json -- a:b * c:d\n");
}

#[test]
fn the_step_runs_no_cached_program_in_a_job_with_credentials() {
    for name in
        ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    {
        let output = run(name, &[(name, "x")]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
        assert!(!output.stderr.is_empty(), "{name}");
    }
}

#[test]
fn the_documented_workflow_judges_tags_in_a_job_that_cannot_request_a_token() {
    let workflow = snippet("github-actions/image.yaml").unwrap();
    let (start, jobs) = workflow.split_once("\n  check:\n").unwrap();
    let (check, image) = jobs.split_once("\n  image:\n").unwrap();
    for part in [start, check] {
        assert!(!part.contains("id-token") && !part.contains("credentials"), "{part}");
    }
    assert!(check.contains("actions/check@") && check.contains("policy: "), "{check}");
    assert!(image.contains("needs: check"), "{image}");
    assert!(!image.contains("actions/check@"), "{image}");
}
