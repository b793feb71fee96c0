//! Pushes to the deployed stack: the deployed function judges each push, the topic delivers the
//! alert, and the commands of the alert undo the enforcement.
//!
//! The emulator accepts no events of ECR from a client. Instead, the rule's pattern is tested with
//! the event, and the function is invoked with it.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::image::manifest::OCI_MANIFEST;
use local_aws::snippets::snippet;
use serde_json::{Value, json};

use super::{Run, step};
use crate::stack::{Stack, text};

const REPOSITORY: &str = "infrastructure";

impl Run<'_> {
    pub fn pushes(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("pushes, and the alert's commands");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ImagePushFunction")?;

        let (digest, event) = self.push_manifest("litellm-1.80.6")?;
        let failed = ("/detail/result", "FAILURE");
        self.let_through(stack, "ImagePushFunctionPushed", &event, failed)?;
        let untagged = ("/detail/image-tag", "");
        self.let_through(stack, "ImagePushFunctionPushed", &event, untagged)?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        self.equal("the alert's kind", &text(&alert, "/kind").as_str(), &"tag-violation")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        self.equal("the image is quarantined", &self.tags(&digest)?, &vec![quarantined.clone()])?;
        let listed = self.local.shell(&snippet("enforcement/list-quarantined.sh")?)?;
        self.contains("the documented command lists the image", &listed, &quarantined)?;
        self.restore(&alert, "Restore the image as litellm-v1.80.6")?;
        let rightly = vec!["litellm-v1.80.6".to_owned()];
        self.equal(
            "the alert's command restores the image under the suggested tag",
            &self.tags(&digest)?,
            &rightly,
        )?;
        self.invoke(&function, &self.last_push()?)?;
        self.equal("the suggested tag stays", &self.tags(&digest)?, &rightly)?;
        self.equal("there is no second alert", &self.receive(&inbox)?, &None)?;

        let (digest, event) = self.push_manifest("litellm-1.80.7")?;
        self.invoke(&function, &event)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        let quarantined = text(&alert, "/details/quarantineTag");
        // While the policy is in force the image is quarantined again, and never lost.
        self.restore(&alert, "Restore the tag litellm-1.80.7")?;
        self.invoke(&function, &self.last_push()?)?;
        self.equal(
            "the function quarantines the image again",
            &self.tags(&digest)?,
            &vec![quarantined.clone()],
        )?;
        stack.govern(&[("platform.Tags.Enforcement", "report")])?;
        self.restore(&alert, "Restore the tag litellm-1.80.7")?;
        self.invoke(&function, &self.last_push()?)?;
        let as_it_was = vec!["litellm-1.80.7".to_owned(), quarantined];
        self.equal("the other command restores the pushed tag", &self.tags(&digest)?, &as_it_was)?;
        self.equal("a rule that only reports sends no alert", &self.receive(&inbox)?, &None)?;
        let dispatch = stack.resource("SweepDispatchFunction")?;
        self.invoke(&dispatch, &json!({"digest": "now"}))?;
        let alert = self.receive(&inbox)?.context("there is no digest")?;
        self.equal("the digest is an alert", &text(&alert, "/kind").as_str(), &"report")?;
        let listed = alert["details"].to_string();
        self.contains("the digest lists the tag", &listed, "litellm-1.80.7")?;

        stack.govern(&[("applications.Tags.Enforcement", "archive")])?;
        let digest = self.push("deployments", "feature-x", 0)?;
        self.invoke(&function, &self.last_push()?)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        self.equal(
            "an image of a feature branch is archived",
            &self.status(&digest)?.as_str(),
            &"ARCHIVED",
        )?;
        self.restore(&alert, "Restore the image from the archive")?;
        self.equal(
            "and the alert's command restores the image",
            &self.status(&digest)?.as_str(),
            &"ACTIVATING",
        )?;
        self.sampled_remedies(&function, &inbox)?;
        stack.govern(&[])?;

        let mut event = self.last_push()?;
        event["detail"]["image-digest"] = json!("sha256:0");
        let Err(error) = self.invoke(&function, &event) else {
            return Err(anyhow!("the function accepted an event without a digest"));
        };
        let error = format!("{error:#}");
        self.contains(
            "the error of a bad event names the field",
            &error,
            "detail.image-digest: expected",
        )?;
        let queued = self.waiting_sweeps(stack)?;
        self.equal("the pushes queue a sweep of each repository", &queued, &2)?;
        self.remove_images(REPOSITORY)?;
        self.remove_images("deployments")
    }

    /// Deletes every image of a repository: the next step counts its own images.
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

    /// Subscribes a queue to the topic of alerts. Returns the URL of the queue.
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
        // Version 1 of the CLI reads the endpoint of SQS only from this option.
        let endpoint = ["sqs", "--endpoint-url", self.local.endpoint()];
        self.aws(&[&endpoint[..], arguments].concat())
    }

    /// Sends a message to a queue, without the delay of the queue.
    pub fn send(&self, queue: &str, body: &str) -> anyhow::Result<()> {
        let message = ["--queue-url", queue, "--message-body", body, "--delay-seconds", "0"];
        self.sqs(&[&["send-message"], &message[..]].concat()).map(|_| ())
    }

    /// Takes the next alert from the queue, if the queue has an alert.
    pub fn receive(&self, inbox: &str) -> anyhow::Result<Option<Value>> {
        let received = self.sqs(&["receive-message", "--queue-url", inbox])?;
        let Some(message) = received.pointer("/Messages/0") else { return Ok(None) };
        let handle = text(message, "/ReceiptHandle");
        let delete = ["delete-message", "--queue-url", inbox, "--receipt-handle", &handle];
        self.sqs(&delete)?;
        let envelope: Value = serde_json::from_str(&text(message, "/Body"))?;
        Ok(Some(serde_json::from_str(&text(&envelope, "/Message"))?))
    }

    /// Waits for an alert, at most for `most`.
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

    /// Pushes an image whose manifest ends with a line feed, as a few tools write it. Returns its
    /// digest and ECR's event.
    pub fn push_manifest(&self, tag: &str) -> anyhow::Result<(String, Value)> {
        let other = self.push(REPOSITORY, &tag.replace("litellm-", "other-v"), 0)?;
        let ids = json!([{"imageDigest": other}]);
        let get = json!({"repositoryName": REPOSITORY, "imageIds": ids});
        let found = self.ecr("BatchGetImage", &get)?;
        let manifest = text(&found, "/images/0/imageManifest") + "\n";
        let put = json!({
            "repositoryName": REPOSITORY,
            "imageManifest": manifest,
            "imageManifestMediaType": OCI_MANIFEST,
            "imageTag": tag,
        });
        let pushed = self.ecr("PutImage", &put)?;
        Ok((text(&pushed, "/image/imageId/imageDigest"), self.last_push()?))
    }

    /// Calls the embedded ECR in this process.
    pub fn ecr(&self, operation: &str, input: &Value) -> anyhow::Result<Value> {
        let answer = self.local.aws.by_hand(operation, input);
        answer.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
    }

    /// The event of the last push.
    pub fn last_push(&self) -> anyhow::Result<Value> {
        // A call moves the events of pushes to the bus.
        self.ecr("DescribeRepositories", &json!({}))?;
        let state = self.local.aws.state();
        let mut events = state.events.iter().rev();
        let last = events.find(|event| event["detail"]["action-type"] == "PUSH");
        last.cloned().context("ECR emitted no event of a push")
    }

    /// Checks that a deployed rule matches the event, and no event with this field changed.
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
        let place = other
            .pointer_mut(changed.0)
            .with_context(|| format!("the event has no field {}", changed.0))?;
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

    /// Invokes a function and returns its answer.
    pub fn invoke(&self, function: &str, event: &Value) -> anyhow::Result<Value> {
        let folder = self.local.root().join("target/e2e");
        let (input, output) = (folder.join("event.json"), folder.join("answer.json"));
        fs::write(&input, event.to_string())?;
        let payload = format!("file://{}", input.display());
        let invoke = ["lambda", "invoke", "--function-name", function, "--payload", &payload];
        let answer = output.display().to_string();
        let invoked = self.aws(&[&invoke[..], &[&answer]].concat())?;
        let answer = fs::read_to_string(output)?;
        ensure!(invoked.get("FunctionError").is_none(), "{answer}");
        serde_json::from_str(&answer).context(answer)
    }

    /// The tags of an image in `infrastructure`, in alphabetical order.
    pub fn tags(&self, digest: &str) -> anyhow::Result<Vec<String>> {
        let image = self.describe(REPOSITORY, digest)?;
        let tags = image["imageTags"].as_array().into_iter().flatten();
        let mut tags: Vec<String> = tags.map(|tag| text(tag, "")).collect();
        tags.sort();
        Ok(tags)
    }

    /// The status of an image in `deployments`.
    pub fn status(&self, digest: &str) -> anyhow::Result<String> {
        Ok(text(&self.describe("deployments", digest)?, "/imageStatus"))
    }

    /// Describes an image in this process: a process of the AWS CLI takes a second to start.
    fn describe(&self, repository: &str, digest: &str) -> anyhow::Result<Value> {
        let ids = json!([{"imageDigest": digest}]);
        let input = json!({"repositoryName": repository, "imageIds": ids});
        let found = self.ecr("DescribeImages", &input)?;
        Ok(found["imageDetails"][0].clone())
    }

    /// Runs a command of an alert without a change.
    fn restore(&self, alert: &Value, label: &str) -> anyhow::Result<()> {
        let remedies = alert["remedies"].as_array().into_iter().flatten();
        let mut remedies = remedies.filter(|remedy| text(remedy, "/label").contains(label));
        let remedy = remedies.next().with_context(|| format!("no remedy {label:?}"))?;
        let command = self.command_of(remedy);
        self.local.shell(&command).with_context(|| command.clone())?;
        Ok(())
    }
}
