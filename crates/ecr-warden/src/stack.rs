//! Reads the policy of a stack with the AWS CLI, which a person or pipeline that pushes images has
//! installed, with credentials.

use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// The stack output that contains the policies of the repositories.
const OUTPUT: &str = "Governance";

/// Reads the policies of a stack from its output.
pub fn read_governance(stack: &str) -> anyhow::Result<String> {
    let instead = "or save the stack output Governance in a file and name it with --policy FILE";
    let ran = Command::new("aws")
        .args(["cloudformation", "describe-stacks", "--output", "json"])
        .arg(format!("--stack-name={stack}"))
        // The error is then the last line, also from version 2 of the AWS CLI.
        .env("AWS_CLI_ERROR_FORMAT", "legacy")
        .output();
    let answer = match ran {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "the stack {stack} cannot be read, because the AWS CLI is not installed: install \
                 aws, {instead}"
            )
        }
        ran => ran.context("running aws")?,
    };
    let stderr = String::from_utf8_lossy(&answer.stderr);
    let last_line = stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    if !answer.status.success() {
        let error = last_line.map_or_else(|| answer.status.to_string(), str::to_owned);
        ensure!(
            !error.contains("does not exist"),
            "the AWS CLI finds no stack {stack}: name the stack with --stack, and its account and \
             region with AWS_PROFILE and AWS_DEFAULT_REGION, {instead} ({error})"
        );
        bail!(
            "the AWS CLI cannot read the stack {stack}: {error} (the credentials need the right \
             cloudformation:DescribeStacks; {instead})"
        );
    }
    find_output(&answer.stdout, stack)
}

/// Finds the output in the answer of `describe-stacks`.
fn find_output(answer: &[u8], stack: &str) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(answer).context("reading the answer of aws")?;
    let found = answer.pointer("/Stacks/0");
    let outputs = found.and_then(|stack| stack.get("Outputs")?.as_array()).into_iter().flatten();
    let governance = |output: &Value| {
        let value = output.get("OutputValue")?.as_str()?;
        (output.get("OutputKey")? == OUTPUT).then(|| value.to_owned())
    };
    outputs.into_iter().find_map(governance).with_context(|| {
        let status = found.and_then(|stack| stack.get("StackStatus")?.as_str());
        let status = status.unwrap_or("unknown");
        format!(
            "the stack {stack} (status {status}) has no output {OUTPUT}: it is not a stack of ECR \
             Warden, or its deployment is not complete; name another stack with --stack"
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DEPLOYED: &[u8] = include_bytes!("../tests/describe-stacks.json");

    /// The policies of the stack in the test data.
    pub(crate) fn governance() -> String {
        find_output(DEPLOYED, "ecr-warden").unwrap()
    }

    #[test]
    fn the_policy_is_found_among_other_outputs_and_is_normalised() {
        let policies = warden_core::policy::Policies::parse(&governance()).unwrap();
        let lines: Vec<String> = policies.iter().map(|policy| policy.normalised()).collect();
        assert_eq!(format!("[{}]", lines.join(",")), governance());
    }

    #[test]
    fn an_error_about_a_missing_output_names_the_status_of_the_stack() {
        let check = |answer: &str, expected: Expect| {
            expected
                .assert_eq(&format!("{:#}", find_output(answer.as_bytes(), "net").unwrap_err()));
        };
        check(
            r#"{"Stacks": [{"StackName": "net", "StackStatus": "CREATE_IN_PROGRESS"}]}"#,
            expect![
                "the stack net (status CREATE_IN_PROGRESS) has no output Governance: it is not a stack of ECR Warden, or its deployment is not complete; name another stack with --stack"
            ],
        );
        check(
            r#"{"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": [
                {"OutputKey": "VpcId", "OutputValue": "vpc-1"}, {"OutputKey": "Governance"}]}]}"#,
            expect![
                "the stack net (status CREATE_COMPLETE) has no output Governance: it is not a stack of ECR Warden, or its deployment is not complete; name another stack with --stack"
            ],
        );
        check("Stacks", expect!["reading the answer of aws: expected value at line 1 column 1"]);
    }
}
