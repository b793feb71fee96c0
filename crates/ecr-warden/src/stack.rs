//! The policy of a stack, by the AWS CLI: whoever pushes has it, with their credentials.

use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// The output of a stack that has the policies of its repositories.
const OUTPUT: &str = "Governance";

/// The policies of a stack's repositories, as its output has them.
pub fn governance(stack: &str) -> anyhow::Result<String> {
    let instead = "or name a file with the stack's output Governance: --policy FILE";
    let asked = Command::new("aws")
        .args(["cloudformation", "describe-stacks", "--output", "json"])
        .arg(format!("--stack-name={stack}"))
        // One line at the end, from a version 2 too.
        .env("AWS_CLI_ERROR_FORMAT", "legacy")
        .output();
    let answer = match asked {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no AWS CLI to read the stack {stack} with: install aws, {instead}")
        }
        asked => asked.context("running aws")?,
    };
    let said = String::from_utf8_lossy(&answer.stderr);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    if !answer.status.success() {
        let said = said.map_or_else(|| answer.status.to_string(), str::to_owned);
        ensure!(
            !said.contains("does not exist"),
            "there is no stack {stack} where the AWS CLI looks: name it with --stack, its account \
             and region with AWS_PROFILE and AWS_DEFAULT_REGION, {instead} ({said})"
        );
        bail!(
            "the AWS CLI cannot read the stack {stack}: {said} (it takes credentials that may \
             cloudformation:DescribeStacks; {instead})"
        );
    }
    output(&answer.stdout, stack)
}

/// The output in the answer of `describe-stacks`.
fn output(answer: &[u8], stack: &str) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(answer).context("reading what aws answers")?;
    let found = answer.pointer("/Stacks/0");
    let outputs = found.and_then(|it| it.get("Outputs")?.as_array()).into_iter().flatten();
    let of = |output: &Value| {
        let value = output.get("OutputValue")?.as_str()?;
        (output.get("OutputKey")? == OUTPUT).then(|| value.to_owned())
    };
    outputs.into_iter().find_map(of).with_context(|| {
        let status = found.and_then(|it| it.get("StackStatus")?.as_str()).unwrap_or("unknown");
        format!(
            "the stack {stack}, which is {status}, has no output {OUTPUT}: a stack of ECR Warden \
             has one once it is deployed; name it with --stack"
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DEPLOYED: &[u8] = include_bytes!("../tests/describe-stacks.json");

    /// The policies of the stack that the tests have.
    pub(crate) fn governance() -> String {
        output(DEPLOYED, "ecr-warden").unwrap()
    }

    #[test]
    fn the_policy_is_an_output_among_others_as_the_stack_normalised_it() {
        let policies = warden_core::policy::Policies::parse(&governance()).unwrap();
        let lines: Vec<String> = policies.iter().map(|policy| policy.normalised()).collect();
        assert_eq!(format!("[{}]", lines.join(",")), governance());
    }

    #[test]
    fn a_stack_without_it_is_told_with_how_far_it_is() {
        let check = |answer: &str, expected: Expect| {
            expected.assert_eq(&format!("{:#}", output(answer.as_bytes(), "net").unwrap_err()));
        };
        check(
            r#"{"Stacks": [{"StackName": "net", "StackStatus": "CREATE_IN_PROGRESS"}]}"#,
            expect![
                "the stack net, which is CREATE_IN_PROGRESS, has no output Governance: a stack of ECR Warden has one once it is deployed; name it with --stack"
            ],
        );
        check(
            r#"{"Stacks": [{"StackStatus": "CREATE_COMPLETE", "Outputs": [
                {"OutputKey": "VpcId", "OutputValue": "vpc-1"}, {"OutputKey": "Governance"}]}]}"#,
            expect![
                "the stack net, which is CREATE_COMPLETE, has no output Governance: a stack of ECR Warden has one once it is deployed; name it with --stack"
            ],
        );
        check("Stacks", expect!["reading what aws answers: expected value at line 1 column 1"]);
    }
}
