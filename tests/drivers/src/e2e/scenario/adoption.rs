//! The adoption of a registry of 300 repositories that the stack did not create, by a policy of forty rules.
//! The documented commands list, deploy, read and confirm. No repository changes until its rule enforces.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::DAY;
use local_aws::snippets::snippet;
use local_aws::template::Template;
use serde_json::{Value, json};

use super::{LIFECYCLE, Run, step};
use crate::local::{ACCOUNT, REGION};
use crate::stack::{Stack, text, write_policy};

/// A repository that somebody creates after the deployment of the policy.
const NEW: &str = "payments/new";
const REPOSITORIES: usize = 300;
/// The number of teams that have a rule beside the two documented rules.
const TEAMS: usize = 36;
/// The repositories of the documented rule that enforces in the end.
const PAYMENTS: usize = 3;
/// The versions of each repository of `payments`, of which the rule keeps twenty.
const VERSIONS: u32 = 22;

/// Everything that ECR has about a repository.
type State = BTreeMap<String, Value>;

fn names() -> Vec<String> {
    let name = |nth: usize| match nth {
        nth if nth < PAYMENTS => format!("payments/app-{nth}"),
        nth if nth < 10 => format!("search/app-{nth}"),
        nth => format!("team-{:02}/app-{nth}", nth % TEAMS),
    };
    (0..REPOSITORIES).map(name).collect()
}

/// The repositories of `payments` that are older than the deployment.
fn payments() -> impl Iterator<Item = String> {
    (0..PAYMENTS).map(|nth| format!("payments/app-{nth}"))
}

/// The rules of the shipped policy, the documented rules with this enforcement of `payments`, and a rule for
/// each team.
fn rules(enforcement: &str) -> anyhow::Result<String> {
    let shipped = local_aws::world::policy_with(&[])["Rules"].clone();
    let documented = Template::read_document(&snippet("registry/policy.yaml")?);
    let mut documented = documented.map_err(|error| anyhow!("{error}"))?["Rules"].clone();
    for section in ["Tags", "Retention"] {
        documented[0][section]["Enforcement"] = enforcement.into();
    }
    let team = |nth: usize| {
        json!({
            "Name": format!("team-{nth:02}"),
            "Repositories": [format!("team-{nth:02}/*")],
            "Owner": format!("team {nth}"),
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": "report"},
            "Retention": {"Keep": 2, "Enforcement": "report"},
        })
    };
    let lists = [shipped, documented, (0..TEAMS).map(team).collect()];
    let rules: Vec<&Value> = lists.iter().filter_map(Value::as_array).flatten().collect();
    ensure!(rules.len() == 40, "the policy has {} rules", rules.len());
    Ok(json!(rules).to_string())
}

impl Run<'_> {
    pub fn adoption(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("the adoption of 300 repositories by a policy of forty rules");
        self.create_repositories()?;
        let before = self.states()?;
        let listed = self.local.shell(&snippet("registry/list.sh")?)?;
        self.contains("the documented command lists the groups", &listed, " 3 payments/*\n")?;

        let version = stack.outputs()?.value("PolicyVersion")?.to_owned();
        stack.govern(&[(".Rules", &rules("report")?), (".Unmatched", "report")])?;
        let reporting = stack.outputs()?.value("PolicyVersion")?.to_owned();
        ensure!(reporting != version, "the policy has the version {version} as before");
        self.passed("the policy of forty rules has another version");
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        self.reported(stack, &inbox, &reporting)?;
        self.equal("no older repository has changed", &self.states()?, &before)?;

        let ceiling = ("EnforceRepositories", "infrastructure,deployments,payments/*");
        write_policy(self.local, &[(".Rules", &rules("archive")?), (".Unmatched", "report")])?;
        stack.deploy(&[ceiling])?;
        self.enforced(stack, &inbox)?;
        let mut after = self.states()?;
        let archived = |state: &Value| state["images"].to_string().matches("ARCHIVED").count();
        for nth in 0..PAYMENTS {
            let name = format!("payments/app-{nth}");
            let mut state = after.remove(&name).context("the repository is gone")?;
            self.equal(&format!("two images of {name} are archived"), &archived(&state), &2)?;
            state["images"] = before[&name]["images"].clone();
            self.equal("and nothing else in it has changed", &state, &before[&name])?;
        }
        let others: State =
            before.into_iter().filter(|(name, _)| after.contains_key(name)).collect();
        self.equal("no repository of another rule has changed", &after, &others)?;

        write_policy(self.local, &[])?;
        stack.deploy(&[("EnforceRepositories", "infrastructure,deployments")])?;
        self.equal(
            "the roll-back has the version of before",
            &stack.outputs()?.value("PolicyVersion")?,
            &version.as_str(),
        )?;
        for name in names().iter().map(String::as_str).chain([NEW]) {
            self.by_hand("DeleteRepository", &json!({"repositoryName": name, "force": true}))?;
        }
        Ok(())
    }

    /// Pushes, a round, sweeps and the digest while every rule of these repositories reports.
    fn reported(&self, stack: &Stack<'_>, inbox: &str, version: &str) -> anyhow::Result<()> {
        // The repository is younger than the deployment.
        self.aws(&["ecr", "create-repository", "--repository-name", NEW])?;
        self.push(NEW, "broken_tag", 0)?;
        self.invoke(&stack.resource("ImagePushFunction")?, &self.last_push()?)?;
        let dispatch = stack.resource("SweepDispatchFunction")?;
        let round = self.invoke(&dispatch, &json!({}))?;
        // The new repository and the two repositories of the stack are governed too.
        let governed = json!(REPOSITORIES + 3);
        self.equal("a round finds every governed repository", &round["governed"], &governed)?;
        for name in payments() {
            let swept = self.sweep(stack, &name)?;
            let removed = &swept["removed"];
            self.equal(&format!("a sweep of {name} removes nothing"), removed, &json!(0))?;
        }
        self.equal("a rule that reports sends no alert", &self.receive(inbox)?, &None)?;

        self.in_scratch(&snippet("runbooks/digest.sh")?)?;
        let mut digests = BTreeMap::new();
        while let Some(alert) = self.receive(inbox)? {
            digests.insert(text(&alert, "/owner"), alert);
        }
        let digest = digests.remove("payments-team").context("the owner has no digest")?;
        let field = |path: &str| text(&digest, path);
        self.equal("the digest is a report", &field("/kind").as_str(), &"report")?;
        self.equal("by the policy", &field("/policy").as_str(), &version)?;
        let details = digest["details"].to_string();
        for expected in ["payments/app-0", NEW, "broken_tag"] {
            self.contains("it names", &details, expected)?;
        }
        // The rule of `deployments`, which has no owner, reports its tags too.
        let others: Vec<&String> = digests.keys().filter(|owner| !owner.is_empty()).collect();
        self.equal("no other owner has a digest", &others, &vec![])?;
        let planned = self.tool(&snippet("registry/plan.sh")?)?;
        self.contains("the documented command plans the rule", &planned, "payments/app-0")
    }

    /// The repositories of `payments` while its rule archives: the documented commands read and confirm the
    /// plans, and sweeps carry them out.
    fn enforced(&self, stack: &Stack<'_>, inbox: &str) -> anyhow::Result<()> {
        self.push(NEW, "another_tag", 0)?;
        self.invoke(&stack.resource("ImagePushFunction")?, &self.last_push()?)?;
        let alert = self.receive(inbox)?.context("there is no alert")?;
        let action = text(&alert, "/details/action");
        self.equal("the rule archives the image", &action.as_str(), &"archived")?;
        for name in payments() {
            let swept = self.sweep(stack, &name)?;
            let why = text(&swept, "/stopped");
            self.contains(&format!("the plan of {name} waits"), &why, "confirm")?;
            self.receive(inbox)?.context("there is no alert of the plan that waits")?;
        }
        let planned = self.tool(&snippet("registry/plan.sh")?)?;
        let (_, command) = planned.split_once("To confirm: ").context(planned.clone())?;
        let hash = command.trim().rsplit(' ').next().unwrap_or_default();
        let confirm = snippet("registry/confirm.sh")?;
        let wrong = self.tool(&confirm);
        ensure!(wrong.is_err(), "the tool confirmed plans by a wrong hash: {wrong:?}");
        let confirmed = self.tool(&confirm.replace("0123456789abcdef", hash))?;
        self.contains("the documented command confirms the plans", &confirmed, "payments/app-2")?;
        for name in payments() {
            let swept = self.sweep(stack, &name)?;
            let removed = &swept["removed"];
            self.equal(&format!("a sweep of {name} archives two images"), removed, &json!(2))?;
            self.receive(inbox)?.context("there is no alert of the cleanup")?;
        }
        Ok(())
    }

    fn sweep(&self, stack: &Stack<'_>, name: &str) -> anyhow::Result<Value> {
        self.invoke(&stack.resource("ImageSweepFunction")?, &json!({"repository": name}))
    }

    /// Creates the repositories with their images, as their owners did before the deployment.
    fn create_repositories(&self) -> anyhow::Result<()> {
        for (nth, name) in names().iter().enumerate() {
            self.by_hand("CreateRepository", &json!({"repositoryName": name}))?;
            let policy = json!({"repositoryName": name, "lifecyclePolicyText": LIFECYCLE});
            if nth % 3 == 0 {
                self.by_hand("PutLifecyclePolicy", &policy)?;
            }
            let mut state = self.local.aws.state();
            let now = state.now();
            for version in 0..VERSIONS {
                let at = now - (200.0 - f64::from(version)) * DAY;
                let pushed = state.ecr().push_made_up(name, &[&format!("app-v1.{version}.0")], at);
                pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
            }
            state.ecr().events.clear();
        }
        Ok(())
    }

    /// The settings, the lifecycle policy, the resource tags and the images of each older repository.
    fn states(&self) -> anyhow::Result<State> {
        let read = |name: String| {
            let named = json!({"repositoryName": name});
            let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
            let all = json!({"repositoryName": name, "filter": {"imageStatus": "ANY"}, "maxResults": 1_000});
            let images = self.by_hand("DescribeImages", &all)?;
            let mut images: Vec<String> = images["imageDetails"]
                .as_array()
                .context("no images")?
                .iter()
                .map(|image| {
                    format!(
                        "{} {} {}",
                        image["imageDigest"], image["imageTags"], image["imageStatus"]
                    )
                })
                .collect();
            images.sort();
            let state = json!({
                "settings": self.by_hand("DescribeRepositories", &json!({"repositoryNames": [name]}))?,
                "lifecycle": self.by_hand("GetLifecyclePolicy", &named).ok().map(|found| found["lifecyclePolicyText"].clone()),
                "tags": self.by_hand("ListTagsForResource", &json!({"resourceArn": arn}))?,
                "images": images,
            });
            Ok((name, state))
        };
        names().into_iter().map(read).collect()
    }

    fn by_hand(&self, operation: &str, input: &Value) -> anyhow::Result<Value> {
        let done = self.local.aws.by_hand(operation, input);
        done.map_err(|error| anyhow!("{operation}: {}: {}", error.code, error.message))
    }
}
