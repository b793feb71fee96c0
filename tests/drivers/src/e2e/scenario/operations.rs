//! The README's commands of those who operate the stack, and of their pipelines: as they stand
//! there, but for Docker, `kubectl` and what no emulator has.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use super::{Run, step};
use crate::readme;
use crate::stack::{Stack, text};

const REPOSITORY: &str = "infrastructure";
/// How long an event may take that is handed to a function asynchronously.
const TAKEN: Duration = Duration::from_secs(60);
/// Providers of tokens, for the roles of workflows and pods.
pub const GITHUB: &str =
    "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
pub const EKS: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";

impl Run<'_> {
    pub fn operations(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("the README's commands to operate the stack");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        self.dashboard(stack)?;
        self.restored(stack, &inbox)?;
        self.replayed(stack, &inbox)?;
        self.waited()?;
        self.checked()?;
        self.admitted(stack)?;
        self.packaged()?;
        self.local.shell(&readme::block("aws cloudtrail lookup-events")?)?;
        self.passed("calls are looked up in CloudTrail");
        self.remove_images(REPOSITORY)?;
        self.remove_images("deployments")
    }

    fn dashboard(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let name = stack.resource("Dashboard")?;
        let got = self.aws(&["cloudwatch", "get-dashboard", "--dashboard-name", &name])?;
        let body: Value = serde_json::from_str(&text(&got, "/DashboardBody"))?;
        let function = stack.resource("ImageSweepFunction")?;
        self.contains("the dashboard shows the functions", &body.to_string(), &function)?;
        let url = stack.outputs()?.value("DashboardUrl")?.to_owned();
        self.contains("and has an address", &url, &format!("#dashboards/dashboard/{name}"))
    }

    /// Out of quarantine, without the alert's command.
    fn restored(&self, stack: &Stack<'_>, inbox: &str) -> anyhow::Result<()> {
        let (digest, event) = self.push_manifest("litellm-1.90.0")?;
        self.invoke(&stack.resource("ImagePushFunction")?, &event)?;
        let alert = self.receive(inbox)?.context("nothing was told")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        let restore = readme::block("restore() {")?;
        self.local
            .shell(&format!("{restore}\nrestore {REPOSITORY} {quarantined} litellm-v1.90.0"))?;
        let tags = self.tags(&digest)?;
        self.equal("an image is restored by hand", &tags, &vec!["litellm-v1.90.0".to_owned()])?;
        let get = readme::block("aws ecr describe-images --repository-name infrastructure")?;
        let get = get.replace("litellm-v1.80.5", "litellm-v1.90.0");
        let said = self.local.shell(&get)?;
        self.equal("its digest for a manifest", &said.trim_end(), &digest.as_str())
    }

    /// What failed for good, as Lambda hands it on, is done in the end.
    fn replayed(&self, stack: &Stack<'_>, inbox: &str) -> anyhow::Result<()> {
        let queue = stack.resource("FailedEvents")?;
        let function = stack.resource("ImagePushFunction")?;
        let described =
            self.aws(&["lambda", "get-function-configuration", "--function-name", &function])?;
        for tag in ["litellm-1.90.1", "litellm-1.90.2"] {
            let (_, event) = self.push_manifest(tag)?;
            // https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
            let failed = json!({
                "version": "1.0",
                "timestamp": "2026-11-24T12:00:00.000Z",
                "requestContext": {
                    "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
                    "functionArn": text(&described, "/FunctionArn"),
                    "condition": "RetriesExhausted",
                    "approximateInvokeCount": 3,
                },
                "requestPayload": event,
                "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
                "responsePayload": {"errorMessage": "telling: a defect", "errorType": "ecr-warden"},
            });
            let file = self.local.root().join("target/e2e/failed.json");
            fs::write(&file, failed.to_string())?;
            let body = format!("file://{}", file.display());
            self.sqs(&["send-message", "--queue-url", &queue, "--message-body", &body])?;
        }
        self.in_scratch(&format!("{AWS}\n{}\nreplay", readme::block("replay() {")?))?;
        let mut told = BTreeSet::new();
        let started = Instant::now();
        while told.len() < 2 && started.elapsed() < TAKEN {
            told.extend(self.receive(inbox)?.map(|alert| text(&alert, "/details/tag")));
            sleep(Duration::from_millis(200));
        }
        let both = ["litellm-1.90.1", "litellm-1.90.2"].map(str::to_owned);
        self.equal("events that had failed are done", &told, &both.into())?;
        let left = self.sqs(&["receive-message", "--queue-url", &queue])?;
        self.equal("and the queue is empty", &left.get("Messages"), &None)?;
        let event = serde_json::to_string(&self.last_push()?)?;
        let invoke = readme::block("sam remote invoke")?;
        self.in_scratch(&format!("printf '%s' '{event}' > event.json\n{invoke}"))?;
        self.passed("and one by one with the SAM CLI");
        Ok(())
    }

    /// The step of the workflow that waits for the scan.
    fn waited(&self) -> anyhow::Result<()> {
        let workflow = readme::fenced("yaml", "name: Image")?;
        let (_, script) = workflow
            .split_once("name: Wait for the scan\n        run: |\n")
            .context("the workflow has no such step")?;
        let script: Vec<&str> = script.lines().map(str::trim_start).collect();
        let file = self.local.root().join("target/e2e/wait-for-scan.sh");
        fs::write(&file, script.join("\n"))?;
        let severe = json!([{"name": "CVE-2026-9999", "severity": "CRITICAL"}]);
        for (tag, scan, expected) in [
            ("litellm-v1.91.0", Ok(json!([])), "litellm-v1.91.0: COMPLETE"),
            ("litellm-v1.91.1", Ok(severe), "exit 1"),
            (
                "litellm-v1.91.2",
                Err(("FAILED", "no layers")),
                "litellm-v1.91.2 is not scanned: FAILED",
            ),
        ] {
            let digest = self.push(REPOSITORY, tag, 0)?;
            let found = scan.map(|it| it.as_array().cloned().unwrap_or_default());
            {
                let mut state = self.local.aws.state();
                let now = state.now();
                let done = state.ecr().complete_scan(REPOSITORY, &digest, found, now);
                done.map_err(|error| anyhow!("{}", error.message))?;
            }
            let wait = format!(
                "export REPOSITORY={REPOSITORY} TAG={tag}\nbash -e {} || echo \"exit $?\"",
                file.display()
            );
            let said = self.local.shell(&wait)?;
            self.contains("the workflow waits for the scan", &said, expected)?;
        }
        Ok(())
    }

    /// Tags judged before a push, by the policy that is deployed, and by one that is not.
    fn checked(&self) -> anyhow::Result<()> {
        let check = self.with_built_tool(&readme::block("cargo run -p ecr-warden -- check")?);
        let said = self.local.shell(&format!("({check}) || echo \"exit $?\""))?;
        self.contains("ecr-warden judges by the stack's policy", &said, "litellm-v1.80.5")?;
        self.contains("and says so by its exit", &said, "exit 1")?;
        self.push("deployments", "myapp-v1.0.0", 0)?;
        self.push("deployments", "myapp-prod", 0)?;
        let output = readme::block("output() {")?;
        let change = self.with_built_tool(&readme::block("output Governance > policy.json")?);
        let said = self.local.shell(&format!("{output}\nEDITOR=true\n{change}"));
        fs::remove_file(self.local.root().join("infra/sam/policy.json"))?;
        self.contains("and by one that is not deployed yet", &said?, "deployments:myapp-v1.0.0")
    }

    /// The script with the tool as it was built with this program, in the place of `cargo run`,
    /// which would compile it again with other features.
    fn with_built_tool(&self, script: &str) -> String {
        let tool = self.local.program("ecr-warden");
        ["cargo run -p ecr-warden --", "cargo run --quiet --package ecr-warden --"]
            .iter()
            .fold(script.to_owned(), |script, cargo| script.replace(cargo, &tool))
    }

    /// The constraint for Gatekeeper.
    fn admitted(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let output = readme::block("output() {")?;
        let constraint = readme::block("cat > allowed-repos.yaml")?;
        let read = "kubectl() { python -c 'import json, sys, yaml; \
                    print(json.dumps(yaml.safe_load(open(sys.argv[1]))))' \"$3\"; }";
        let said = self.in_scratch(&format!("{output}\n{read}\n{constraint}"))?;
        let constraint: Value = serde_json::from_str(&said)?;
        let repos = constraint["spec"]["parameters"]["repos"].to_string();
        let allowed = stack.outputs()?.value("GatekeeperAllowedRepos")?.to_owned();
        let allowed: Value = serde_json::from_str(&allowed)?;
        self.equal("Gatekeeper admits these repositories", &repos, &allowed.to_string())?;
        self.equal(
            "by its library's kind",
            &text(&constraint, "/kind").as_str(),
            &"K8sAllowedRepos",
        )
    }

    /// For accounts that are not deployed to by hand.
    fn packaged(&self) -> anyhow::Result<()> {
        let package = readme::block("sam package")?;
        let translate = "python ../../tests/drivers/translate.py packaged.yaml; rm packaged.yaml";
        let said = self.local.shell(&format!("{package} >&2\n{translate}"))?;
        self.contains("the template is packaged, and translated", &said, "S3Bucket")
    }

    /// The roles of workflows and of pods, as IAM has them.
    pub fn roles(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let outputs = stack.outputs()?;
        for (id, subject) in [
            ("GitHubRole", "repo:octo-org@1/images@2:ref:refs/heads/main"),
            ("EksPullRole", "system:serviceaccount:ci:kaniko"),
        ] {
            let role = stack.resource(id)?;
            let arn = outputs.value(&format!("{id}Arn"))?;
            self.contains(
                &format!("the output {id}Arn"),
                arn,
                &format!(":role/ecr-warden/{role}"),
            )?;
            let got = self.aws(&["iam", "get-role", "--role-name", &role])?;
            let trust = text(&got, "/Role/AssumeRolePolicyDocument");
            self.contains(&format!("whom {id} trusts"), &trust, subject)?;
        }
        let attached = self.attached(&stack.resource("GitHubRole")?)?;
        let policy = outputs.value("EcrPushPullPolicyArn")?.to_owned();
        self.equal("workflows push and pull", &attached, &vec![policy])?;
        let traced = stack.resource("ImagePushFunction")?;
        let configured =
            self.aws(&["lambda", "get-function-configuration", "--function-name", &traced])?;
        let mode = text(&configured, "/TracingConfig/Mode");
        self.equal("invocations are traced", &mode.as_str(), &"Active")
    }

    /// What a shell says in a folder of its own.
    fn in_scratch(&self, script: &str) -> anyhow::Result<String> {
        let said = self.local.shell(&format!("cd \"$(mktemp -d)\"\n{script}"));
        match said {
            Ok(said) => Ok(said),
            Err(error) => bail!("{error:#}, of\n{script}"),
        }
    }
}

/// The AWS CLI, whose version 1 looks for the endpoint of SQS nowhere else.
const AWS: &str = "aws() { if [ \"$1\" = sqs ]; then \
                   command aws --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"; \
                   else command aws \"$@\"; fi; }";
