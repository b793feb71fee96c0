//! The checks of a deployed stack, step by step.

mod adoption;
mod demonstration;
mod operations;
mod pushes;
mod remedies;
mod runbooks;
mod scans;
mod sweeps;
mod updates;

use std::cell::Cell;
use std::fmt::Debug;

use anyhow::{Context as _, anyhow, bail, ensure};
use local_aws::ecr::DAY;
use local_aws::snippets::snippet;
use local_aws::world::{evaluate, governance, lifecycle_of};
use serde_json::{Value, json};
use warden_core::risks::AcceptedRisk;

use self::operations::{EKS, GITHUB};
use crate::local::{ACCOUNT, Local, REGION};
use crate::policies;
use crate::registry;
use crate::stack::{Stack, aws, text, write_policy};

/// Runs every step and returns the number of checks.
pub fn run(local: &Local) -> anyhow::Result<u32> {
    let run = Run { local, checks: Cell::new(0) };
    run.registry()?;
    run.demonstration()?;
    step("sam build");
    Stack::build(local)?;
    let stack = Stack::new(local, "ecr-warden");
    run.defaults(&stack)?;
    run.hold_sweeps(&stack)?;
    run.documented_commands(&stack)?;
    run.pushes(&stack)?;
    run.scans(&stack)?;
    run.operations(&stack)?;
    run.runbooks(&stack)?;
    run.sweeps(&stack)?;
    run.update(&stack)?;
    run.impact(&stack)?;
    run.rename(&stack)?;
    run.refused_by_template(&stack)?;
    run.refused_by_function(&stack)?;
    run.adoption(&stack)?;
    run.disable(&stack)?;
    let legacy = Stack::new(local, "legacy");
    run.existing(&legacy)?;
    run.adopt(&legacy)?;
    run.delete(&stack)?;
    Ok(run.checks.get())
}

/// The lifecycle policy of a repository before its adoption.
const LIFECYCLE: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":14},"action":{"type":"expire"}}]}"#;

fn step(name: &str) {
    println!("\n== {name}");
}

struct Run<'a> {
    local: &'a Local,
    checks: Cell<u32>,
}

impl Run<'_> {
    fn equal<T: PartialEq + Debug>(
        &self,
        what: &str,
        found: &T,
        expected: &T,
    ) -> anyhow::Result<()> {
        ensure!(found == expected, "{what}: expected {expected:?}, found {found:?}");
        self.passed(what);
        Ok(())
    }

    fn contains(&self, what: &str, found: &str, expected: &str) -> anyhow::Result<()> {
        ensure!(found.contains(expected), "{what}: expected {expected:?} in {found}");
        self.passed(what);
        Ok(())
    }

    fn passed(&self, what: &str) {
        self.checks.set(self.checks.get() + 1);
        println!("   {what}");
    }

    fn aws(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        aws(self.local, arguments)
    }

    fn repositories(&self) -> anyhow::Result<Vec<String>> {
        let described = self.aws(&["ecr", "describe-repositories"])?;
        let repositories = described.pointer("/repositories").and_then(Value::as_array);
        let mut names: Vec<String> = repositories
            .into_iter()
            .flatten()
            .map(|found| text(found, "/repositoryName"))
            .collect();
        names.sort();
        Ok(names)
    }

    fn repository(&self, name: &str) -> anyhow::Result<Value> {
        let described = self.aws(&["ecr", "describe-repositories", "--repository-names", name])?;
        Ok(described.pointer("/repositories/0").cloned().unwrap_or_default())
    }

    fn lifecycle(&self, name: &str) -> anyhow::Result<String> {
        let got = self.aws(&["ecr", "get-lifecycle-policy", "--repository-name", name])?;
        Ok(text(&got, "/lifecyclePolicyText"))
    }

    /// The actions and resources of the policy's default version, one line for each statement.
    fn policy(&self, arn: &str) -> anyhow::Result<Vec<String>> {
        let policy = self.aws(&["iam", "get-policy", "--policy-arn", arn])?;
        let version = text(&policy, "/Policy/DefaultVersionId");
        let version = self.aws(&[
            "iam",
            "get-policy-version",
            "--policy-arn",
            arn,
            "--version-id",
            &version,
        ])?;
        let statements =
            version.pointer("/PolicyVersion/Document/Statement").and_then(Value::as_array).cloned();
        let line = |statement: &Value| {
            format!("{} on {}", text(statement, "/Action"), text(statement, "/Resource"))
        };
        Ok(statements.context("the policy has no statements")?.iter().map(line).collect())
    }

    fn no_policy(&self, arn: &str) -> anyhow::Result<()> {
        match self.aws(&["iam", "get-policy", "--policy-arn", arn]) {
            Ok(_) => bail!("the push/pull policy still exists"),
            Err(error) => self.contains("no policy", &format!("{error:#}"), "NoSuchEntity"),
        }
    }

    fn attached(&self, role: &str) -> anyhow::Result<Vec<String>> {
        let listed = self.aws(&["iam", "list-attached-role-policies", "--role-name", role])?;
        let policies = listed.pointer("/AttachedPolicies").and_then(Value::as_array);
        Ok(policies.into_iter().flatten().map(|policy| text(policy, "/PolicyArn")).collect())
    }

    fn registry(&self) -> anyhow::Result<()> {
        step("the embedded ECR, by AWS's service model and with the documented commands");
        let others = registry::compare_models(self.local)?;
        self.passed("each operation takes the input of the published model");
        println!("   not served: {}", others.join(", "));
        let mut python = self.local.tool("python");
        let (requests, allowed) = policies::compare(&mut python, self.local.root())?;
        self.passed(&format!("ministack decides {requests} requests as we do, {allowed} allowed"));
        let printed = registry::run_commands(self.local)?;
        println!("{printed}");
        self.contains("the pushed tag is listed", &printed, "app-v1.0.0")?;
        self.contains("a preview is complete", &printed, "\"COMPLETE\"")?;
        self.aws(&["ecr", "delete-repository", "--repository-name", "demo", "--force"])?;
        Ok(())
    }

    fn defaults(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("sam deploy --guided with the defaults");
        let parameters = evaluate(&[])?.parameters();
        let [questions, saved] = stack.deploy_guided(parameters.len())?;
        let is_asked = |name: &&String| questions.contains(&format!("Parameter {name} ["));
        let unasked: Vec<&String> = parameters.keys().filter(|name| !is_asked(name)).collect();
        self.equal("each parameter is asked for", &unasked, &vec![])?;
        self.contains("the answers are saved", &saved, "parameter_overrides")?;
        let outputs = stack.outputs()?;
        let registry = format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com");
        self.equal(
            "the output InfrastructureRepositoryUri",
            &outputs.value("InfrastructureRepositoryUri")?,
            &format!("{registry}/infrastructure").as_str(),
        )?;
        self.equal(
            "the output DeploymentsRepositoryUri",
            &outputs.value("DeploymentsRepositoryUri")?,
            &format!("{registry}/deployments").as_str(),
        )?;
        let login = format!(
            "aws ecr get-login-password --region {REGION} | docker login --username AWS --password-stdin {registry}"
        );
        self.equal(
            "the output EcrLoginCommand",
            &outputs.value("EcrLoginCommand")?,
            &login.as_str(),
        )?;
        let allowed: Value = serde_json::from_str(outputs.value("GatekeeperAllowedRepos")?)?;
        let expected = json!([
            format!("{registry}/infrastructure:"),
            format!("{registry}/infrastructure@"),
            format!("{registry}/deployments:"),
            format!("{registry}/deployments@"),
        ]);
        self.equal("the output GatekeeperAllowedRepos", &allowed, &expected)?;

        let governance = governance(&[]);
        let version = governance.version().to_string();
        self.equal("the policy's version", &outputs.value("PolicyVersion")?, &version.as_str())?;
        self.equal("its warnings", &outputs.value("PolicyWarnings")?, &"none")?;
        for (name, mutability) in [("infrastructure", "IMMUTABLE"), ("deployments", "MUTABLE")] {
            self.equal(
                "its lifecycle policy in force",
                &self.lifecycle(name)?,
                &lifecycle_of(&governance, name),
            )?;
            let found = self.repository(name)?;
            self.equal(
                "its mutability",
                &text(&found, "/imageTagMutability").as_str(),
                &mutability,
            )?;
            self.equal(
                "scanned on push",
                &text(&found, "/imageScanningConfiguration/scanOnPush").as_str(),
                &"true",
            )?;
            self.equal(
                "encrypted with KMS",
                &text(&found, "/encryptionConfiguration/encryptionType").as_str(),
                &"KMS",
            )?;
            let tags = self.aws(&[
                "ecr",
                "list-tags-for-resource",
                "--resource-arn",
                &text(&found, "/repositoryArn"),
            ])?;
            self.contains("tagged as this stack's", &tags.to_string(), ":stack/ecr-warden/")?;
        }

        let policy = outputs.value("EcrPushPullPolicyArn")?;
        self.contains(
            "the policy's path, stack and region",
            policy,
            &format!(":policy/ecr-warden/ecr-warden-{REGION}-"),
        )?;
        let arn = |name: &str| format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
        let push_and_pull = json!([
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ]);
        let expected = vec![
            "ecr:GetAuthorizationToken on *".to_owned(),
            format!("{push_and_pull} on {}", json!([arn("infrastructure"), arn("deployments")])),
        ];
        self.equal("the eight actions of the guide", &self.policy(policy)?, &expected)
    }

    /// The documented commands for outputs, images and findings.
    fn documented_commands(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("documented commands on the deployed stack");
        let output = snippet("outputs/output.sh")?;
        for name in stack.outputs()?.names() {
            let printed = self.local.shell(&format!("{output}\noutput {name}"))?;
            let expected = stack.outputs()?;
            self.equal(&format!("output {name}"), &printed.trim_end(), &expected.value(&name)?)?;
        }
        let risks = snippet("accepted-risks/accepted-risks.json")?;
        AcceptedRisk::parse_list(&risks)?;
        let file = self.local.root().join("target/e2e/risks.json");
        std::fs::write(&file, &risks)?;
        let edit = snippet("accepted-risks/edit.sh")?;
        let editor = format!("cd \"$(mktemp -d)\"; EDITOR='cp {}'", file.display());
        let get = "aws ssm get-parameter --name \"$parameter\" --query Parameter.Value";
        let printed = self.local.shell(&format!("{output}\n{editor}\n{edit}\n{get}"))?;
        self.contains("accepted risks are edited in place", &printed, "CVE-2026-1234")?;
        let log = self.local.shell(&snippet("operate/function-log.sh")?)?;
        self.contains("the log has the plan", &log, "put the lifecycle policy")?;
        let digest = self.push("infrastructure", "litellm-v1.80.5", 0)?;
        self.push("infrastructure", "old-tag", 0)?;
        let finding = json!({"name": "CVE-2026-1234", "severity": "HIGH"});
        {
            let mut state = self.local.aws.state();
            let now = state.now();
            let found =
                state.ecr().complete_scan("infrastructure", &digest, Ok(vec![finding]), now);
            found.map_err(|error| anyhow!("{}", error.message))?;
        }
        for (name, expected) in [
            ("images/lifecycle-policy.sh", "untagged"),
            ("images/list.sh", "litellm-v1.80.5"),
            ("images/describe.sh", "litellm-v1.80.5"),
            ("images/findings.sh", "CVE-2026-1234"),
            ("images/count-pulls.sh", "\"RepositoryPullCount\""),
            ("images/delete.sh", "\"old-tag\""),
        ] {
            let printed = self.local.shell(&snippet(name)?).context(name)?;
            self.contains(name, &printed, expected)?;
        }
        self.local.shell("aws ecr batch-delete-image --repository-name infrastructure --image-ids imageTag=litellm-v1.80.5")?;
        Ok(())
    }

    /// Pushes a small image, as of `days` days ago. Returns its digest.
    fn push(&self, repository: &str, tag: &str, days: u32) -> anyhow::Result<String> {
        let mut state = self.local.aws.state();
        let at = state.now() - f64::from(days) * DAY;
        let pushed = state.ecr().push_made_up(repository, &[tag], at);
        pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))
    }

    fn existing(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("a creation of a repository that somebody else made, which fails");
        self.aws(&["ecr", "create-repository", "--repository-name", "old"])?;
        let put = ["ecr", "put-lifecycle-policy", "--repository-name", "old"];
        self.aws(&[&put[..], &["--lifecycle-policy-text", LIFECYCLE]].concat())?;
        stack.refused(&[
            ("InfrastructureRepositoryName", "old"),
            ("DeploymentsRepositoryName", "old-apps"),
        ])?;
        self.contains(
            "the reason is in the stack's events",
            &stack.events()?,
            "repository old exists already and was not created by ECR Warden",
        )?;
        self.equal("rolled back cleanly", &stack.status()?.as_str(), &"ROLLBACK_COMPLETE")?;
        self.equal(
            "the roll-back deletes the new repository and not the existing repository",
            &self.repositories()?,
            &names(&["deployments", "infrastructure", "old"]),
        )?;
        let found = self.repository("old")?;
        self.equal("with its settings", &text(&found, "/imageTagMutability").as_str(), &"MUTABLE")?;
        stack.delete()
    }

    fn adopt(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("the same creation, adopting it, and its deletion");
        write_policy(
            self.local,
            &[
                ("platform.Repositories", r#"["old"]"#),
                ("applications.Repositories", r#"["old-apps"]"#),
            ],
        )?;
        stack.deploy(&[
            ("InfrastructureRepositoryName", "old"),
            ("DeploymentsRepositoryName", "old-apps"),
            ("EnforceRepositories", "old,old-apps"),
            ("OnExistingRepository", "adopt"),
            ("OnRepositoryDelete", "delete-with-images"),
            ("EnableEncryption", "false"),
            ("GitHubOidcProviderArn", GITHUB),
            ("GitHubRepository", "octo-org@1/images@2"),
            ("EksOidcProviderArn", EKS),
            ("EksServiceAccounts", "ci/kaniko,argocd/updater"),
            ("Tracing", "Active"),
        ])?;
        self.roles(stack)?;
        let found = self.repository("old")?;
        self.equal(
            "the stack governs the adopted repository",
            &text(&found, "/imageTagMutability").as_str(),
            &"IMMUTABLE",
        )?;
        self.contains("with a lifecycle policy", &self.lifecycle("old")?, "untagged")?;
        let replaced = snippet("leave/replaced-lifecycle-policies.sh")?;
        let replaced = self.local.shell(&replaced.replace("ecr-warden", "legacy"))?;
        self.contains("the log has the replaced lifecycle policy", &replaced, "old {")?;
        let tags = self.aws(&[
            "ecr",
            "list-tags-for-resource",
            "--resource-arn",
            &text(&found, "/repositoryArn"),
        ])?;
        self.contains("a tag marks the adoption", &tags.to_string(), "ecr-warden:adopted-by")?;
        ensure!(
            !tags.to_string().contains("ecr-warden:owner"),
            "the adopted repository has the owner tag: {tags}"
        );
        stack.delete()?;
        self.equal(
            "the adopted repository outlives the stack",
            &self.repositories()?,
            &names(&["deployments", "infrastructure", "old"]),
        )?;
        let tool = |name: &str| -> anyhow::Result<String> {
            let command = snippet(name)?.replace("infrastructure", "old");
            self.local.shell(&self.with_tool(&command)).with_context(|| command.clone())
        };
        let shown = tool("leave/show-replaced-lifecycle.sh")?;
        self.contains(
            "the tool shows the replaced lifecycle policy",
            &shown,
            "\"countNumber\": 14",
        )?;
        let restored = self.lifecycle("old")?;
        self.equal("and changes nothing", &restored.contains("\"countNumber\":14"), &false)?;
        let (_, hash) = shown.split_once("--apply ").context("the tool names no hash")?;
        let hash = hash.split('.').next().unwrap_or_default();
        let restore = snippet("leave/restore-lifecycle.sh")?.replace("infrastructure", "old");
        let restore = restore.replace("0123456789abcdef", hash);
        self.local.shell(&self.with_tool(&restore)).context("the tool restores the policy")?;
        let restored = self.lifecycle("old")?;
        self.contains("the tool puts the policy back", &restored, "\"countNumber\":14")
    }

    fn delete(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("the deletion of the first stack");
        let policy = stack.outputs()?.value("EcrPushPullPolicyArn")?.to_owned();
        stack.delete()?;
        self.equal(
            "repositories with images stay",
            &self.repositories()?,
            &names(&["infrastructure", "old"]),
        )?;
        self.no_policy(&policy)?;
        Ok(())
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
