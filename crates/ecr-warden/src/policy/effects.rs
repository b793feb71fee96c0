//! Reads the effects that a policy would have on the images of a registry.
//!
//! The deployed function makes the plans, by the policy in the request. The tags are judged here:
//! ECR's descriptions of images are enough for that, and reading them is not a pull.

use std::collections::BTreeMap;

use anyhow::ensure;
use chrono::NaiveDate;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::{Digest, Image, ImageStatus, RepositoryName, Tag, format_bytes};
use warden_core::policy::{Governance, Policy};
use warden_core::tagging::{TagVerdict, Violation, judge_image};

use super::count;
use crate::deployed::{DeployedStack, ListedRepositories};
use crate::plan::{Plan, REPORT, SWEEP, SeenPlan, UNTAG, parse_plan};
use crate::print::{shorten, table};

/// The most tags and images that are listed without `--details`.
const MOST_LISTED: usize = 20;

/// The effects of a policy on the images of a registry.
#[derive(Debug)]
pub struct RegistryEffects {
    /// The version that the policy would have after a deployment.
    version: String,
    /// The effects in each repository that a rule governs.
    pub repositories: Vec<RepositoryEffects>,
    /// The repositories that no rule governs.
    pub ungoverned: Vec<RepositoryName>,
}

/// The effects of a policy on the images of one repository.
#[derive(Debug)]
pub struct RepositoryEffects {
    /// The policy of the repository.
    pub policy: Policy,
    /// The tags that the policy would refuse.
    pub refused: Vec<RefusedTag>,
    /// The plan of the function.
    pub plan: Plan,
    /// The plan as the function returned it.
    answer: Value,
}

/// A tag that a policy would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedTag {
    /// The tag.
    pub tag: Tag,
    /// The image.
    pub digest: Digest,
    /// The mistake: the end of a sentence that begins with the tag.
    pub reason: String,
    /// The tag that the person probably meant.
    pub suggestion: Option<Tag>,
}

/// The policy that a plan follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlannedBy {
    /// The policy of the stack.
    Deployed,
    /// The policy in the request.
    Request,
}

/// Reads the effects of a policy on the named repositories, or on every repository of the registry if
/// the list is empty. A call for each 1,000 images with a tag and an invocation of the function for
/// each governed repository.
pub async fn read_effects(
    stack: &DeployedStack,
    governance: &Governance,
    named: &[RepositoryName],
    today: NaiveDate,
) -> anyhow::Result<RegistryEffects> {
    let listed = stack.list_repositories(&[governance]).await?;
    let mut ungoverned = Vec::new();
    let mut policies = Vec::new();
    for name in select(&listed, named)? {
        match listed.rule_for(governance, name) {
            Some(policy) => policies.push(policy),
            None => ungoverned.push(name.clone()),
        }
    }
    let function = stack.resource(SWEEP).await?;
    let read = policies.into_iter().map(async |policy| {
        let images = async {
            if policy.grammar().is_none() {
                return Ok(Vec::new());
            }
            list_images(stack, &policy.repository_name).await
        };
        let answer = read_plan(stack, &function, &policy, PlannedBy::Request);
        let (images, answer) = tokio::try_join!(images, answer)?;
        RepositoryEffects::new(policy, &images, answer, today)
    });
    let repositories = stream::iter(read).buffered(CONCURRENT_CALLS).try_collect().await?;
    let version = governance.version().to_string();
    Ok(RegistryEffects { version, repositories, ungoverned })
}

/// The named repositories, or all of them if the list is empty.
pub(super) fn select<'l>(
    listed: &'l ListedRepositories,
    named: &[RepositoryName],
) -> anyhow::Result<Vec<&'l RepositoryName>> {
    for name in named {
        ensure!(listed.names.contains(name), "the registry has no repository {name}");
    }
    let is_selected = |name: &&RepositoryName| named.is_empty() || named.contains(name);
    Ok(listed.names.iter().filter(is_selected).collect())
}

/// Lists the images of a repository that have a tag.
pub(super) async fn list_images(
    stack: &DeployedStack,
    repository: &RepositoryName,
) -> anyhow::Result<Vec<Image>> {
    let images = stack.registry.tagged_images(repository).await?;
    Ok(images.into_iter().map(|image| image.image).collect())
}

/// Reads the plan for a repository from the function.
pub(super) async fn read_plan(
    stack: &DeployedStack,
    function: &str,
    policy: &Policy,
    by: PlannedBy,
) -> anyhow::Result<Value> {
    let repository = &policy.repository_name;
    let request = match by {
        PlannedBy::Deployed => json!({"repository": repository, "mode": "report"}),
        PlannedBy::Request => {
            json!({"repository": repository, "mode": "report", "policy": policy.normalised()})
        }
    };
    stack.invoke_by_name(function, &request).await
}

impl RepositoryEffects {
    /// The effects of a policy on these images, which have tags. `answer` is the plan of the function.
    pub fn new(
        policy: Policy,
        images: &[Image],
        answer: Value,
        today: NaiveDate,
    ) -> anyhow::Result<Self> {
        let refused = find_refused_tags(&policy, images, today);
        Ok(Self { refused, plan: parse_plan(answer.clone())?, policy, answer })
    }

    /// The number of tags and images in the lists.
    fn listed(&self) -> usize {
        self.refused.len() + self.seen().map_or(0, |seen| seen.removals.len())
    }

    fn seen(&self) -> Option<&SeenPlan> {
        self.plan.seen.as_ref()
    }

    fn to_row(&self) -> [String; 6] {
        let note = match (self.seen(), &self.plan.stopped) {
            (None, why) => format!("no plan: {}", why.as_deref().unwrap_or_default()),
            (Some(_), why) => why.clone().unwrap_or_default(),
        };
        [
            self.policy.repository_name.to_string(),
            self.policy.rule.to_string(),
            self.refused.len().to_string(),
            self.seen().map_or_else(|| "unknown".to_owned(), describe_removals),
            self.seen().map_or_else(String::new, |seen| format_bytes(seen.bytes)),
            note,
        ]
    }

    /// Every refused tag and every removed image, each with its reason. None if there is nothing.
    fn to_details(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.refused.is_empty() {
            let head = ["REFUSED TAG", "DIGEST", "REASON"].map(str::to_owned);
            let row = |refused: &RefusedTag| {
                let digest = shorten(refused.digest.as_str()).to_owned();
                [refused.tag.to_string(), digest, refused.explain()]
            };
            let rows: Vec<_> = [head].into_iter().chain(self.refused.iter().map(row)).collect();
            let tags = count(self.refused.len(), "tag");
            parts.push(format!(
                "{}: {tags} would be refused\n{}",
                self.policy.repository_name,
                table(&rows)
            ));
        }
        if self.seen().is_some_and(|seen| !seen.removals.is_empty()) {
            parts.push(self.plan.to_text_with(usize::MAX));
        }
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }
}

impl RefusedTag {
    /// The reason, with the suggestion if there is one.
    pub(super) fn explain(&self) -> String {
        match &self.suggestion {
            Some(tag) => format!("{}; did you mean {tag}?", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// Finds the tags of these images that a policy would refuse, sorted. The tags of an archived image are
/// left out, because nobody can pull the image.
fn find_refused_tags(policy: &Policy, images: &[Image], today: NaiveDate) -> Vec<RefusedTag> {
    let active = images.iter().filter(|image| image.status != ImageStatus::Archived);
    let tags = active.flat_map(|image| image.tags.iter().map(move |tag| (image, tag)));
    let refused = tags.filter_map(|(Image { digest, .. }, tag)| {
        let TagVerdict::Violation(Violation { reason, suggestion, .. }) =
            judge_image(policy, digest, tag, today)
        else {
            return None;
        };
        Some(RefusedTag { tag: tag.clone(), digest: digest.clone(), reason, suggestion })
    });
    let mut refused: Vec<RefusedTag> = refused.collect();
    refused.sort_by(|one, other| one.tag.cmp(&other.tag));
    refused
}

/// The number of images with each decision, such as `3 of 60 (2 archive, 1 delete)`.
fn describe_removals(seen: &SeenPlan) -> String {
    let mut decisions: BTreeMap<&str, usize> = BTreeMap::new();
    for image in &seen.removals {
        *decisions.entry(image.decision.as_str()).or_default() += 1;
    }
    let parts = decisions.iter().map(|(decision, count)| format!("{count} {decision}"));
    let parts = parts.collect::<Vec<_>>().join(", ");
    let parts = if parts.is_empty() { parts } else { format!(" ({parts})") };
    format!("{} of {}{parts}", seen.planned, seen.examined)
}

impl RegistryEffects {
    /// The exit code: 2 for a repository without a plan, 1 for a refused tag or a removed image.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.repositories.iter().any(|repository| repository.seen().is_none()) {
            2
        } else {
            u8::from(self.repositories.iter().any(|repository| repository.listed() > 0))
        }
    }

    /// A row for each governed repository, and the tags and the images if there are few or if a person
    /// wants all of them.
    #[must_use]
    pub fn to_text(&self, has_details: bool) -> String {
        let mut parts = Vec::new();
        if !self.repositories.is_empty() {
            let head = ["REPOSITORY", "RULE", "TAGS REFUSED", "IMAGES REMOVED", "SIZE", "NOTE"]
                .map(str::to_owned);
            let rows = self.repositories.iter().map(RepositoryEffects::to_row);
            parts.push(table(&[head].into_iter().chain(rows).collect::<Vec<_>>()));
        }
        match self.ungoverned.as_slice() {
            [] => {}
            [name] => parts.push(format!("No rule governs the repository {name}.")),
            names => parts.push(format!("No rule governs {} other repositories.", names.len())),
        }
        let listed: usize = self.repositories.iter().map(RepositoryEffects::listed).sum();
        if has_details || listed <= MOST_LISTED {
            parts.extend(self.repositories.iter().filter_map(RepositoryEffects::to_details));
        } else {
            parts.push("--details lists each tag and each image with its reason.".to_owned());
        }
        parts.push(self.summarise());
        parts.join("\n\n")
    }

    /// The sums over all repositories, as a sentence.
    fn summarise(&self) -> String {
        let refused: usize =
            self.repositories.iter().map(|repository| repository.refused.len()).sum();
        let seen = || self.repositories.iter().filter_map(RepositoryEffects::seen);
        let decisions =
            || seen().flat_map(|seen| &seen.removals).map(|image| image.decision.as_str());
        let reported = decisions().filter(|decision| *decision == REPORT).count();
        let planned: usize = seen().map(|seen| seen.planned).sum();
        let removed = planned.saturating_sub(reported);
        let untagged = decisions().filter(|decision| *decision == UNTAG).count();
        let mut parts = vec![
            format!("refuse {}", count(refused, "tag")),
            format!("remove {}", count(removed, "image")),
        ];
        if untagged > 0 {
            parts.push(format!("remove {}", count(untagged, "quarantine tag")));
        }
        if reported > 0 {
            parts.push(format!("report {}", count(reported, "image")));
        }
        let last = parts.pop().unwrap_or_default();
        format!("The policy would {} and {last}. Nothing was changed.", parts.join(", "))
    }

    /// Everything, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let repository = |effects: &RepositoryEffects| {
            json!({
                "repository": effects.policy.repository_name,
                "rule": effects.policy.rule,
                "tagEnforcement": effects.policy.tag_enforcement(),
                "cleanupEnforcement": effects.policy.cleanup(),
                "refusedTags": effects.refused,
                "plan": effects.answer,
            })
        };
        json!({
            "policy": self.version,
            "repositories": self.repositories.iter().map(repository).collect::<Vec<_>>(),
            "ungoverned": self.ungoverned,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};
    use warden_core::policy::RepositoryOrigin;

    use super::*;
    use crate::policy_file::tests::governance;

    /// The effects of the policy of the test data on a repository whose images have these tags.
    pub(crate) fn effects(repository: &str, tags: &[&str], answer: Value) -> RepositoryEffects {
        let repository = repository.parse().unwrap();
        let policy = governance().rule_for(&repository, RepositoryOrigin::Pushed).unwrap();
        let images: Vec<Image> = tags.iter().map(|tag| tagged(tag, ImageStatus::Active)).collect();
        let today = "2026-11-24".parse().unwrap();
        RepositoryEffects::new(policy, &images, answer, today).unwrap()
    }

    fn tagged(tag: &str, status: ImageStatus) -> Image {
        let digest = format!("sha256:{}", "0a".repeat(32)).parse().unwrap();
        Image { digest, tags: vec![tag.parse().unwrap()], media_type: None, status }
    }

    /// An image in a plan. The digest repeats one digit.
    pub(crate) fn image(digit: &str, tags: &[&str], decision: &str, reason: &str) -> Value {
        let digest = format!("sha256:{}", digit.repeat(64));
        json!({"digest": digest, "tags": tags, "decision": decision, "reason": reason})
    }

    /// A plan with these changes, which removes nothing.
    pub(crate) fn plan(changes: &Value) -> Value {
        let mut answer = json!({
            "repository": "infrastructure",
            "mode": "archive",
            "hash": "0123456789abcdef",
            "retention": "fedcba9876543210",
            "confirmable": false,
            "guard": null,
            "stopped": null,
            "examined": 60,
            "planned": 0,
            "bytes": 1_500_000,
            "removals": [],
        });
        for (name, value) in changes.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer
    }

    fn check(
        repositories: Vec<RepositoryEffects>,
        ungoverned: &[&str],
        has_details: bool,
        expected: &Expect,
    ) {
        let effects = RegistryEffects {
            version: "0123456789abcdef".to_owned(),
            repositories,
            ungoverned: ungoverned.iter().map(|name| name.parse().unwrap()).collect(),
        };
        let code = effects.exit_code();
        expected.assert_eq(&format!("{}\nexit {code}\n", effects.to_text(has_details)));
    }

    #[test]
    fn the_text_has_a_row_for_each_repository_and_the_reason_of_each_tag_and_image() {
        let removals = plan(&json!({
            "planned": 1,
            "stopped": "the plan waits for a confirmation",
            "removals": [
                image("a", &["litellm-v1.0.0", "litellm"], "archive", "number 3 of 3 of litellm"),
                image("b", &["quarantine-1"], "untag", "the image conforms by now"),
            ],
        }));
        let repositories = vec![
            effects("infrastructure", &["litellm-v1.0.0", "litellm-1.80.5", "latest"], removals),
            effects("deployments", &["app-v1.0.0"], plan(&json!({"bytes": 0}))),
        ];
        check(
            repositories,
            &["team-a/web", "team-a/api"],
            false,
            &expect![[r#"
                REPOSITORY      RULE          TAGS REFUSED  IMAGES REMOVED                SIZE    NOTE
                infrastructure  platform      2             1 of 60 (1 archive, 1 untag)  1.5 MB  the plan waits for a confirmation
                deployments     applications  0             0 of 60                       0 B

                No rule governs 2 other repositories.

                infrastructure: 2 tags would be refused
                REFUSED TAG     DIGEST               REASON
                latest          sha256:0a0a0a0a0a0a  does not match {component}-v{semver}
                litellm-1.80.5  sha256:0a0a0a0a0a0a  does not match {component}-v{semver}; did you mean litellm-v1.80.5?

                infrastructure: 1 of 60 images would be archived (1.5 MB)
                Nothing is removed now: the plan waits for a confirmation.
                DECISION  DIGEST               TAGS                    REASON
                archive   sha256:aaaaaaaaaaaa  litellm-v1.0.0 litellm  number 3 of 3 of litellm
                untag     sha256:bbbbbbbbbbbb  quarantine-1            the image conforms by now

                The policy would refuse 2 tags, remove 1 image and remove 1 quarantine tag. Nothing was changed.
                exit 1
            "#]],
        );
    }

    #[test]
    fn the_text_says_that_nothing_is_refused_or_removed() {
        let repositories =
            vec![effects("deployments", &["app-v1.0.0"], plan(&json!({"bytes": 0})))];
        check(
            repositories,
            &["team-a/web"],
            true,
            &expect![[r#"
            REPOSITORY   RULE          TAGS REFUSED  IMAGES REMOVED  SIZE  NOTE
            deployments  applications  0             0 of 60         0 B

            No rule governs the repository team-a/web.

            The policy would refuse 0 tags and remove 0 images. Nothing was changed.
            exit 0
        "#]],
        );
        check(
            vec![],
            &["team-a/web"],
            true,
            &expect![[r#"
            No rule governs the repository team-a/web.

            The policy would refuse 0 tags and remove 0 images. Nothing was changed.
            exit 0
        "#]],
        );
    }

    #[test]
    fn a_repository_without_a_plan_has_the_exit_code_2() {
        let blind = json!({"repository": "deployments", "stopped": "an index cannot be read"});
        check(
            vec![effects("deployments", &[], blind)],
            &[],
            false,
            &expect![[r#"
            REPOSITORY   RULE          TAGS REFUSED  IMAGES REMOVED  SIZE  NOTE
            deployments  applications  0             unknown               no plan: an index cannot be read

            The policy would refuse 0 tags and remove 0 images. Nothing was changed.
            exit 2
        "#]],
        );
    }

    #[test]
    fn a_long_list_is_left_out_without_an_option() {
        let tags: Vec<String> = (0..21).map(|nth| format!("litellm-{nth}")).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let reported = plan(&json!({"planned": 1, "removals": [
            image("a", &["litellm-v1.0.0"], "report", "number 3 of 3 of litellm"),
        ]}));
        check(
            vec![effects("infrastructure", &tags, reported)],
            &[],
            false,
            &expect![[r#"
                REPOSITORY      RULE      TAGS REFUSED  IMAGES REMOVED      SIZE    NOTE
                infrastructure  platform  21            1 of 60 (1 report)  1.5 MB

                --details lists each tag and each image with its reason.

                The policy would refuse 21 tags, remove 0 images and report 1 image. Nothing was changed.
                exit 1
            "#]],
        );
    }

    #[test]
    fn the_tags_of_archived_images_and_of_signatures_and_quarantine_tags_are_not_refused() {
        let policy = governance();
        let repository = "infrastructure".parse().unwrap();
        let policy = policy.rule_for(&repository, RepositoryOrigin::Pushed).unwrap();
        let images = [
            tagged("web", ImageStatus::Active),
            tagged("api", ImageStatus::Archived),
            tagged(&format!("sha256-{}.sig", "0a".repeat(32)), ImageStatus::Active),
            tagged("quarantine-20261101-0a0a0a0a0a0a-web-1", ImageStatus::Active),
        ];
        let refused = find_refused_tags(&policy, &images, "2026-11-24".parse().unwrap());
        let refused: Vec<&str> = refused.iter().map(|refused| refused.tag.as_str()).collect();
        assert_eq!(refused, ["web"]);
    }
}
