//! Scans of the deployed stack's images: told by its topic and in Slack, and accepted by the
//! command of the alert.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::slack;
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
        let elsewhere = ("/detail/repository-name", "scratch");
        self.let_through(stack, "ScanCompleteFunctionScanned", &event, elsewhere)?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        self.equal("the alert's kind", &text(&alert, "/kind").as_str(), &"scan-findings")?;
        self.in_slack("HIGH: 2 findings in infrastructure:litellm-v2.0.0: 2 HIGH")?;
        let listed = self.run_remedy(&alert, "See all findings", "true")?;
        self.contains("the alert's command shows all findings", &listed, "CVE-2026-2")?;
        self.invoke(&function, &event)?;
        self.equal("the same again is not told", &self.receive(&inbox)?, &None)?;

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
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        let details = &alert["details"];
        self.equal("what is new", &details["new"], &json!(["CVE-2026-4"]))?;
        self.equal("what is gone", &details["fixed"], &json!(["CVE-2026-2"]))?;
        let accepted = text(&alert, "/details/accepted/0/id");
        self.equal("what is accepted", &accepted.as_str(), &"CVE-2026-3")?;
        self.in_slack("CRITICAL: 1 new finding in infrastructure:litellm-v2.0.1: 1 CRITICAL")?;

        let third = self.push(REPOSITORY, "litellm-v2.0.2", 0)?;
        self.invoke(&function, &self.complete(&third, Ok(Vec::new()))?)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        self.equal("a clean one ends it", &text(&alert, "/kind").as_str(), &"scan-resolved")?;
        self.in_slack("infrastructure:litellm-v2.0.2 has no open findings any more")?;

        let fourth = self.push(REPOSITORY, "litellm-v2.0.3", 0)?;
        let failed = self.complete(&fourth, Err(("FAILED", "UnsupportedImageError: scratch")))?;
        self.invoke(&function, &failed)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        self.contains("a failure has its reason", &text(&alert, "/text"), "UnsupportedImageError")?;
        self.in_slack("The scan of infrastructure:litellm-v2.0.3 failed")?;

        self.inspector(stack, &function, &inbox)?;
        self.refused_by_slack(stack)?;
        self.remove_images(REPOSITORY)
    }

    /// Brings the stack's alerts to Slack from now on.
    pub fn slack(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let url = format!("{}/services/T0000000/B0000000/e2e-secret", self.local.slack());
        // As a file, as people do it: the CLI would fetch a URL.
        let file = self.local.root().join("target/e2e/webhook.txt");
        std::fs::write(&file, url + "\n")?;
        let value = format!("file://{}", file.display());
        let secret = ["secretsmanager", "create-secret", "--name", "ecr-warden/slack"];
        let secret = self.aws(&[&secret[..], &["--secret-string", &value]].concat())?;
        stack.set("SlackWebhookSecretArn", &text(&secret, "/ARN"))
    }

    /// The scan and a finding of enhanced scanning.
    fn inspector(&self, stack: &Stack<'_>, function: &str, inbox: &str) -> anyhow::Result<()> {
        let rules = r#"[{"scanFrequency":"CONTINUOUS_SCAN","repositoryFilters":[{"filter":"*","filterType":"WILDCARD"}]}]"#;
        let put = ["ecr", "put-registry-scanning-configuration", "--scan-type"];
        self.aws(&[&put[..], &["ENHANCED", "--rules", rules]].concat())?;
        let image = self.push(REPOSITORY, "openwebui-v2.0.0", 0)?;
        let one = enhanced_finding("CVE-2026-5", "HIGH", "openssl", "3.0.17", Some("3.0.18"));
        let event = self.complete(&image, Ok(vec![one]))?;
        let other = "arn:aws:ecr:us-east-1:123456789012:repository/scratch";
        let elsewhere = ("/detail/repository-name", other);
        self.let_through(stack, "ScanCompleteFunctionScannedByInspector", &event, elsewhere)?;
        self.invoke(function, &event)?;
        let alert = self.receive(inbox)?.context("nothing was told")?;
        let fixed = text(&alert, "/details/findings/0/fixed");
        self.equal("Inspector's scan, with the fix", &fixed.as_str(), &"3.0.18")?;
        self.in_slack("HIGH: 1 finding in infrastructure:openwebui-v2.0.0: 1 HIGH")?;

        let two = enhanced_finding("CVE-2026-6", "CRITICAL", "curl", "8.5.0", None);
        let event = {
            let mut state = self.local.aws.state();
            let now = state.now();
            let told = state.ecr().tell_of_finding(REPOSITORY, &image, &two, "ACTIVE", now);
            told.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
            state.ecr().events.pop().context("Inspector told of no finding")?
        };
        let lower = ("/detail/severity", "MEDIUM");
        self.let_through(stack, "InspectorFindingRule", &event, lower)?;
        let queue = stack.resource("InspectorFindings")?;
        let body = event.to_string();
        self.sqs(&["send-message", "--queue-url", &queue, "--message-body", &body])?;
        let alert = self.receive_within(inbox, QUEUED)?;
        self.equal("Inspector's finding", &alert["details"]["new"], &json!(["CVE-2026-6"]))?;
        self.in_slack("CRITICAL: 1 new finding in infrastructure:openwebui-v2.0.0: 1 CRITICAL")?;
        self.aws(&[&put[..], &["BASIC", "--rules", "[]"]].concat()).map(|_| ())
    }

    /// What Slack refuses for good is an error with the reason.
    fn refused_by_slack(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let channel = self.local.aws.slack();
        channel.always(Some(slack::Reply::Answer(404, "no_service")));
        let notifier = stack.resource("SlackNotifierFunction")?;
        let event = include_str!("../../../../../events/slack-notifier/cloudwatch-alarm.json");
        let refused = self.invoke(&notifier, &serde_json::from_str(event)?);
        channel.always(None);
        let Err(error) = refused else { bail!("what Slack has refused was taken") };
        self.contains("a refusal for good", &format!("{error:#}"), "make a new webhook")?;
        self.invoke(&notifier, &serde_json::from_str(event)?)?;
        self.in_slack("ALARM: ")
    }

    /// Waits for a message in Slack, which has to begin like this; it was held to Slack's rules.
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
                    bail!("expected one message in Slack, not {}", messages.len());
                }
                sleep(Duration::from_millis(100));
                waited += Duration::from_millis(100);
                continue;
            };
            let shown = slack::render(message);
            return self.contains("and in Slack", &shown, begins);
        }
    }

    /// The scan of an image is complete; gives what is told of it.
    fn complete(
        &self,
        digest: &str,
        outcome: Result<Vec<Value>, (&str, &str)>,
    ) -> anyhow::Result<Value> {
        let mut state = self.local.aws.state();
        let now = state.now();
        let completed = state.ecr().complete_scan(REPOSITORY, digest, outcome, now);
        completed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        state.ecr().events.pop().context("ECR told of no scan")
    }

    /// The AWS CLI form of a remedy; where it has none, the command of the tool that was built.
    pub fn command_of(&self, remedy: &Value) -> String {
        match remedy["awsCli"].as_str() {
            Some(command) => command.to_owned(),
            None => self.with_tool(&text(remedy, "/command")),
        }
    }

    /// A command with the tool that was built, if it is one of `ecr-warden`.
    pub fn with_tool(&self, command: &str) -> String {
        match command.strip_prefix("ecr-warden ") {
            Some(arguments) => format!("{} {arguments}", self.local.program("ecr-warden")),
            None => command.to_owned(),
        }
    }

    /// Runs the command of an alert, as it stands there, with an editor that is a command; gives
    /// what it printed.
    pub fn run_remedy(&self, alert: &Value, label: &str, editor: &str) -> anyhow::Result<String> {
        let remedies = alert["remedies"].as_array().into_iter().flatten();
        let mut remedies = remedies.filter(|remedy| text(remedy, "/label").starts_with(label));
        let remedy = remedies.next().with_context(|| format!("no remedy {label:?}"))?;
        let command = self.command_of(remedy);
        let script = format!("cd \"$(mktemp -d)\"; EDITOR='{editor}'; {command}");
        self.local.shell(&script).with_context(|| command.clone())
    }
}
