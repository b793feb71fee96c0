//! Changes of the deployed stack: updates, refusals and roll-backs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Run, names, step};
use crate::local::ACCOUNT;
use crate::stack::{Stack, text, write_policy};

impl Run<'_> {
    /// A lifecycle policy that would expire too many images, and one that expires as many as it may.
    pub fn impact(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("a lifecycle change that ECR previews");
        for n in 0..8 {
            self.push("infrastructure", &format!("v1.0.{n}"), 8 - n)?;
        }
        let before = self.lifecycle("infrastructure")?;
        let change = [("LifecycleScope", "repository"), ("InfrastructureLifecycleTagCount", "3")];
        stack.refused(&[&change[..], &[("LifecycleImpactLimit", "4")]].concat())?;
        self.contains(
            "refused with the count and examples",
            &stack.events()?,
            "would expire 5 images, more than LifecycleImpactLimit 4 allows (v1.0.4, v1.0.3, v1.0.2, v1.0.1, v1.0.0)",
        )?;
        self.equal("the policy in force stays", &self.lifecycle("infrastructure")?, &before)?;
        stack.deploy(&[&change[..], &[("LifecycleImpactLimit", "5")]].concat())?;
        self.local.aws.advance(Duration::from_secs(1));
        let listed = self.aws(&["ecr", "list-images", "--repository-name", "infrastructure"])?;
        let ids = listed.pointer("/imageIds").and_then(Value::as_array).into_iter().flatten();
        let mut left: Vec<String> = ids.map(|id| text(id, "/imageTag")).collect();
        left.sort();
        self.equal(
            "ECR expires the images of the preview",
            &left,
            &names(&["v1.0.5", "v1.0.6", "v1.0.7"]),
        )?;
        stack.deploy(&[
            ("LifecycleScope", "component"),
            ("InfrastructureLifecycleTagCount", "20"),
            ("LifecycleImpactLimit", "50"),
        ])?;
        self.aws(&[
            "ecr",
            "batch-delete-image",
            "--repository-name",
            "infrastructure",
            "--image-ids",
            "imageTag=v1.0.5",
            "imageTag=v1.0.6",
            "imageTag=v1.0.7",
        ])?;
        Ok(())
    }

    pub fn update(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("an update of counts, scope, mutability and access");
        let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
        self.aws(&[
            "iam",
            "create-role",
            "--role-name",
            "ci",
            "--assume-role-policy-document",
            &trust,
        ])?;
        let before = text(&self.repository("infrastructure")?, "/createdAt");
        let role = format!("arn:aws:iam::{ACCOUNT}:role/ci");
        stack.deploy(&[
            ("InfrastructureLifecycleTagCount", "30"),
            ("LifecycleScope", "repository"),
            ("DeploymentsTagMutability", "IMMUTABLE_WITH_EXCLUSION"),
            ("DeploymentsMutabilityExclusions", "sha256-*"),
            ("PullPrincipals", "210987654321,o-a1b2c3d4e5/ou-ab12-11111111,lambda.amazonaws.com"),
            ("CiCdRoleArns", &role),
        ])?;
        self.equal(
            "the same repository",
            &text(&self.repository("infrastructure")?, "/createdAt"),
            &before,
        )?;
        let lifecycle = self.lifecycle("infrastructure")?;
        for prefix in ["v", "prod", "staging", "dev"] {
            self.contains("a rule for each prefix", &lifecycle, &format!("\"tagPrefixList\":[\"{prefix}\"],\"countType\":\"imageCountMoreThan\",\"countNumber\":30"))?;
        }
        self.contains(
            "one rule without prefixes",
            &self.lifecycle("deployments")?,
            "\"tagPatternList\":[\"*\"]",
        )?;
        let deployments = self.repository("deployments")?;
        let mutability = text(&deployments, "/imageTagMutability");
        self.equal(
            "the mutability changed in place",
            &mutability.as_str(),
            &"IMMUTABLE_WITH_EXCLUSION",
        )?;
        let filters = text(&deployments, "/imageTagMutabilityExclusionFilters/0/filter");
        self.equal("and its exclusions", &filters.as_str(), &"sha256-*")?;
        let policy =
            self.aws(&["ecr", "get-repository-policy", "--repository-name", "deployments"])?;
        for (principal, named) in [
            ("the other account", "arn:aws:iam::210987654321:root"),
            ("the organizational unit", "o-a1b2c3d4e5/*/ou-ab12-11111111/*"),
            ("the Lambda service", "lambda.amazonaws.com"),
        ] {
            let policy = text(&policy, "/policyText");
            self.contains(&format!("{principal} may pull"), &policy, named)?;
        }
        let arn = stack.outputs()?.value("EcrPushPullPolicyArn")?.to_owned();
        self.equal("the policy is attached to the role", &self.attached("ci")?, &vec![arn])?;

        stack.deploy(&[
            ("CiCdRoleArns", ""),
            ("PullPrincipals", ""),
            ("LifecycleScope", "component"),
        ])?;
        self.equal("and detached again", &self.attached("ci")?, &Vec::new())
    }

    pub fn rename(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("a rename of a repository");
        stack.deploy(&[("DeploymentsRepositoryName", "apps")])?;
        // ministack records no event for the Delete of a replaced resource.
        let all = names(&["apps", "deployments", "infrastructure"]);
        self.equal(
            "the old repository stays without an event of its deletion",
            &self.repositories()?,
            &all,
        )?;
        let outputs = stack.outputs()?;
        self.contains("the output follows", outputs.value("DeploymentsRepositoryUri")?, "/apps")?;
        let policy = self.policy(outputs.value("EcrPushPullPolicyArn")?)?.concat();
        self.contains("the policy follows", &policy, "repository/apps")?;
        stack.deploy(&[("DeploymentsRepositoryName", "deployments")])?;
        self.equal("and back", &self.repositories()?, &all)?;
        self.aws(&["ecr", "delete-repository", "--repository-name", "apps"])?;
        Ok(())
    }

    pub fn refused_by_template(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("parameters that CloudFormation refuses before it deploys anything");
        let before = stack.events()?;
        for (parameter, value) in [
            ("InfrastructureLifecycleTagCount", "0"),
            ("InfrastructureRepositoryName", "Infrastructure"),
            ("InfrastructureTagMutability", "SOMETIMES"),
            ("OnRepositoryDelete", "delete"),
            ("KmsKeyArn", "alias/mine"),
            ("GitHubSubjects", "ref:refs/heads/*"),
            ("GitHubRepository", "octo-org/images"),
            ("EksServiceAccounts", "ci/*"),
            ("PullPrincipals", "12345"),
            ("DeploymentsMutabilityExclusions", "sha256-* dev"),
            ("CiCdRoleArns", "ci"),
            ("DeploymentsRepositoryName", "infrastructure"),
        ] {
            let printed = stack.refused(&[(parameter, value)])?;
            let named = if value == "infrastructure" { "must differ" } else { parameter };
            self.contains(&format!("{parameter}={value}"), &printed, named)?;
        }
        self.equal("the stack has no event of the deployment", &stack.events()?, &before)
    }

    pub fn refused_by_function(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("a policy that the function refuses, and its roll-back");
        let settings =
            |name: &str| Ok::<_, anyhow::Error>((self.repository(name)?, self.lifecycle(name)?));
        let before = (settings("infrastructure")?, settings("deployments")?, stack.outputs()?);
        write_policy(
            self.local,
            &[
                ("platform.Tags.Grammar", r#"["{component}-v{semvr}"]"#),
                ("platform.Repositories", r#"["infrastructure", "team-*"]"#),
                ("applications.Retention.Keeps", "20"),
            ],
        )?;
        stack.refused(&[
            ("InfrastructureLifecycleTagCount", "3"),
            ("DeploymentsLifecycleUntaggedDays", "1"),
        ])?;
        write_policy(self.local, &[])?;
        let events = stack.events()?;
        println!(
            "{}",
            events
                .lines()
                .take_while(|line| !line.starts_with("UPDATE_COMPLETE ecr-warden"))
                .collect::<Vec<_>>()
                .join("\n")
        );
        self.contains(
            "the reason is in the stack's events",
            &events,
            "Rules[0] (platform).Tags.Grammar[0]: unknown placeholder {semvr}; the nearest placeholder is {semver}",
        )?;
        self.contains(
            "and the rule outside the ceiling",
            &events,
            "team-* is outside the parameter EnforceRepositories (infrastructure, deployments)",
        )?;
        self.contains("and the unknown key", &events, "the nearest known name is Keep")?;
        self.equal("rolled back cleanly", &stack.status()?.as_str(), &"UPDATE_ROLLBACK_COMPLETE")?;
        let after = (settings("infrastructure")?, settings("deployments")?, stack.outputs()?);
        self.equal("nothing has changed", &after, &before)
    }

    pub fn disable(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("CreateEcrRepositories=false, and back");
        let policy = stack.outputs()?.value("EcrPushPullPolicyArn")?.to_owned();
        self.push("infrastructure", "litellm-v1.80.5", 0)?;
        stack.set("CreateEcrRepositories", "false")?;
        // ministack records no event for the Delete of a removed resource.
        self.equal(
            "the repositories stay without an event of their deletion",
            &self.repositories()?,
            &names(&["deployments", "infrastructure"]),
        )?;
        self.contains("and so does the policy", &self.policy(&policy)?.concat(), "PutImage")?;
        let outputs = stack.outputs()?;
        let left = outputs.names();
        self.equal(
            "no outputs of repositories",
            &left,
            &names(&[
                "AcceptedRisksParameter",
                "AlertEventBusName",
                "AlertTopicArn",
                "DashboardUrl",
                "EcrLoginCommand",
                "OperatorPolicyArn",
                "PolicyVersion",
                "PolicyWarnings",
                "RestorePolicyArn",
            ]),
        )?;

        let nobody = format!("arn:aws:iam::{ACCOUNT}:role/nobody");
        stack.refused(&[
            ("CreateEcrRepositories", "true"),
            ("OnRepositoryDelete", "delete-with-images"),
            ("CiCdRoleArns", &nobody),
        ])?;
        self.contains(
            "a role that does not exist",
            &stack.events()?,
            "attach the policy to the role nobody: NoSuchEntity",
        )?;
        self.equal("rolled back", &stack.status()?.as_str(), &"UPDATE_ROLLBACK_COMPLETE")?;
        self.equal(
            "the image outlives the roll-back",
            &self.repositories()?,
            &names(&["infrastructure"]),
        )?;

        stack.set("CreateEcrRepositories", "true")?;
        self.equal(
            "the stack takes its repository up again by the owner tag",
            &self.repositories()?,
            &names(&["deployments", "infrastructure"]),
        )?;
        let images = self.aws(&["ecr", "list-images", "--repository-name", "infrastructure"])?;
        self.equal(
            "with its image",
            &text(&images, "/imageIds/0/imageTag").as_str(),
            &"litellm-v1.80.5",
        )
    }
}
