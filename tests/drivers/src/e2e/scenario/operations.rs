//! The documented commands of operators and pipelines. Docker, `kubectl` and `sam local` are replaced
//! by functions of the shell.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use local_aws::snippets::snippet;
use serde_json::{Value, json};

use super::{Run, step};
use crate::stack::{Stack, text};

const REPOSITORY: &str = "infrastructure";
/// The longest time that an asynchronous invocation may take.
const TAKEN: Duration = Duration::from_secs(60);
/// The OIDC providers of the roles for workflows and pods.
pub const GITHUB: &str =
    "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com";
pub const EKS: &str = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF";

impl Run<'_> {
    pub fn operations(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("documented commands of operators and pipelines");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        self.dashboard(stack)?;
        self.restored(stack, &inbox)?;
        self.replayed(stack, &inbox)?;
        self.waited()?;
        self.checked()?;
        self.admitted(stack)?;
        self.packaged()?;
        self.attached_by_hand()?;
        self.provider()?;
        self.invoked_locally()?;
        self.local.shell(&snippet("security/cloudtrail.sh")?)?;
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
        self.contains("and has a URL", &url, &format!("#dashboards/dashboard/{name}"))
    }

    /// Restores an image from quarantine without the alert's command.
    fn restored(&self, stack: &Stack<'_>, inbox: &str) -> anyhow::Result<()> {
        let (digest, event) = self.push_manifest("litellm-1.90.0")?;
        self.invoke(&stack.resource("ImagePushFunction")?, &event)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        let restore = snippet("enforcement/restore-quarantined.sh")?;
        self.local
            .shell(&format!("{restore}\nrestore {REPOSITORY} {quarantined} litellm-v1.90.0"))?;
        let tags = self.tags(&digest)?;
        self.equal("an image is restored by hand", &tags, &vec!["litellm-v1.90.0".to_owned()])?;
        let get = snippet("kubernetes/image-digest.sh")?;
        let get = get.replace("litellm-v1.80.5", "litellm-v1.90.0");
        let printed = self.local.shell(&get)?;
        self.equal("its digest for a manifest", &printed.trim_end(), &digest.as_str())?;

        let (digest, event) = self.push_manifest("litellm-1.90.3")?;
        self.invoke(&stack.resource("ImagePushFunction")?, &event)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        let restore = snippet("operate/restore-tag.sh")?;
        let (image, _) = restore.split_once(" --tag ").context("the command adds no tag")?;
        let (_, documented) = image.rsplit_once(':').context("the command names no tag")?;
        let restore = restore.replace(documented, &text(&alert, "/details/quarantineTag"));
        let restore = restore.replace("litellm-v1.80.5", "litellm-v1.90.3");
        self.local.shell(&self.with_tool(&restore)).with_context(|| restore.clone())?;
        let has_tag = self.tags(&digest)?.contains(&"litellm-v1.90.3".to_owned());
        self.equal("the tool adds the correct tag", &has_tag, &true)
    }

    /// Replays events that failed three times, in the form that Lambda writes to the queue.
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
                "responsePayload": {"errorMessage": "publishing the alert: a defect", "errorType": "ecr-warden"},
            });
            let file = self.local.root().join("target/e2e/failed.json");
            fs::write(&file, failed.to_string())?;
            self.send(&queue, &format!("file://{}", file.display()))?;
        }
        self.in_scratch(&format!("{AWS}\n{}\nreplay", snippet("operate/replay.sh")?))?;
        let mut replayed = BTreeSet::new();
        let started = Instant::now();
        while replayed.len() < 2 && started.elapsed() < TAKEN {
            replayed.extend(self.receive(inbox)?.map(|alert| text(&alert, "/details/tag")));
            sleep(Duration::from_millis(200));
        }
        let both = ["litellm-1.90.1", "litellm-1.90.2"].map(str::to_owned);
        self.equal("the function handles the replayed events", &replayed, &both.into())?;
        let left = self.sqs(&["receive-message", "--queue-url", &queue])?;
        self.equal("the queue is empty", &left.get("Messages"), &None)?;
        let event = serde_json::to_string(&self.last_push()?)?;
        let invoke = snippet("operate/invoke-again.sh")?;
        self.in_scratch(&format!("printf '%s' '{event}' > event.json\n{invoke}"))?;
        self.passed("the SAM CLI invokes the function with one event");
        Ok(())
    }

    /// Runs the step of the workflow that waits for the scan.
    fn waited(&self) -> anyhow::Result<()> {
        let workflow = snippet("github-actions/image.yaml")?;
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
            let found = scan.map(|findings| findings.as_array().cloned().unwrap_or_default());
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
            let printed = self.local.shell(&wait)?;
            self.contains("the workflow waits for the scan", &printed, expected)?;
        }
        Ok(())
    }

    /// Judges tags before a push, by the deployed policy and by a changed policy.
    fn checked(&self) -> anyhow::Result<()> {
        let check = self.with_built_tool(&snippet("check/check.sh")?);
        let printed = self.local.shell(&format!("({check}) || echo \"exit $?\""))?;
        let documented = snippet("check/check.txt")?;
        self.contains("ecr-warden judges by the stack's policy", &printed, &documented)?;
        self.contains("a violation has the exit code 1", &printed, "exit 1")?;
        self.push("deployments", "myapp-v1.0.0", 0)?;
        self.push("deployments", "myapp-prod", 0)?;
        let output = snippet("outputs/output.sh")?;
        let change = self.with_built_tool(&snippet("policy/change.sh")?);
        let printed = self.local.shell(&format!("{output}\ncd ../..\nEDITOR=true\n{change}"));
        fs::remove_file(self.local.root().join("policy.yaml"))?;
        self.contains("and by a policy that is not deployed", &printed?, "deployments:myapp-v1.0.0")
    }

    /// The script with the tool of this build in place of `cargo run`, which would compile the tool
    /// with other features.
    fn with_built_tool(&self, script: &str) -> String {
        let tool = self.local.program("ecr-warden");
        ["cargo run -p ecr-warden --", "cargo run --quiet --package ecr-warden --"]
            .iter()
            .fold(script.to_owned(), |script, cargo| script.replace(cargo, &tool))
    }

    /// Reads the constraint that the documented command applies with `kubectl`.
    fn admitted(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let output = snippet("outputs/output.sh")?;
        let constraint = snippet("kubernetes/gatekeeper.sh")?;
        let read = "kubectl() { python -c 'import json, sys, yaml; \
                    print(json.dumps(yaml.safe_load(open(sys.argv[1]))))' \"$3\"; }";
        let printed = self.in_scratch(&format!("{output}\n{read}\n{constraint}"))?;
        let constraint: Value = serde_json::from_str(&printed)?;
        let repos = constraint["spec"]["parameters"]["repos"].to_string();
        let allowed = stack.outputs()?.value("GatekeeperAllowedRepos")?.to_owned();
        let allowed: Value = serde_json::from_str(&allowed)?;
        self.equal("Gatekeeper admits these repositories", &repos, &allowed.to_string())?;
        self.equal(
            "the constraint has the kind of Gatekeeper's library",
            &text(&constraint, "/kind").as_str(),
            &"K8sAllowedRepos",
        )
    }

    /// Packages the template for a stack set.
    fn packaged(&self) -> anyhow::Result<()> {
        let package = snippet("many-accounts/package.sh")?;
        let translate = snippet("many-accounts/translate.sh")?;
        let print = "cat translated.yaml; rm translated.yaml infra/sam/packaged.yaml";
        let printed =
            self.local.shell(&format!("{package} >&2\ncd ../..\n{translate}\n{print}"))?;
        self.contains("the template is packaged and translated", &printed, "S3Bucket")?;
        self.contains("with the policy in it", &printed, "Name: platform")?;
        self.equal("and without a transform", &printed.contains("Transform"), &false)
    }

    /// Attaches the push/pull policy to a role that `CiCdRoleArns` does not name.
    fn attached_by_hand(&self) -> anyhow::Result<()> {
        let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
        let role = ["--role-name", "your-cicd-role"];
        let create = ["iam", "create-role", "--assume-role-policy-document", &trust];
        self.aws(&[&create[..], &role].concat())?;
        let (output, attach) =
            (snippet("outputs/output.sh")?, snippet("access/attach-push-policy.sh")?);
        self.local.shell(&format!("{output}\n{attach}"))?;
        let attached = self.attached(role[1])?;
        self.equal("the policy is attached by hand", &attached.len(), &1)?;
        let detach = ["iam", "detach-role-policy", "--policy-arn", &attached[0]];
        self.aws(&[&detach[..], &role].concat())?;
        self.aws(&[&["iam", "delete-role"][..], &role].concat()).map(|_| ())
    }

    /// Creates the OIDC provider of GitHub.
    fn provider(&self) -> anyhow::Result<()> {
        let created = self.local.shell(&snippet("access/github-oidc-provider.sh")?)?;
        self.contains("the OIDC provider of GitHub exists", &created, GITHUB)
    }

    /// Writes the environment of a function for `sam local invoke`, which needs Docker.
    fn invoked_locally(&self) -> anyhow::Result<()> {
        let invoke = snippet("local-aws/sam-local.sh")?;
        let (_, event) = invoke.rsplit_once("--event ").context("the command has no event")?;
        let event = self.local.root().join("infra/sam").join(event);
        ensure!(event.is_file(), "{} is no file", event.display());
        let printed = self.in_scratch(&format!("sam() {{ cat env.json; }}\n{invoke}"))?;
        let environment: Value = serde_json::from_str(&printed)?;
        let version = text(&environment, "/Parameters/POLICY_VERSION");
        self.equal("the environment for sam local", &version.len(), &16)
    }

    /// Checks the roles for workflows and pods in IAM.
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
            self.contains(&format!("the trust of {id}"), &trust, subject)?;
        }
        let attached = self.attached(&stack.resource("GitHubRole")?)?;
        let policy = outputs.value("EcrPushPullPolicyArn")?.to_owned();
        self.equal("the role for workflows has the push/pull policy", &attached, &vec![policy])?;
        let traced = stack.resource("ImagePushFunction")?;
        let configured =
            self.aws(&["lambda", "get-function-configuration", "--function-name", &traced])?;
        let mode = text(&configured, "/TracingConfig/Mode");
        self.equal("invocations are traced", &mode.as_str(), &"Active")
    }

    /// Runs a script in an empty folder, and returns its output.
    pub fn in_scratch(&self, script: &str) -> anyhow::Result<String> {
        let printed = self.local.shell(&format!("cd \"$(mktemp -d)\"\n{script}"));
        printed.with_context(|| format!("the script failed:\n{script}"))
    }
}

/// The AWS CLI. Its version 1 reads the endpoint of SQS only from the option.
pub const AWS: &str = "aws() { if [ \"$1\" = sqs ]; then \
                   command aws --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"; \
                   else command aws \"$@\"; fi; }";
