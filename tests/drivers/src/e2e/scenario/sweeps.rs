//! Sweeps of the deployed stack: read and explained by the README's commands, carried out by
//! its schedules and after pushes, stopped, confirmed and undone by the alerts' commands.
//!
//! There is no index among the images: the emulator's functions call without their roles, so
//! that reading one is a pull here, which keeps it.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use local_aws::inspector::{Cluster, Coverage, Orchestrator, Workload, image_arn};
use serde_json::{Value, json};

use super::{Run, step};
use crate::readme;
use crate::stack::{Stack, text};

const REPOSITORY: &str = "deployments";
const READ: &str = include_str!("../../../../../events/image-sweep/read.json");
const SCHEDULED: &str = include_str!("../../../../../events/image-sweep/scheduled.json");
/// How long a schedule may take that is due: the emulator looks every ten seconds.
const DUE: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// With Slack in the stack, which is not there any more afterwards.
    pub fn sweeps(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("sweeps, and the commands of the README and of the alerts");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ImageSweepFunction")?;
        let _ = self.local.aws.slack().take_messages();
        let roles = self.aws(&["ecr", "list-pull-time-update-exclusions"])?;
        let role = stack.resource("ImageSweepRole")?;
        self.contains("the role's pulls do not count", &roles.to_string(), &format!("/{role}\""))?;

        let planned = self.read_and_explained(&function)?;
        self.schedules(stack)?;
        let archived = self.told(&inbox, "5 images of deployments went to the archive")?;
        self.equal("what was read is what went", &self.in_archive()?, &planned)?;
        let again = self.invoke(&function, &request(SCHEDULED)?)?;
        self.equal("a second run has nothing to do", &again["planned"], &json!(0))?;
        self.equal("and is silent", &self.receive(&inbox)?, &None)?;

        let later = self.after_pushes(stack, &function, &inbox)?;
        let listed = self
            .local
            .shell(&readme::block("aws ecr describe-images --repository-name deployments")?)?;
        self.contains("the README's command lists the archive", &listed, "myapp-v1.0.0")?;
        let [.., restore] = &readme::cells("ecr-warden ")[..] else { bail!("no command restores") };
        self.contains("its command restores one", &self.tool(restore)?, "is being restored")?;
        self.equal("which is on its way", &self.status(&later)?.as_str(), &"ACTIVATING")?;
        self.run_remedy(&archived, "Restore them all", "true")?;
        for digest in &planned {
            let status = self.status(digest)?;
            self.equal("the alert's command restores each", &status.as_str(), &"ACTIVATING")?;
        }
        self.stopped(&function, &inbox)?;
        self.audited(&function, &inbox)?;
        self.in_use(stack, &function, &inbox)?;
        stack.set("SlackWebhookSecretArn", "")?;
        self.remove_images(REPOSITORY)
    }

    /// Puts images there of which five have to go, and reads that; gives them.
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
        let [plan, explain, confirm, ..] = &readme::cells("ecr-warden ")[..] else {
            bail!("the README has other commands of ecr-warden")
        };
        let plans = self.tool(&format!("{plan} --output json"))?;
        let plans: Value = serde_json::from_str(&plans)?;
        let plan = plans[0].clone();
        let told = self.invoke(function, &request(READ)?)?;
        self.equal("the README's command reads the plan", &plan, &told)?;
        self.equal("by which five go", &plan["planned"], &json!(5))?;
        self.equal("of sixteen", &plan["examined"], &json!(16))?;
        self.equal("and none went", &self.in_archive()?, &BTreeSet::new())?;
        let explained = self.tool(explain)?;
        let why = "number 12 of 14 of myapp (the newest 10 are kept)";
        self.contains("its command explains one", &explained, why)?;
        let confirmed = self.tool(confirm)?;
        self.contains("no plan waits", &confirmed, "No plan waits for a confirmation.")?;
        let removals = plan["removals"].as_array().into_iter().flatten();
        Ok(removals.map(|removal| text(removal, "/digest")).collect())
    }

    /// The schedules, each with its role and its repository; and what they do when it is time.
    fn schedules(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        let role = stack.resource("SweepScheduleRole")?;
        for (id, repository) in [
            ("SweepInfrastructureSchedule", "infrastructure"),
            ("SweepDeploymentsSchedule", "deployments"),
        ] {
            let name = stack.resource(id)?;
            let schedule = self.aws(&["scheduler", "get-schedule", "--name", &name])?;
            let expression = text(&schedule, "/ScheduleExpression");
            self.equal(
                &format!("the schedule of {repository}"),
                &expression.as_str(),
                &"rate(1 day)",
            )?;
            let input: Value = serde_json::from_str(&text(&schedule, "/Target/Input"))?;
            self.equal("its repository", &input, &json!({"repository": repository}))?;
            let of = text(&schedule, "/Target/RoleArn");
            self.contains("its role", &of, &format!(":role/ecr-warden/{role}"))?;
        }
        stack.set("CleanupSchedule", "rate(1 minute)")?;
        let started = Instant::now();
        while self.in_archive()?.is_empty() {
            if started.elapsed() > DUE {
                bail!("the schedules did not run anything");
            }
            sleep(Duration::from_millis(500));
        }
        stack.set("CleanupSchedule", "rate(1 day)")
    }

    /// The first push in an hour sweeps; gives what goes to the archive by that.
    fn after_pushes(
        &self,
        stack: &Stack<'_>,
        function: &str,
        inbox: &str,
    ) -> anyhow::Result<String> {
        let old = self.push(REPOSITORY, "myapp-v0.8.0", 130)?;
        let event = self.last_push()?;
        let deleted = ("/detail/action-type", "DELETE");
        self.let_through(stack, "ImageSweepFunctionPushed", &event, deleted)?;
        let elsewhere = ("/detail/repository-name", "scratch");
        self.let_through(stack, "ImageSweepFunctionPushed", &event, elsewhere)?;
        let swept = self.invoke(function, &event)?;
        self.equal("the first push of an hour sweeps", &swept["removed"], &json!(1))?;
        self.told(inbox, "1 image of deployments went to the archive")?;
        // An hour may begin in between.
        let others = [self.invoke(function, &event)?, self.invoke(function, &event)?];
        self.equal("another one does not", &others.contains(&Value::Null), &true)?;
        Ok(old)
    }

    /// A plan that takes too much away.
    fn stopped(&self, function: &str, inbox: &str) -> anyhow::Result<()> {
        for nth in 0..35 {
            self.push(REPOSITORY, &format!("batch-v1.{nth}.0"), 300 - nth)?;
        }
        let before = self.in_archive()?;
        let scheduled = request(SCHEDULED)?;
        self.invoke(function, &scheduled)?;
        let alert = self.told(inbox, "The cleanup of deployments was stopped")?;
        let why = text(&alert, "/details/stopped");
        self.contains("with the reason", &why, "MaxRemovePercent=25 allows fewer")?;
        self.invoke(function, &scheduled)?;
        self.equal("the same plan is told once", &self.receive(inbox)?, &None)?;
        let plan = printed(&self.run_remedy(&alert, "Read the plan", "true")?)?;
        self.equal("its command reads the plan", &plan["planned"], &json!(25))?;
        self.equal("of which nothing went", &self.in_archive()?, &before)?;
        let confirmed = self.run_remedy(&alert, "Confirm it", "true")?;
        self.contains("its command confirms it", &confirmed, "may remove these 25 images")?;
        self.equal("which removes nothing by itself", &self.in_archive()?, &before)?;
        let done = self.invoke(function, &scheduled)?;
        self.equal("the next sweep carries it out", &done["removed"], &json!(25))?;
        self.equal("all of it", &(self.in_archive()?.len() - before.len()), &25)?;
        self.told(inbox, "25 images of deployments went to the archive").map(|_| ())
    }

    /// What is not as it was deployed.
    fn audited(&self, function: &str, inbox: &str) -> anyhow::Result<()> {
        let put = ["ecr", "put-image-tag-mutability", "--repository-name", REPOSITORY];
        let set = |to| self.aws(&[&put[..], &["--image-tag-mutability", to]].concat());
        set("IMMUTABLE")?;
        self.invoke(function, &request(SCHEDULED)?)?;
        let alert = self.told(inbox, "1 thing in deployments is not as the policy says")?;
        let drift = "ImageTagMutability is IMMUTABLE, and the policy requires MUTABLE";
        let found = text(&alert, "/details/deviations/0/text");
        self.equal("what somebody changed is told", &found.as_str(), &drift)?;
        set("MUTABLE")?;
        self.invoke(function, &request(SCHEDULED)?)?;
        self.equal("and not when it is set back", &self.receive(inbox)?, &None)
    }

    /// What runs, by Inspector; and nothing without it.
    fn in_use(&self, stack: &Stack<'_>, function: &str, inbox: &str) -> anyhow::Result<()> {
        stack.set("InUseSource", "inspector")?;
        let runs = self.push(REPOSITORY, "myapp-v0.7.0", 140)?;
        let scheduled = request(SCHEDULED)?;
        self.invoke(function, &scheduled)?;
        let alert = self.told(inbox, "The cleanup of deployments was stopped")?;
        let why = text(&alert, "/details/stopped");
        self.contains("without Inspector nothing goes", &why, "has no enhanced scanning")?;

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
            let of = Orchestrator::Eks { namespace: "shop".to_owned(), owners };
            let workload = Workload { last_in_use: 0, running: 2, stopped: 0, of };
            let arn = "arn:aws:eks:us-east-1:123456789012:cluster/prod".to_owned();
            let cluster = Cluster { arn, workloads: vec![workload] };
            inspector.clusters.insert(image_arn(REPOSITORY, &runs), vec![cluster]);
        }
        let swept = self.invoke(function, &scheduled)?;
        self.equal("what runs stays", &swept["planned"], &json!(0))?;
        let explain = json!({"repository": REPOSITORY, "image": "myapp-v0.7.0"});
        let explained = text(&self.invoke(function, &explain)?, "/reason");
        let why = "2 workloads run it, according to Amazon Inspector: prod shop/web";
        self.equal("for what runs it", &explained.as_str(), &why)?;
        *self.local.aws.services().inspector() = local_aws::inspector::Inspector::default();
        self.aws(&[&put[..], &["BASIC", "--rules", "[]"]].concat())?;
        stack.set("InUseSource", "pull-time")
    }

    /// The next alert, which has to have this title: in the queue, and in Slack.
    fn told(&self, inbox: &str, title: &str) -> anyhow::Result<Value> {
        let started = Instant::now();
        let alert = loop {
            match self.receive(inbox)? {
                Some(alert) => break alert,
                None if started.elapsed() > DUE => bail!("nothing was told of {title:?}"),
                None => sleep(Duration::from_millis(500)),
            }
        };
        self.equal(&format!("told: {title}"), &text(&alert, "/title").as_str(), &title)?;
        self.in_slack(title)?;
        Ok(alert)
    }

    /// Runs a command of the tool, and gives the text that it prints.
    fn tool(&self, command: &str) -> anyhow::Result<String> {
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

/// The answer, which the commands print last.
fn printed(said: &str) -> anyhow::Result<Value> {
    let last = said.lines().last().context("nothing was printed")?;
    serde_json::from_str(last).with_context(|| last.to_owned())
}

fn request(file: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(file)?)
}
