//! One stack, deployed with the SAM CLI and queried with the AWS CLI.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use local_aws::world::policy_with;
use serde_json::{Value, json};

use crate::local::Local;

/// A stack on the emulators.
pub struct Stack<'a> {
    local: &'a Local,
    name: &'static str,
}

impl<'a> Stack<'a> {
    pub fn new(local: &'a Local, name: &'static str) -> Self {
        Self { local, name }
    }

    /// Runs `sam build` and shows its output.
    pub fn build(local: &Local) -> anyhow::Result<()> {
        if !local.tool("sam").arg("build").status().context("running sam")?.success() {
            bail!("sam build failed");
        }
        let built = local.root().join("infra/sam/.aws-sam/build/template.yaml");
        let template = fs::read_to_string(&built)?;
        let policy = format!("Location: {}", policy_file(local).display());
        let template = template.replace("Location: ../../policy.yaml", &policy);
        ensure!(template.contains(&policy), "the built template includes no policy");
        fs::write(&built, for_ministack(&template)?)?;
        write_policy(local, &[])
    }

    /// Deploys the shipped policy with these settings ([`policy_with`]). Parameters keep their values.
    pub fn govern(&self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        write_policy(self.local, settings)?;
        self.deploy(&[])
    }

    /// Runs `sam deploy --guided` as the README does, and takes the default of each parameter. Returns the
    /// questions and the saved configuration, which are files in `target/e2e`.
    pub fn deploy_guided(&self, parameters: usize) -> anyhow::Result<[String; 2]> {
        let folder = self.local.root().join("target/e2e");
        let [questions, answers, config] =
            ["guided.txt", "answers.txt", "samconfig.toml"].map(|name| folder.join(name));
        // The name and the region of the stack, and the parameters. An empty answer is the default.
        let defaults = "\n".repeat(2 + parameters);
        // Confirm the changes: no. Create roles: yes. Disable the roll-back: no. Save the answers: yes, in
        // this file, for the default environment.
        fs::write(&answers, format!("{defaults}n\ny\nn\ny\n\n\n"))?;
        fs::copy(self.local.root().join("infra/sam/samconfig.toml"), &config)?;
        let mut sam = self.local.tool("sam");
        sam.args(["deploy", "--guided", "--no-progressbar", "--config-file"]).arg(&config);
        let output = sam.stdin(File::open(&answers)?).output().context("running sam")?;
        let text = printed(&output);
        fs::write(&questions, &text)?;
        ensure!(output.status.success(), "sam deploy --guided failed; see {}", questions.display());
        Ok([text, fs::read_to_string(&config)?])
    }

    /// Runs `sam deploy` with these parameters. Other parameters keep their values.
    pub fn deploy(&self, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
        let (succeeded, text) = self.try_deploy(parameters)?;
        if !succeeded {
            // CloudFormation creates no stack from an invalid template.
            let events = self.events().unwrap_or_default();
            bail!("sam deploy of {} failed:\n{text}\n{events}", self.name);
        }
        Ok(())
    }

    /// Runs a `sam deploy` that must fail, and returns its output.
    pub fn refused(&self, parameters: &[(&str, &str)]) -> anyhow::Result<String> {
        let (succeeded, text) = self.try_deploy(parameters)?;
        if succeeded {
            bail!("sam deploy of {} with {parameters:?} succeeded, but must fail", self.name);
        }
        Ok(text)
    }

    fn try_deploy(&self, parameters: &[(&str, &str)]) -> anyhow::Result<(bool, String)> {
        let mut sam = self.local.tool("sam");
        sam.args([
            "deploy",
            "--no-confirm-changeset",
            "--no-progressbar",
            "--stack-name",
            self.name,
        ]);
        if !parameters.is_empty() {
            sam.arg("--parameter-overrides");
            // The SAM CLI takes an empty value only in quotes.
            sam.args(parameters.iter().map(|(name, value)| format!("{name}=\"{value}\"")));
        }
        let output = sam.output().context("running sam")?;
        Ok((output.status.success(), printed(&output)))
    }

    /// Changes one parameter with `UpdateStack`. `sam deploy` uses change sets, and those of
    /// ministack miss a change that only a condition makes.
    pub fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let describe = ["cloudformation", "describe-stacks", "--stack-name", self.name];
        let described = aws(self.local, &describe)?;
        let parameters = described.pointer("/Stacks/0/Parameters").and_then(Value::as_array);
        let others =
            parameters.into_iter().flatten().map(|parameter| text(parameter, "/ParameterKey"));
        let mut parameters: Vec<Value> = others
            .filter(|other| other != name)
            .map(|other| json!({"ParameterKey": other, "UsePreviousValue": true}))
            .collect();
        parameters.push(json!({"ParameterKey": name, "ParameterValue": value}));
        let update = ["cloudformation", "update-stack", "--use-previous-template", "--stack-name"];
        let rest = [self.name, "--capabilities", "CAPABILITY_IAM", "--parameters"];
        aws(self.local, &[&update[..], &rest, &[&json!(parameters).to_string()]].concat())?;
        let wait = ["cloudformation", "wait", "stack-update-complete", "--stack-name", self.name];
        aws(self.local, &wait).map(|_| ())
    }

    /// Deletes the stack and waits until CloudFormation has deleted it.
    pub fn delete(&self) -> anyhow::Result<()> {
        aws(self.local, &["cloudformation", "delete-stack", "--stack-name", self.name])?;
        let wait = ["cloudformation", "wait", "stack-delete-complete", "--stack-name", self.name];
        aws(self.local, &wait).map(|_| ())
    }

    /// The physical ID of a resource, by its logical ID.
    pub fn resource(&self, id: &str) -> anyhow::Result<String> {
        let describe = ["cloudformation", "describe-stack-resource", "--stack-name", self.name];
        let found = aws(self.local, &[&describe[..], &["--logical-resource-id", id]].concat())?;
        Ok(text(&found, "/StackResourceDetail/PhysicalResourceId"))
    }

    pub fn status(&self) -> anyhow::Result<String> {
        let described =
            aws(self.local, &["cloudformation", "describe-stacks", "--stack-name", self.name])?;
        Ok(text(&described, "/Stacks/0/StackStatus"))
    }

    pub fn outputs(&self) -> anyhow::Result<Outputs> {
        let described =
            aws(self.local, &["cloudformation", "describe-stacks", "--stack-name", self.name])?;
        let outputs = described.pointer("/Stacks/0/Outputs").and_then(Value::as_array);
        let outputs = outputs.into_iter().flatten();
        Ok(Outputs(
            outputs
                .map(|output| (text(output, "/OutputKey"), text(output, "/OutputValue")))
                .collect(),
        ))
    }

    /// The stack's events, one line for each, the latest first.
    pub fn events(&self) -> anyhow::Result<String> {
        let events = aws(
            self.local,
            &["cloudformation", "describe-stack-events", "--stack-name", self.name],
        )?;
        let events = events.pointer("/StackEvents").and_then(Value::as_array).into_iter().flatten();
        let line = |event: &Value| {
            let [resource, status, reason] =
                ["LogicalResourceId", "ResourceStatus", "ResourceStatusReason"]
                    .map(|field| text(event, &format!("/{field}")));
            format!("{status} {resource} {reason}").trim_end().to_owned()
        };
        Ok(events.map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// Everything that a program printed.
fn printed(output: &Output) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{stdout}{stderr}")
}

/// The file that the built template includes as the policy.
fn policy_file(local: &Local) -> PathBuf {
    local.root().join("target/e2e/policy.json")
}

/// Writes the shipped policy with these settings for the next deployments.
pub fn write_policy(local: &Local, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    Ok(fs::write(policy_file(local), policy_with(settings).to_string())?)
}

/// The built template without the parts that ministack refuses: the saved queries of CloudWatch
/// Logs and the pull-time exclusions, to which nothing refers; the conditions that split a list; and
/// all but the first metric of alarms on a sum of metrics.
fn for_ministack(template: &str) -> anyhow::Result<String> {
    let mut template = template.to_owned();
    for part in [
        "KeepOrRemoveReasonsQuery",
        "OpenFindingsQuery",
        "TagViolationsQuery",
        "ImagePushPullTimeExclusion",
        "ImageSweepPullTimeExclusion",
        "ScanCompletePullTimeExclusion",
        "ScannerPullTimeExclusion1",
        "ScannerPullTimeExclusion2",
        "ScannerPullTimeExclusion3",
        "ScannerPullTimeExclusion4",
        "ScannerPullTimeExclusion5",
        "HasScannerRole1",
        "HasScannerRole2",
        "HasScannerRole3",
        "HasScannerRole4",
        "HasScannerRole5",
    ] {
        template = replaced(&template, &format!("  {part}:"), "")?;
    }
    for (alarm, metric) in
        [("FunctionErrorsAlarm", "Errors"), ("FunctionThrottlesAlarm", "Throttles")]
    {
        let start = format!("  {alarm}:");
        let (before, alarm) =
            template.split_once(&start).context("the template has no such alarm")?;
        let one = format!(
            "      Namespace: AWS/Lambda\n      MetricName: {metric}\n      \
             Period: 300\n      Statistic: Sum\n"
        );
        template = [before, &start, &replaced(alarm, "      Metrics:", &one)?].concat();
    }
    Ok(template)
}

/// The template with `by` in place of the first block that begins with the line `start`. The SAM
/// CLI writes block YAML: a block ends before the first line that is neither indented further nor
/// an item of a list.
fn replaced(template: &str, start: &str, by: &str) -> anyhow::Result<String> {
    let indent = " ".repeat(start.len() - start.trim_start().len());
    let lines: Vec<&str> = template.lines().collect();
    let begin = lines.iter().position(|line| *line == start);
    let begin = begin.with_context(|| format!("the built template has no {start}"))?;
    let goes_on = |line: &str| {
        let rest = line.strip_prefix(&indent);
        line.is_empty() || rest.is_some_and(|rest| rest.starts_with([' ', '-']))
    };
    let (before, block) = lines.split_at(begin);
    let after = block.iter().skip(1).skip_while(|line| goes_on(line)).copied();
    let rest = after.collect::<Vec<_>>().join("\n");
    Ok(before.join("\n") + "\n" + by + &rest + "\n")
}

/// The outputs of a stack.
#[derive(Debug, PartialEq)]
pub struct Outputs(BTreeMap<String, String>);

impl Outputs {
    pub fn value(&self, name: &str) -> anyhow::Result<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("the stack has no output {name}"))
    }

    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Runs the AWS CLI and returns the JSON that it prints.
pub fn aws(local: &Local, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = output(local.tool("aws").args(arguments).args(["--output", "json"]))
        .with_context(|| format!("aws {}", arguments.join(" ")))?;
    Ok(serde_json::from_str(&output).unwrap_or_default())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The text at `pointer`, or an empty text if the value has no such place.
pub fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
