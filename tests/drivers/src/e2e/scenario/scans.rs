//! Scans of the deployed stack's images: the alerts on the topic and in Slack, and the alert's
//! command to accept a finding.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::slack;
use local_aws::snippets::snippet;
use serde_json::{Value, json};

use super::{Run, step};
use crate::stack::{Stack, text};

const REPOSITORY: &str = "infrastructure";
/// How long a message may take from the topic through the function to Slack.
const DELIVERY: Duration = Duration::from_secs(30);
/// How long a finding may take from its queue to the topic: the batch window, and the time for
/// which the function collects findings.
const QUEUED: Duration = Duration::from_secs(60);

impl Run<'_> {
    pub fn scans(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("scans, and Slack");
        self.slack(stack)?;
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ScanCompleteFunction")?;
        let channel = self.local.aws.slack();
        let _ = channel.take_messages();

        let first = self.push(REPOSITORY, "litellm-v2.0.0", 0)?;
        let old = vec![
            basic_finding("CVE-2026-1", "HIGH", "zlib", "1.3.1"),
            basic_finding("CVE-2026-2", "HIGH", "curl", "8.5.0"),
        ];
        let event = self.complete(&first, Ok(old))?;
        let other = ("/detail-type", "ECR Image Action");
        self.let_through(stack, "ScanCompleteFunctionScanned", &event, other)?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        self.equal("the alert's kind", &text(&alert, "/kind").as_str(), &"scan-findings")?;
        self.in_slack("HIGH: infrastructure:litellm-v2.0.0 has 2 findings: 2 HIGH")?;
        let listed = self.run_remedy(&alert, "List all findings", "true")?;
        self.contains("the alert's command shows all findings", &listed, "CVE-2026-2")?;
        self.invoke(&function, &event)?;
        self.equal("the same scan publishes no second alert", &self.receive(&inbox)?, &None)?;

        let accepted = json!([{
            "id": "CVE-2026-3", "until": "2099-12-31", "reason": "not reachable", "owner": "e2e",
        }]);
        let file = self.local.root().join("target/e2e/accepted.json");
        std::fs::write(&file, accepted.to_string())?;
        self.run_remedy(&alert, "Accept a finding", &format!("cp {}", file.display()))?;
        let second = self.push(REPOSITORY, "litellm-v2.0.1", 0)?;
        let found = vec![
            basic_finding("CVE-2026-1", "HIGH", "zlib", "1.3.1"),
            basic_finding("CVE-2026-3", "CRITICAL", "openssl", "3.0.17"),
            basic_finding("CVE-2026-4", "CRITICAL", "glibc", "2.36"),
        ];
        let event = self.complete(&second, Ok(found))?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        let details = &alert["details"];
        self.equal("the new finding", &details["new"], &json!(["CVE-2026-4"]))?;
        self.equal("the fixed finding", &details["fixed"], &json!(["CVE-2026-2"]))?;
        let accepted = text(&alert, "/details/accepted/0/id");
        self.equal("the accepted finding", &accepted.as_str(), &"CVE-2026-3")?;
        self.in_slack("CRITICAL: infrastructure:litellm-v2.0.1 has 1 new finding: 1 CRITICAL")?;

        let third = self.push(REPOSITORY, "litellm-v2.0.2", 0)?;
        self.invoke(&function, &self.complete(&third, Ok(Vec::new()))?)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        self.equal(
            "a scan without findings resolves the alert",
            &text(&alert, "/kind").as_str(),
            &"scan-resolved",
        )?;
        self.in_slack("infrastructure:litellm-v2.0.2 has no open findings any more")?;

        let fourth = self.push(REPOSITORY, "litellm-v2.0.3", 0)?;
        let failed = self.complete(&fourth, Err(("FAILED", "UnsupportedImageError: scratch")))?;
        self.invoke(&function, &failed)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        self.contains(
            "the alert of a failed scan has the reason",
            &text(&alert, "/text"),
            "UnsupportedImageError",
        )?;
        self.in_slack("The scan of infrastructure:litellm-v2.0.3 failed")?;

        self.inspector(stack, &function, &inbox)?;
        self.refused_by_slack(stack)?;
        self.remove_images(REPOSITORY)
    }

    /// Sends the stack's alerts to Slack from this step on. The documented commands create the
    /// secret; the deployment with its ARN is that of [`Stack::set`].
    pub fn slack(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let url = format!("{}/services/T0000000/B0000000/e2e-secret", self.local.slack());
        let file = self.local.root().join("target/e2e/webhook.txt");
        std::fs::write(&file, url + "\n")?;
        let commands = snippet("slack/webhook-secret.sh")?;
        let stub = "sam() { test \"$1\" = build || printf '%s\\n' \"$*\" > ../../deployed.txt; }";
        let script = format!(
            "mkdir -p infra/sam; {stub}\nEDITOR='cp {}'\n{commands}\ntest ! -e ../../webhook.txt\n\
             grep -q SlackWebhookSecretArn= ../../deployed.txt",
            file.display()
        );
        stack.set("SlackWebhookSecretArn", self.in_scratch(&script)?.trim_end())
    }

    /// A scan and a finding of enhanced scanning.
    fn inspector(&self, stack: &Stack<'_>, function: &str, inbox: &str) -> anyhow::Result<()> {
        let rules = r#"[{"scanFrequency":"CONTINUOUS_SCAN","repositoryFilters":[{"filter":"*","filterType":"WILDCARD"}]}]"#;
        let put = ["ecr", "put-registry-scanning-configuration", "--scan-type"];
        self.aws(&[&put[..], &["ENHANCED", "--rules", rules]].concat())?;
        let image = self.push(REPOSITORY, "openwebui-v2.0.0", 0)?;
        let one = enhanced_finding("CVE-2026-5", "HIGH", "openssl", "3.0.17", Some("3.0.18"));
        let event = self.complete(&image, Ok(vec![one]))?;
        let other = ("/detail-type", "Inspector2 Coverage");
        self.let_through(stack, "ScanCompleteFunctionScannedByInspector", &event, other)?;
        self.invoke(function, &event)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        let fixed = text(&alert, "/details/findings/0/fixed");
        self.equal(
            "the version that fixes a finding of Inspector's scan",
            &fixed.as_str(),
            &"3.0.18",
        )?;
        self.in_slack("HIGH: infrastructure:openwebui-v2.0.0 has 1 finding: 1 HIGH")?;

        let two = enhanced_finding("CVE-2026-6", "CRITICAL", "curl", "8.5.0", None);
        let event = {
            let mut state = self.local.aws.state();
            let now = state.now();
            let emitted = state.ecr().tell_of_finding(REPOSITORY, &image, &two, "ACTIVE", now);
            emitted.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
            state.ecr().events.pop().context("Inspector emitted no event of the finding")?
        };
        let suppressed = ("/detail/status", "SUPPRESSED");
        self.let_through(stack, "InspectorFindingRule", &event, suppressed)?;
        let queue = stack.resource("InspectorFindings")?;
        self.send(&queue, &event.to_string())?;
        let alert = self.receive_within(inbox, QUEUED)?;
        self.equal("Inspector's finding", &alert["details"]["new"], &json!(["CVE-2026-6"]))?;
        self.in_slack("CRITICAL: infrastructure:openwebui-v2.0.0 has 1 new finding: 1 CRITICAL")?;
        self.aws(&[&put[..], &["BASIC", "--rules", "[]"]].concat()).map(|_| ())
    }

    /// A permanent refusal by Slack is an error with the reason.
    fn refused_by_slack(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let channel = self.local.aws.slack();
        channel.always(Some(slack::Reply::Answer(404, "no_service")));
        let notifier = stack.resource("SlackNotifierFunction")?;
        let event = include_str!("../../../../../events/slack-notifier/cloudwatch-alarm.json");
        let refused = self.invoke(&notifier, &serde_json::from_str(event)?);
        channel.always(None);
        let Err(error) = refused else { bail!("the function accepted the refusal of Slack") };
        self.contains("a permanent refusal", &format!("{error:#}"), "create a new webhook")?;
        self.invoke(&notifier, &serde_json::from_str(event)?)?;
        self.in_slack("ALARM: ")
    }

    /// Waits for the one message in Slack, which must begin with `begins`. The embedded Slack checks
    /// the rules of Block Kit.
    pub fn in_slack(&self, begins: &str) -> anyhow::Result<()> {
        let channel = self.local.aws.slack();
        let mut waited = Duration::ZERO;
        loop {
            let messages: Vec<Value> = channel.take_messages();
            let refused = channel.take_refused();
            if !refused.is_empty() {
                bail!("Slack refused a message: {refused:?}");
            }
            let [message] = &messages[..] else {
                if !messages.is_empty() || waited > DELIVERY {
                    bail!("expected one message in Slack, found {}", messages.len());
                }
                sleep(Duration::from_millis(100));
                waited += Duration::from_millis(100);
                continue;
            };
            let shown = slack::render(message);
            return self.contains("and in Slack", &shown, begins);
        }
    }

    /// Completes the scan of an image. Returns ECR's event.
    fn complete(
        &self,
        digest: &str,
        outcome: Result<Vec<Value>, (&str, &str)>,
    ) -> anyhow::Result<Value> {
        let mut state = self.local.aws.state();
        let now = state.now();
        let completed = state.ecr().complete_scan(REPOSITORY, digest, outcome, now);
        completed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        state.ecr().events.pop().context("ECR emitted no event of the scan")
    }

    /// The AWS CLI form of a remedy, or its command with the tool of this build.
    pub fn command_of(&self, remedy: &Value) -> String {
        match remedy["awsCli"].as_str() {
            Some(command) => command.to_owned(),
            None => self.with_tool(&text(remedy, "/command")),
        }
    }

    /// The command with the path of the tool in place of `ecr-warden`.
    pub fn with_tool(&self, command: &str) -> String {
        match command.strip_prefix("ecr-warden ") {
            Some(arguments) => format!("{} {arguments}", self.local.program("ecr-warden")),
            None => command.to_owned(),
        }
    }

    /// Runs a command of an alert without a change, with the command `editor` as the editor. Returns
    /// its output.
    pub fn run_remedy(&self, alert: &Value, label: &str, editor: &str) -> anyhow::Result<String> {
        let remedies = alert["remedies"].as_array().into_iter().flatten();
        let mut remedies = remedies.filter(|remedy| text(remedy, "/label").starts_with(label));
        let remedy = remedies.next().with_context(|| format!("no remedy {label:?}"))?;
        let command = self.command_of(remedy);
        let script = format!("cd \"$(mktemp -d)\"; EDITOR='{editor}'; {command}");
        self.local.shell(&script).with_context(|| command.clone())
    }
}
