//! Pushes to the deployed stack: judged by the deployed function, told by its topic, undone
//! by the commands of the alert.
//!
//! The emulator takes no events of ECR, as AWS takes none from anybody else: the rule is
//! asked whether it would let one through, and the function invoked with it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::image::manifest::OCI_MANIFEST;
use serde_json::{Value, json};

use super::{Run, step};
use crate::readme;
use crate::stack::{Stack, text};

const REPOSITORY: &str = "infrastructure";

impl Run<'_> {
    pub fn pushes(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("pushes, and the alert's commands");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ImagePushFunction")?;

        let (digest, event) = self.push_manifest("litellm-1.80.6")?;
        let elsewhere = ("/detail/repository-name", "scratch");
        self.let_through(stack, "ImagePushFunctionPushed", &event, elsewhere)?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        self.equal("the alert's kind", &text(&alert, "/kind").as_str(), &"tag-violation")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        self.equal("the image is quarantined", &self.tags(&digest)?, &vec![quarantined.clone()])?;
        let listed = self.local.shell(&readme::block("aws ecr list-images")?)?;
        self.contains("and listed by the README's command", &listed, &quarantined)?;
        self.restore(&alert, "Restore it as litellm-v1.80.6")?;
        let rightly = vec!["litellm-v1.80.6".to_owned()];
        self.equal("the alert's command restores it rightly", &self.tags(&digest)?, &rightly)?;
        self.invoke(&function, &self.last_push()?)?;
        self.equal("and so it stays", &self.tags(&digest)?, &rightly)?;
        self.equal("nothing more is told", &self.receive(&inbox)?, &None)?;

        let (digest, event) = self.push_manifest("litellm-1.80.7")?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        // While the policy is in force the image is quarantined again, and never lost.
        self.restore(&alert, "as it was")?;
        self.invoke(&function, &self.last_push()?)?;
        self.equal("taken away again", &self.tags(&digest)?, &vec![quarantined.clone()])?;
        stack.deploy(&[("InfrastructureTagEnforcement", "report")])?;
        self.restore(&alert, "as it was")?;
        self.invoke(&function, &self.last_push()?)?;
        let as_it_was = vec!["litellm-1.80.7".to_owned(), quarantined];
        self.equal("the other command restores it as it was", &self.tags(&digest)?, &as_it_was)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        let action = text(&alert, "/details/action");
        self.equal("which is reported then", &action.as_str(), &"reported")?;
        self.restore(&alert, "Tag it litellm-v1.80.7 too")?;
        let rightly_too = [&as_it_was[..1], &["litellm-v1.80.7".to_owned()], &as_it_was[1..]];
        self.equal("and tagged rightly too", &self.tags(&digest)?, &rightly_too.concat())?;

        stack.deploy(&[
            ("InfrastructureTagEnforcement", "quarantine"),
            ("DeploymentsTagEnforcement", "archive"),
        ])?;
        let digest = self.push("deployments", "feature-x", 0)?;
        self.aws(&["ecr", "describe-repositories"])?;
        self.invoke(&function, &self.last_push()?)?;
        let alert = self.receive(&inbox)?.context("nothing was told")?;
        self.equal("a feature is archived", &self.status(&digest)?.as_str(), &"ARCHIVED")?;
        self.restore(&alert, "Restore it as it was")?;
        self.equal("and comes back", &self.status(&digest)?.as_str(), &"ACTIVATING")?;
        self.sampled_remedies(&function, &inbox)?;
        stack.deploy(&[("DeploymentsTagEnforcement", "report")])?;

        let mut event = self.last_push()?;
        event["detail"]["image-digest"] = json!("sha256:0");
        let Err(error) = self.invoke(&function, &event) else {
            return Err(anyhow!("an event without a digest was taken"));
        };
        let error = format!("{error:#}");
        self.contains("a bad event names its field", &error, "detail.image-digest: expected")?;
        self.remove_images(REPOSITORY)?;
        self.remove_images("deployments")
    }

    /// What follows counts images of its own.
    pub fn remove_images(&self, repository: &str) -> anyhow::Result<()> {
        let any = ["--filter", "imageStatus=ANY"];
        let list = ["ecr", "list-images", "--repository-name", repository];
        let listed = self.aws(&[&list[..], &any].concat())?;
        let ids = listed["imageIds"].as_array().into_iter().flatten();
        let digests: BTreeSet<String> =
            ids.map(|id| format!("imageDigest={}", text(id, "/imageDigest"))).collect();
        let digests: Vec<&str> = digests.iter().map(String::as_str).collect();
        let delete = ["ecr", "batch-delete-image", "--repository-name", repository, "--image-ids"];
        self.aws(&[&delete[..], &digests].concat()).map(|_| ())
    }

    /// A queue that hears what is told; gives its URL.
    pub fn inbox(&self, topic: &str) -> anyhow::Result<String> {
        let created = self.sqs(&["create-queue", "--queue-name", "inbox"])?;
        let url = text(&created, "/QueueUrl");
        let attributes = ["get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url"];
        let attributes = self.sqs(&[&attributes[..], &[&url]].concat())?;
        let arn = text(&attributes, "/Attributes/QueueArn");
        let subscribe = ["sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs"];
        self.aws(&[&subscribe[..], &["--notification-endpoint", &arn]].concat())?;
        Ok(url)
    }

    pub fn sqs(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        // Version 1 of the CLI looks for the endpoint of SQS nowhere else.
        let endpoint = ["sqs", "--endpoint-url", self.local.endpoint()];
        self.aws(&[&endpoint[..], arguments].concat())
    }

    /// The next alert, if there is one.
    pub fn receive(&self, inbox: &str) -> anyhow::Result<Option<Value>> {
        let received = self.sqs(&["receive-message", "--queue-url", inbox])?;
        let Some(message) = received.pointer("/Messages/0") else { return Ok(None) };
        let handle = text(message, "/ReceiptHandle");
        let delete = ["delete-message", "--queue-url", inbox, "--receipt-handle", &handle];
        self.sqs(&delete)?;
        let envelope: Value = serde_json::from_str(&text(message, "/Body"))?;
        Ok(Some(serde_json::from_str(&text(&envelope, "/Message"))?))
    }

    /// Waits for an alert for so long at most.
    pub fn receive_within(&self, inbox: &str, most: Duration) -> anyhow::Result<Value> {
        let started = Instant::now();
        loop {
            if let Some(alert) = self.receive(inbox)? {
                return Ok(alert);
            }
            ensure!(started.elapsed() < most, "no alert within {most:?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// An image whose manifest ends as few do and some may, with a line; gives its digest and
    /// what ECR told.
    pub fn push_manifest(&self, tag: &str) -> anyhow::Result<(String, Value)> {
        let other = self.push(REPOSITORY, &tag.replace("litellm-", "other-v"), 0)?;
        let aws = &self.local.aws;
        let ask = |operation: &str, input: &Value| {
            let answer = aws.by_hand(operation, input);
            answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
        };
        let ids = json!([{"imageDigest": other}]);
        let found = ask("BatchGetImage", &json!({"repositoryName": REPOSITORY, "imageIds": ids}))?;
        let manifest = text(&found, "/images/0/imageManifest") + "\n";
        let put = json!({
            "repositoryName": REPOSITORY,
            "imageManifest": manifest,
            "imageManifestMediaType": OCI_MANIFEST,
            "imageTag": tag,
        });
        let pushed = ask("PutImage", &put)?;
        Ok((text(&pushed, "/image/imageId/imageDigest"), self.last_push()?))
    }

    /// The last push that ECR told of.
    pub fn last_push(&self) -> anyhow::Result<Value> {
        let state = self.local.aws.state();
        let mut told = state.events.iter().rev();
        let last = told.find(|event| event["detail"]["action-type"] == "PUSH");
        last.cloned().context("ECR told of no push")
    }

    /// A deployed rule lets an event through, and not one with this changed in it.
    pub fn let_through(
        &self,
        stack: &Stack<'_>,
        rule: &str,
        event: &Value,
        changed: (&str, &str),
    ) -> anyhow::Result<()> {
        let rule_name = stack.resource(rule)?;
        let described = self.aws(&["events", "describe-rule", "--name", &rule_name])?;
        let pattern = text(&described, "/EventPattern");
        let mut other = event.clone();
        let place = other.pointer_mut(changed.0).context("the event has no such field")?;
        *place = json!(changed.1);
        for (event, expected) in [(event, true), (&other, false)] {
            let tested = self.aws(&[
                "events",
                "test-event-pattern",
                "--event-pattern",
                &pattern,
                "--event",
                &event.to_string(),
            ])?;
            self.equal(&format!("the pattern of {rule}"), &tested["Result"], &json!(expected))?;
        }
        Ok(())
    }

    /// Gives what the function answers.
    pub fn invoke(&self, function: &str, event: &Value) -> anyhow::Result<Value> {
        let folder = self.local.root().join("target/e2e");
        let (input, output) = (folder.join("event.json"), folder.join("answer.json"));
        fs::write(&input, event.to_string())?;
        let payload = format!("file://{}", input.display());
        let invoke = ["lambda", "invoke", "--function-name", function, "--payload", &payload];
        let answer = output.display().to_string();
        let invoked = self.aws(&[&invoke[..], &[&answer]].concat())?;
        let said = fs::read_to_string(output)?;
        ensure!(invoked.get("FunctionError").is_none(), "{said}");
        serde_json::from_str(&said).context(said)
    }

    /// The tags of an image, in order.
    pub fn tags(&self, digest: &str) -> anyhow::Result<Vec<String>> {
        let id = format!("imageDigest={digest}");
        let describe = ["ecr", "describe-images", "--repository-name", REPOSITORY, "--image-ids"];
        let found = self.aws(&[&describe[..], &[&id]].concat())?;
        let tags = found.pointer("/imageDetails/0/imageTags").and_then(Value::as_array);
        let mut tags: Vec<String> = tags.into_iter().flatten().map(|tag| text(tag, "")).collect();
        tags.sort();
        Ok(tags)
    }

    /// What ECR says of an image in `deployments`.
    pub fn status(&self, digest: &str) -> anyhow::Result<String> {
        let id = format!("imageDigest={digest}");
        let describe = ["ecr", "describe-images", "--repository-name", "deployments"];
        let found = self.aws(&[&describe[..], &["--image-ids", &id]].concat())?;
        Ok(text(&found, "/imageDetails/0/imageStatus"))
    }

    /// Runs the command of an alert, as it stands there.
    fn restore(&self, alert: &Value, label: &str) -> anyhow::Result<()> {
        let remedies = alert["remedies"].as_array().into_iter().flatten();
        let mut remedies = remedies.filter(|remedy| text(remedy, "/label").contains(label));
        let remedy = remedies.next().with_context(|| format!("no remedy {label:?}"))?;
        let command = self.command_of(remedy);
        self.local.shell(&command).with_context(|| command.clone())?;
        Ok(())
    }
}
