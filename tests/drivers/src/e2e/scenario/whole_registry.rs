//! A policy of forty rules, for repositories that the stack did not create.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{LIFECYCLE, Run, step};
use crate::local::{ACCOUNT, REGION};
use crate::stack::{Stack, text, write_policy};

const LEGACY: &str = "team-00/legacy";
const NEW: &str = "team-01/web";
/// The number of teams, each of which has a rule.
const TEAMS: usize = 38;

/// The rules of the shipped policy, and a rule for each team. The rule of `team-01` has this enforcement.
fn rules(enforcement: &str) -> String {
    let mut rules = local_aws::world::policy_with(&[])["Rules"].clone();
    let team = |nth: usize| {
        let enforcement = if nth == 1 { enforcement } else { "report" };
        json!({
            "Name": format!("team-{nth:02}"),
            "Repositories": [format!("team-{nth:02}/*")],
            "Owner": format!("team {nth}"),
            "Tags": {"Grammar": ["{component}-v{semver}"], "Enforcement": enforcement},
            "Retention": {"Keep": 2, "Enforcement": enforcement},
        })
    };
    if let Some(rules) = rules.as_array_mut() {
        rules.extend((0..TEAMS).map(team));
    }
    rules.to_string()
}

impl Run<'_> {
    pub fn whole_registry(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("a policy of forty rules, for repositories that the stack did not create");
        self.aws(&["ecr", "create-repository", "--repository-name", LEGACY])?;
        let put = ["ecr", "put-lifecycle-policy", "--repository-name", LEGACY];
        self.aws(&[&put[..], &["--lifecycle-policy-text", LIFECYCLE]].concat())?;
        let before = self.settings(LEGACY)?;
        let version = stack.outputs()?.value("PolicyVersion")?.to_owned();
        stack.govern(&[(".Rules", &rules("report")), (".Unmatched", "report")])?;
        let reporting = stack.outputs()?.value("PolicyVersion")?.to_owned();
        ensure!(reporting != version, "the policy has the version {version} as before");
        self.passed("the policy of forty rules has another version");

        // The repository is younger than the deployment.
        self.aws(&["ecr", "create-repository", "--repository-name", NEW])?;
        let inbox = self.inbox(stack.outputs()?.value("AlertTopicArn")?)?;
        let function = stack.resource("ImagePushFunction")?;
        for version in 0..4 {
            self.push(NEW, &format!("web-v1.{version}.0"), 90 - version)?;
        }
        self.push(NEW, "broken_tag", 0)?;
        self.invoke(&function, &self.last_push()?)?;
        self.equal("a rule that only reports sends no alert", &self.receive(&inbox)?, &None)?;
        let [dispatch, sweep] =
            ["SweepDispatchFunction", "ImageSweepFunction"].map(|id| stack.resource(id));
        let dispatch = dispatch?;
        self.invoke(&dispatch, &json!({"digest": "now"}))?;
        let mut owned = None;
        while let Some(alert) = self.receive(&inbox)? {
            if text(&alert, "/owner") == "team 1" {
                owned = Some(alert);
            }
        }
        let alert = owned.context("there is no digest of team 1")?;
        self.equal("the first push is in the digest", &text(&alert, "/kind").as_str(), &"report")?;
        self.equal("the digest names the policy", &text(&alert, "/policy"), &reporting)?;
        self.contains("and lists the tag", &alert["details"].to_string(), "broken_tag")?;
        let round = self.invoke(&dispatch, &json!({}))?;
        self.equal("a round finds four governed repositories", &round["governed"], &json!(4))?;
        let sweep = sweep?;
        for name in [NEW, LEGACY] {
            let swept = self.invoke(&sweep, &json!({"repository": name}))?;
            self.equal(
                &format!("a sweep of {name} removes nothing"),
                &swept["removed"],
                &json!(0),
            )?;
        }
        self.equal("nobody changed the older repository", &self.settings(LEGACY)?, &before)?;

        // The audits have sent alerts, and the round may have published the digest of the week before.
        while self.receive(&inbox)?.is_some() {}

        let ceiling = ("EnforceRepositories", "infrastructure,deployments,team-01/*");
        write_policy(self.local, &[(".Rules", &rules("archive")), (".Unmatched", "report")])?;
        stack.deploy(&[ceiling])?;
        self.push(NEW, "another_tag", 0)?;
        self.invoke(&function, &self.last_push()?)?;
        let alert = self.receive(&inbox)?.context("there is no alert")?;
        let action = text(&alert, "/details/action");
        self.equal("the rule archives the image now", &action.as_str(), &"archived")?;
        let swept = self.invoke(&sweep, &json!({"repository": NEW}))?;
        self.contains(
            "its first plan waits for a confirmation",
            &text(&swept, "/stopped"),
            "confirm",
        )?;
        self.equal("and the other rules change nothing", &self.settings(LEGACY)?, &before)?;

        write_policy(self.local, &[])?;
        stack.deploy(&[("EnforceRepositories", "infrastructure,deployments")])?;
        self.equal(
            "the roll-back has the version of before",
            &stack.outputs()?.value("PolicyVersion")?,
            &version.as_str(),
        )?;
        for name in [NEW, LEGACY] {
            self.aws(&["ecr", "delete-repository", "--force", "--repository-name", name])?;
        }
        Ok(())
    }

    /// The repository with its lifecycle policy and its resource tags.
    fn settings(&self, name: &str) -> anyhow::Result<(Value, String, Value)> {
        let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
        let tags = self.aws(&["ecr", "list-tags-for-resource", "--resource-arn", &arn])?;
        Ok((self.repository(name)?, self.lifecycle(name)?, tags))
    }
}
