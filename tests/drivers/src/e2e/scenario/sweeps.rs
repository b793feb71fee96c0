//! Sweeps of the deployed stack. Documented commands read and explain the plan. Rounds and messages of
//! pushes start sweeps. The commands of the alerts confirm a stopped plan and restore images.
//!
//! No image is an index: ministack's functions call ECR without their roles, so ECR records a pull
//! of each index that a function reads, and the pull keeps the index.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use local_aws::inspector::{Cluster, Coverage, Orchestrator, Workload, image_arn};
use local_aws::snippets::snippet;
use serde_json::{Value, json};

use super::{Run, step};
use crate::stack::{Stack, text};

const REPOSITORY: &str = "deployments";
const READ: &str = include_str!("../../../../../events/image-sweep/read.json");
const PUSHED: &str = include_str!("../../../../../events/image-sweep/pushed.json");
const SWEEP: &str = include_str!("../../../../../events/image-sweep/sweep.json");
/// The longest delay of a schedule that is due: the emulator starts schedules every ten seconds, and
/// then polls the queue.
const DUE: Duration = Duration::from_secs(90);

impl Run<'_> {
    /// The stack has Slack before this step, and no Slack after it.
    pub fn sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("sweeps, documented commands, and the commands of the alerts");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ImageSweepFunction")?;
        // The commands of the runbooks have published a digest.
        while self.receive(&inbox)?.is_some() {}
        let _ = self.local.aws.slack().take_messages();

        let planned = self.read_and_explained(&function)?;
        self.rounds(stack)?;
        let archived = self.alert_titled(&inbox, "The cleanup of deployments archived 5 images")?;
        self.equal("the sweep archives the images of the plan", &self.in_archive()?, &planned)?;
        let again = self.invoke(&function, &request(SWEEP)?)?;
        self.equal("a second sweep plans nothing", &again["planned"], &json!(0))?;
        self.equal("and publishes no alert", &self.receive(&inbox)?, &None)?;

        let later = self.after_pushes(&function, &inbox)?;
        let listed = self.local.shell(&snippet("cleanup/list-archived.sh")?)?;
        self.contains("the documented command lists the archive", &listed, "myapp-v1.0.0")?;
        let image = format!("{REPOSITORY}@{later}");
        let restore = snippet("cleanup/restore.sh")?.replace("deployments:myapp-v0.8.0", &image);
        let restored = self.tool(&restore)?;
        self.contains("the documented command restores an image", &restored, "is being restored")?;
        self.equal("ECR restores the image", &self.status(&later)?.as_str(), &"ACTIVATING")?;
        self.run_remedy(&archived, "Restore all images from the archive", "true")?;
        for digest in &planned {
            let status = self.status(digest)?;
            self.equal("the alert's command restores each", &status.as_str(), &"ACTIVATING")?;
        }
        self.stopped(stack, &function, &inbox)?;
        self.audited(&function, &inbox)?;
        self.in_use(stack, &function, &inbox)?;
        stack.set("SlackWebhookSecretArn", "")?;
        self.remove_images(REPOSITORY)
    }

    /// Pushes images of which a sweep removes five, and reads the plan. Returns the five digests.
    fn read_and_explained(&self, function: &str) -> anyhow::Result<BTreeSet<String>> {
        for nth in 0..12 {
            self.push(REPOSITORY, &format!("myapp-v1.{nth}.0"), 100 - nth)?;
        }
        self.push(REPOSITORY, "myapp-prod", 200)?;
        let signed = self.push(REPOSITORY, "myapp-v0.9.0", 120)?;
        {
            let mut state = self.local.aws.state();
            let at = state.now() - 120.0 * local_aws::ecr::DAY;
            let ecr = state.ecr();
            let attached = ecr
                .push_attached(REPOSITORY, &signed, ".sig", at)
                .and_then(|_| ecr.push_referrer(REPOSITORY, &signed, "application/spdx+json", at));
            attached.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        }
        let plans = self.tool(&format!("{} --output json", snippet("cleanup/plan.sh")?))?;
        let plans: Value = serde_json::from_str(&plans)?;
        let plan = plans[0].clone();
        let answer = self.invoke(function, &request(READ)?)?;
        self.equal("the documented command reads the plan", &plan, &answer)?;
        self.equal("the plan removes five images", &plan["planned"], &json!(5))?;
        self.equal("of sixteen images", &plan["examined"], &json!(16))?;
        self.equal("and removes nothing yet", &self.in_archive()?, &BTreeSet::new())?;
        let explained = self.tool(&snippet("cleanup/explain.sh")?)?;
        let why = "number 12 of 13 of myapp (the newest 10 are kept)";
        self.contains("the documented command explains an image", &explained, why)?;
        let confirmed = self.tool(&snippet("cleanup/confirm.sh")?)?;
        self.contains("no plan waits", &confirmed, "No plan waits for a confirmation.")?;
        let removals = plan["removals"].as_array().into_iter().flatten();
        Ok(removals.map(|removal| text(removal, "/digest")).collect())
    }

    /// Checks the schedule, and that a round sweeps: the schedule starts `sweep-dispatch`, whose messages
    /// start the sweeps.
    fn rounds(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let role = stack.resource("SweepScheduleRole")?;
        let name = stack.resource("SweepDispatchSchedule")?;
        let schedule = self.aws(&["scheduler", "get-schedule", "--name", &name])?;
        let expression = text(&schedule, "/ScheduleExpression");
        self.equal("the schedule of the rounds", &expression.as_str(), &"rate(1 day)")?;
        let dispatch = stack.resource("SweepDispatchFunction")?;
        let target = text(&schedule, "/Target/Arn");
        self.contains("its function", &target, &format!(":function:{dispatch}"))?;
        let role_arn = text(&schedule, "/Target/RoleArn");
        self.contains("its role", &role_arn, &format!(":role/ecr-warden/{role}"))?;
        self.release_sweeps(stack)?;
        stack.set("SweepSchedule", "rate(1 minute)")?;
        let started = Instant::now();
        while self.in_archive()?.is_empty() {
            if started.elapsed() > DUE {
                bail!("no round swept the repository within {DUE:?}");
            }
            sleep(Duration::from_millis(500));
        }
        stack.set("SweepSchedule", "rate(1 day)")?;
        self.hold_sweeps(stack)
    }

    /// Lets no message of the queue start a sweep, so that no sweep runs during another step.
    pub fn hold_sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        self.update_sweep_source(stack, "--no-enabled")?;
        self.purge_sweeps(stack)
    }

    fn release_sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        self.purge_sweeps(stack)?;
        self.update_sweep_source(stack, "--enabled")
    }

    fn update_sweep_source(&self, stack: &Stack<'_>, change: &str) -> anyhow::Result<()> {
        let function = stack.resource("ImageSweepFunction")?;
        let list = ["lambda", "list-event-source-mappings", "--function-name", &function];
        let source = text(&self.aws(&list)?, "/EventSourceMappings/0/UUID");
        let update = ["lambda", "update-event-source-mapping", "--uuid", &source, change];
        self.aws(&update).map(|_| ())
    }

    fn purge_sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        self.sqs(&["purge-queue", "--queue-url", &stack.resource("SweepQueue")?]).map(|_| ())
    }

    /// The number of messages in the queue of sweeps, also of messages that are delayed.
    pub fn waiting_sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<u32> {
        let queue = stack.resource("SweepQueue")?;
        let get = ["get-queue-attributes", "--attribute-names", "All", "--queue-url", &queue];
        let attributes = self.sqs(&get)?;
        let count = |state: &str| {
            let path = format!("/Attributes/ApproximateNumberOfMessages{state}");
            text(&attributes, &path).parse::<u32>().context(path)
        };
        Ok(count("")? + count("Delayed")? + count("NotVisible")?)
    }

    /// The message of a push starts a sweep. Returns the image that this sweep archives.
    fn after_pushes(&self, function: &str, inbox: &str) -> anyhow::Result<String> {
        let before = self.in_archive()?;
        let digest = self.push(REPOSITORY, "myapp-v9.9.0", 130)?;
        let event = self.last_push()?;
        let mut message = request(PUSHED)?;
        let source = json!({"id": event["id"], "time": event["time"]});
        let pushed = json!({"digest": digest, "source": source});
        let body = json!({"repository": REPOSITORY, "pushed": pushed});
        message["Records"][0]["body"] = body.to_string().into();
        let swept = self.invoke(function, &message)?;
        self.equal("the message of a push starts a sweep", &swept["removed"], &json!(1))?;
        self.alert_titled(inbox, "The cleanup of deployments archived 1 image")?;
        let again = self.invoke(function, &message)?;
        self.equal("a second delivery changes nothing", &again["planned"], &json!(0))?;
        // Later plans do not count the pushed image.
        let delete = ["ecr", "batch-delete-image", "--repository-name", REPOSITORY];
        self.aws(&[&delete[..], &["--image-ids", "imageTag=myapp-v9.9.0"]].concat())?;
        let mut archived = self.in_archive()?;
        archived.retain(|digest| !before.contains(digest));
        archived.pop_first().context("the sweep archived no image")
    }

    /// Removes what the ledger knows about the tags of the repository, so that the next sweep takes the push
    /// of each image, as the first sweep does. Otherwise a tag is as young as the sweep that sees it first.
    fn forget_tags(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let table = stack.resource("Ledger")?;
        let key = |fact: String| json!({"fact": {"S": fact}}).to_string();
        let records = ["tag-times", "untagged"].into_iter();
        let records = records
            .flat_map(|record| (0..8).map(move |nth| format!("{record} {REPOSITORY} {nth}")));
        for fact in records.chain([format!("pushes {REPOSITORY}")]) {
            self.aws(&["dynamodb", "delete-item", "--table-name", &table, "--key", &key(fact)])?;
        }
        let sweep = key(format!("sweep {REPOSITORY}"));
        let forget = ["--update-expression", "REMOVE last_run, listed_at"];
        let update = ["dynamodb", "update-item", "--table-name", &table, "--key", &sweep];
        self.aws(&[&update[..], &forget].concat()).map(|_| ())
    }

    /// A plan that removes more than `MaxRemovePercent` is stopped, confirmed and carried out.
    fn stopped(&self, stack: &Stack<'_>, function: &str, inbox: &str) -> anyhow::Result<()> {
        for nth in 0..35 {
            self.push(REPOSITORY, &format!("batch-v1.{nth}.0"), 300 - nth)?;
        }
        self.forget_tags(stack)?;
        let before = self.in_archive()?;
        let scheduled = request(SWEEP)?;
        self.invoke(function, &scheduled)?;
        let alert = self.alert_titled(inbox, "The cleanup of deployments was stopped")?;
        let why = text(&alert, "/details/stopped");
        self.contains("the alert has the reason", &why, "MaxRemovePercent=25 allows fewer")?;
        self.invoke(function, &scheduled)?;
        self.equal("the same plan publishes one alert", &self.receive(inbox)?, &None)?;
        let plan = printed(&self.run_remedy(&alert, "Read the plan", "true")?)?;
        self.equal("the alert's command reads the plan", &plan["planned"], &json!(25))?;
        self.equal("the stopped sweep archived nothing", &self.in_archive()?, &before)?;
        let confirmed = self.run_remedy(&alert, "Confirm the plan", "true")?;
        self.contains(
            "the alert's command confirms the plan",
            &confirmed,
            "may remove these 25 images",
        )?;
        self.equal("the confirmation archives nothing", &self.in_archive()?, &before)?;
        let done = self.invoke(function, &scheduled)?;
        self.equal("the next sweep carries the plan out", &done["removed"], &json!(25))?;
        self.equal("with every image", &(self.in_archive()?.len() - before.len()), &25)?;
        self.alert_titled(inbox, "The cleanup of deployments archived 25 images").map(|_| ())
    }

    /// A setting that somebody changed is reported, and not changed back.
    fn audited(&self, function: &str, inbox: &str) -> anyhow::Result<()> {
        let put = ["ecr", "put-image-tag-mutability", "--repository-name", REPOSITORY];
        let set = |to| self.aws(&[&put[..], &["--image-tag-mutability", to]].concat());
        set("IMMUTABLE")?;
        self.invoke(function, &request(SWEEP)?)?;
        let alert =
            self.alert_titled(inbox, "The repository deployments has 1 deviation from its policy")?;
        let drift = "ImageTagMutability is IMMUTABLE, and the policy requires MUTABLE";
        let found = text(&alert, "/details/deviations/0/text");
        self.equal("the alert has the changed setting", &found.as_str(), &drift)?;
        set("MUTABLE")?;
        self.invoke(function, &request(SWEEP)?)?;
        self.equal("there is no alert after the setting is repaired", &self.receive(inbox)?, &None)
    }

    /// With Inspector, a sweep keeps running images. Without Inspector, a sweep removes nothing.
    fn in_use(&self, stack: &Stack<'_>, function: &str, inbox: &str) -> anyhow::Result<()> {
        stack.set("InUseSources", "inspector")?;
        let runs = self.push(REPOSITORY, "myapp-v0.7.0", 140)?;
        self.forget_tags(stack)?;
        let scheduled = request(SWEEP)?;
        self.invoke(function, &scheduled)?;
        let alert = self.alert_titled(inbox, "The cleanup of deployments was stopped")?;
        let why = text(&alert, "/details/stopped");
        self.contains(
            "without Inspector a sweep removes nothing",
            &why,
            "has no enhanced scanning",
        )?;

        let put = ["ecr", "put-registry-scanning-configuration", "--scan-type"];
        let rules = r#"[{"scanFrequency":"SCAN_ON_PUSH","repositoryFilters":[{"filter":"*","filterType":"WILDCARD"}]}]"#;
        self.aws(&[&put[..], &["ENHANCED", "--rules", rules]].concat())?;
        {
            let mut inspector = self.local.aws.services().inspector();
            inspector.images.push(Coverage {
                repository: REPOSITORY.to_owned(),
                digest: runs.clone(),
                tags: vec!["myapp-v0.7.0".to_owned()],
                in_use_count: Some(2),
                last_in_use_at: None,
                pulled_at: None,
                status: ("ACTIVE", "SUCCESSFUL"),
            });
            let owners = vec![("web".to_owned(), "Deployment".to_owned())];
            let orchestrator = Orchestrator::Eks { namespace: "shop".to_owned(), owners };
            let workload = Workload { last_in_use: 0, running: 2, stopped: 0, of: orchestrator };
            let arn = "arn:aws:eks:us-east-1:123456789012:cluster/prod".to_owned();
            let cluster = Cluster { arn, workloads: vec![workload] };
            inspector.clusters.insert(image_arn(REPOSITORY, &runs), vec![cluster]);
        }
        let swept = self.invoke(function, &scheduled)?;
        self.equal("the running image stays", &swept["planned"], &json!(0))?;
        let explain = json!({"repository": REPOSITORY, "image": "myapp-v0.7.0"});
        let explained = text(&self.invoke(function, &explain)?, "/reason");
        let why = "2 workloads run it, according to Amazon Inspector: prod shop/web";
        self.equal("the reason names the workload", &explained.as_str(), &why)?;
        *self.local.aws.services().inspector() = local_aws::inspector::Inspector::default();
        self.aws(&[&put[..], &["BASIC", "--rules", "[]"]].concat())?;
        stack.set("InUseSources", "pull-time")
    }

    /// Waits for the next alert, which must have this title, in the queue and in Slack.
    fn alert_titled(&self, inbox: &str, title: &str) -> anyhow::Result<Value> {
        let started = Instant::now();
        let alert = loop {
            match self.receive(inbox)? {
                Some(alert) => break alert,
                None if started.elapsed() > DUE => {
                    bail!("there is no alert {title:?} within {DUE:?}")
                }
                None => sleep(Duration::from_millis(500)),
            }
        };
        self.equal(&format!("alert: {title}"), &text(&alert, "/title").as_str(), &title)?;
        self.in_slack(title)?;
        Ok(alert)
    }

    /// Runs a command of the tool, and returns its output.
    pub fn tool(&self, command: &str) -> anyhow::Result<String> {
        self.local.shell(&self.with_tool(command)).with_context(|| command.to_owned())
    }

    fn in_archive(&self) -> anyhow::Result<BTreeSet<String>> {
        let list = ["ecr", "list-images", "--repository-name", REPOSITORY];
        let archived = ["--filter", "imageStatus=ARCHIVED"];
        let listed = self.aws(&[&list[..], &archived].concat())?;
        let ids = listed["imageIds"].as_array().into_iter().flatten();
        Ok(ids.map(|id| text(id, "/imageDigest")).collect())
    }
}

/// The function's answer, which is the last line of the output.
fn printed(output: &str) -> anyhow::Result<Value> {
    let last = output.lines().last().context("the command printed nothing")?;
    serde_json::from_str(last).with_context(|| last.to_owned())
}

fn request(file: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(file)?)
}
