//! Compares the effects of two policies on the images of a registry, image by image.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::NaiveDate;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use warden_aws::registry::CONCURRENT_CALLS;
use warden_core::image::{Digest, RepositoryName, Tag};
use warden_core::policy::{Governance, Policy};

use super::count;
use super::effects::{PlannedBy, RefusedTag, RepositoryEffects, list_images, read_plan, select};
use crate::deployed::DeployedStack;
use crate::plan::{DecidedImage, REPORT, SWEEP, SeenPlan, UNTAG};

/// The differences between the effects of the deployed policy and of another policy.
#[derive(Debug)]
pub struct Comparison {
    /// The version of the deployed policy.
    deployed: String,
    /// The version that the other policy would have after a deployment.
    given: String,
    /// The differences, by repository.
    pub differences: Vec<Difference>,
    /// The repositories whose images could not be compared, each with the reason.
    pub unreadable: BTreeMap<RepositoryName, String>,
    /// The number of repositories that have the same policy in both.
    pub unchanged: usize,
}

/// A difference between the effects of two policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The repository.
    pub repository: RepositoryName,
    /// The kind of the difference.
    pub kind: DifferenceKind,
    /// The tag, or the first tag of the image.
    pub tag: Option<Tag>,
    /// The image.
    pub digest: Option<Digest>,
    /// The effect of the deployed policy, such as `kept`.
    pub before: String,
    /// The effect of the other policy, such as `archived`.
    pub after: String,
    /// The reason for the effect of the other policy.
    pub reason: Option<String>,
}

/// The kind of a difference between the effects of two policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The rule that governs the repository.
    Rule,
    /// Whether sweeps carry out the plan.
    Plan,
    /// Whether a tag is accepted.
    Tag,
    /// Whether an image is kept.
    Image,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), _) => write!(f, ":{tag} ")?,
            (None, Some(digest)) => write!(f, "@{digest} ")?,
            (None, None) => f.write_str(": ")?,
        }
        write!(f, "{} → {}", self.before, self.after)?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

/// Compares a policy with the deployed policy in the named repositories, or in every repository of the
/// registry if the list is empty. Reads only repositories whose policy differs.
pub async fn compare_with_deployed(
    stack: &DeployedStack,
    governance: &Governance,
    named: &[RepositoryName],
    today: NaiveDate,
) -> anyhow::Result<Comparison> {
    let listed = stack.list_repositories(&[&stack.governance, governance]).await?;
    let selected = select(&listed, named)?;
    let policies = selected
        .iter()
        .map(|name| (listed.rule_for(&stack.governance, name), listed.rule_for(governance, name)));
    let changed: Vec<_> = policies.filter(|(deployed, given)| deployed != given).collect();
    let unchanged = selected.len() - changed.len();
    let function = stack.resource(SWEEP).await?;
    let read = changed
        .into_iter()
        .map(async |(deployed, given)| read_both(stack, &function, deployed, given, today).await);
    let read: Vec<[Option<RepositoryEffects>; 2]> =
        stream::iter(read).buffered(CONCURRENT_CALLS).try_collect().await?;
    let (mut differences, mut unreadable) = (Vec::new(), BTreeMap::new());
    for [deployed, given] in &read {
        let (found, why) = compare(deployed.as_ref(), given.as_ref());
        differences.extend(found);
        let either = deployed.as_ref().or(given.as_ref());
        let name = either.map(|effects| effects.policy.repository_name.clone());
        unreadable.extend(name.zip(why));
    }
    let [deployed, given] =
        [&stack.governance, governance].map(|policy| policy.version().to_string());
    Ok(Comparison { deployed, given, differences, unreadable, unchanged })
}

/// Reads the effects of the deployed policy and of another policy on one repository.
async fn read_both(
    stack: &DeployedStack,
    function: &str,
    deployed: Option<Policy>,
    given: Option<Policy>,
    today: NaiveDate,
) -> anyhow::Result<[Option<RepositoryEffects>; 2]> {
    let judging =
        [&deployed, &given].into_iter().flatten().find(|policy| policy.grammar().is_some());
    let images = async {
        match judging {
            Some(policy) => list_images(stack, &policy.repository_name).await,
            None => Ok(Vec::new()),
        }
    };
    let plan = async |policy: &Option<Policy>, by| match policy {
        Some(policy) => read_plan(stack, function, policy, by).await.map(Some),
        None => Ok(None),
    };
    let (images, plan_of_deployed, plan_of_given) = tokio::try_join!(
        images,
        plan(&deployed, PlannedBy::Deployed),
        plan(&given, PlannedBy::Request),
    )?;
    let effects = |policy: Option<Policy>, answer: Option<Value>| {
        let both = policy.zip(answer);
        both.map(|(policy, answer)| RepositoryEffects::new(policy, &images, answer, today))
            .transpose()
    };
    Ok([effects(deployed, plan_of_deployed)?, effects(given, plan_of_given)?])
}

/// Compares the effects of two policies on the images of one repository. None stands for a policy
/// without a rule for the repository, which accepts every tag and keeps every image. If the images
/// cannot be compared, also returns the reason.
#[must_use]
pub fn compare(
    deployed: Option<&RepositoryEffects>,
    given: Option<&RepositoryEffects>,
) -> (Vec<Difference>, Option<String>) {
    let Some(RepositoryEffects { policy, .. }) = given.or(deployed) else { return (vec![], None) };
    let difference = |kind, before: &str, after: &str| Difference {
        repository: policy.repository_name.clone(),
        kind,
        tag: None,
        digest: None,
        before: before.to_owned(),
        after: after.to_owned(),
        reason: None,
    };
    let mut found = Vec::new();
    let rule = |effects: Option<&RepositoryEffects>| match effects {
        Some(effects) => format!("rule {}", effects.policy.rule),
        None => "no rule".to_owned(),
    };
    if deployed.is_none() || given.is_none() {
        found.push(difference(DifferenceKind::Rule, &rule(deployed), &rule(given)));
    }
    let [refused_before, refused_after] = [deployed, given].map(tags_by_name);
    for tag in names(&refused_before, &refused_after) {
        let (before, after) = match (refused_before.get(tag), refused_after.get(tag)) {
            (None, Some(_)) => ("accepted", "refused"),
            (Some(_), None) => ("refused", "accepted"),
            _ => continue,
        };
        let refused = refused_after.get(tag).or(refused_before.get(tag));
        found.push(Difference {
            tag: Some((*tag).clone()),
            digest: refused.map(|refused| refused.digest.clone()),
            reason: refused_after.get(tag).map(|refused| refused.explain()),
            ..difference(DifferenceKind::Tag, before, after)
        });
    }
    let [before, after] = match [deployed, given].map(whole_plan) {
        [Ok(before), Ok(after)] => [before, after],
        [Err(why), _] | [_, Err(why)] => return (found, Some(why)),
    };
    let [removals_before, removals_after] = [deployed, given].map(Removals::read);
    let reason = match (&removals_before, &removals_after) {
        (Removals::None | Removals::CarriedOut, Removals::Stopped(why)) => Some(Some(why.clone())),
        (Removals::Stopped(_), Removals::CarriedOut) => Some(None),
        _ => None,
    };
    found.extend(reason.map(|reason| Difference {
        reason,
        ..difference(DifferenceKind::Plan, removals_before.describe(), removals_after.describe())
    }));
    let [removed_before, removed_after] = [before, after].map(removals_by_name);
    let kept = |image: &DecidedImage| {
        let mut keeps = after.into_iter().flat_map(|plan| &plan.keeps);
        keeps.find(|kept| kept.digest == image.digest).map(|kept| kept.reason.clone())
    };
    for name in names(&removed_before, &removed_after) {
        let (before, after) = (removed_before.get(name), removed_after.get(name));
        let Some(image) = after.or(before) else { continue };
        let [effect_before, effect_after] = [before, after]
            .map(|image| describe_decision(image.map(|image| image.decision.as_str())));
        if effect_before == effect_after {
            continue;
        }
        found.push(Difference {
            tag: image.tags.first().cloned(),
            digest: Some(image.digest.clone()),
            reason: after.map_or_else(|| kept(image), |image| Some(image.reason.clone())),
            ..difference(DifferenceKind::Image, effect_before, effect_after)
        });
    }
    found.sort_by(|one, other| {
        let key = |difference: &Difference| {
            (difference.kind, difference.tag.clone(), difference.digest.clone())
        };
        key(one).cmp(&key(other))
    });
    (found, None)
}

/// The keys of two maps, each once.
fn names<'m, K: Ord, V>(one: &'m BTreeMap<K, V>, other: &'m BTreeMap<K, V>) -> BTreeSet<&'m K> {
    one.keys().chain(other.keys()).collect()
}

fn tags_by_name(effects: Option<&RepositoryEffects>) -> BTreeMap<&Tag, &RefusedTag> {
    let refused = effects.into_iter().flat_map(|effects| &effects.refused);
    refused.map(|refused| (&refused.tag, refused)).collect()
}

/// The plan with all of its removals. The error is the reason why there is no such plan.
fn whole_plan(effects: Option<&RepositoryEffects>) -> Result<Option<&SeenPlan>, String> {
    let Some(effects) = effects else { return Ok(None) };
    let Some(seen) = &effects.plan.seen else {
        return Err(effects.plan.stopped.clone().unwrap_or_default());
    };
    let listed = seen.images().count();
    if listed < seen.planned {
        let planned = seen.planned;
        return Err(format!("the function lists only {listed} of the {planned} removed images"));
    }
    Ok(Some(seen))
}

/// Whether sweeps carry out the removals of a plan.
enum Removals {
    /// The plan has no removals.
    None,
    /// The next sweep carries them out.
    CarriedOut,
    /// No sweep carries them out, for this reason.
    Stopped(String),
}

impl Removals {
    fn read(effects: Option<&RepositoryEffects>) -> Self {
        let Some(RepositoryEffects { plan, .. }) = effects else { return Self::None };
        let mut removals = plan.seen.iter().flat_map(|seen| &seen.removals);
        match &plan.stopped {
            _ if removals.all(|image| image.decision == REPORT) => Self::None,
            Some(why) => Self::Stopped(why.clone()),
            None => Self::CarriedOut,
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::None => "no removals",
            Self::CarriedOut => "removals are carried out",
            Self::Stopped(_) => "removals are stopped",
        }
    }
}

/// The removals of a plan by their images. A quarantine tag is an entry of its own.
fn removals_by_name(plan: Option<&SeenPlan>) -> BTreeMap<(&Digest, Option<&Tag>), &DecidedImage> {
    let removals = plan.into_iter().flat_map(|plan| &plan.removals);
    let named = removals.map(|image| {
        let tag = image.tags.first().filter(|_| image.decision == UNTAG);
        ((&image.digest, tag), image)
    });
    named.collect()
}

/// The effect of a decision of a plan. No decision means that the image is kept.
fn describe_decision(decision: Option<&str>) -> &str {
    match decision {
        None => "kept",
        Some("archive") => "archived",
        Some("delete") => "deleted",
        Some(REPORT) => "reported",
        Some(UNTAG) => "removed",
        Some(other) => other,
    }
}

impl Comparison {
    /// The exit code: 2 if a repository could not be compared, 1 if the policies differ.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.unreadable.is_empty() { u8::from(!self.differences.is_empty()) } else { 2 }
    }

    /// A line for each difference. `name` is the name of the other policy.
    #[must_use]
    pub fn to_text(&self, name: &str) -> String {
        let lines = self.differences.iter().map(ToString::to_string);
        let unreadable = self.unreadable.iter();
        let unreadable =
            unreadable.map(|(name, why)| format!("{name}: the images cannot be compared: {why}"));
        let differences = match self.differences.len() {
            0 => "no difference".to_owned(),
            differences => count(differences, "difference"),
        };
        let unchanged = match self.unchanged {
            0 => String::new(),
            unchanged => format!(" The policy of {} is the same.", count(unchanged, "repository")),
        };
        let end = format!(
            "{name} has {differences} from the deployed policy {}.{unchanged} Nothing was changed.",
            self.deployed
        );
        let lines: Vec<String> = lines.chain(unreadable).collect();
        if lines.is_empty() { end } else { format!("{}\n\n{end}", lines.join("\n")) }
    }

    /// Everything, for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "policy": self.given,
            "deployedPolicy": self.deployed,
            "differences": self.differences,
            "unreadable": self.unreadable,
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::policy::effects::tests::{effects, image, plan};

    /// Checks the lines of the differences between the effects of two policies, and the reason why images
    /// could not be compared.
    fn check(
        deployed: Option<&RepositoryEffects>,
        given: Option<&RepositoryEffects>,
        expected: &Expect,
    ) {
        let (found, why) = compare(deployed, given);
        let lines = found.iter().map(|difference| format!("{difference}\n"));
        let why = why.map(|why| format!("not compared: {why}\n"));
        expected.assert_eq(&lines.chain(why).collect::<String>());
    }

    #[test]
    fn each_image_whose_decision_differs_is_a_difference_with_the_new_reason() {
        let deployed = effects(
            "infrastructure",
            &[],
            plan(&json!({"planned": 3, "removals": [
                image("a", &["app-v1.0.0"], "archive", "number 3 of 3 of app"),
                image("b", &["app-v1.1.0"], "archive", "number 2 of 3 of app"),
                image("c", &[], "archive", "untagged for 10 days"),
            ]})),
        );
        let given = effects(
            "infrastructure",
            &[],
            plan(&json!({
                "planned": 3,
                "removals": [
                    image("a", &["app-v1.0.0"], "archive", "another reason"),
                    image("c", &[], "delete", "untagged for 10 days"),
                    image("d", &["app-v1.2.0", "app"], "delete", "number 1 of 3 of app"),
                    image("e", &["quarantine-1"], "untag", "the image conforms by now"),
                ],
                "keeps": [image("b", &["app-v1.1.0"], "keep", "the newest 2 are kept")],
            })),
        );
        check(
            Some(&deployed),
            Some(&given),
            &expect![[r#"
            infrastructure@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc archived → deleted (untagged for 10 days)
            infrastructure:app-v1.1.0 archived → kept (the newest 2 are kept)
            infrastructure:app-v1.2.0 kept → deleted (number 1 of 3 of app)
            infrastructure:quarantine-1 kept → removed (the image conforms by now)
        "#]],
        );
        check(Some(&given), Some(&given), &expect![""]);
    }

    #[test]
    fn each_tag_that_only_one_policy_refuses_is_a_difference() {
        let refusing = |tags: &[&str]| effects("infrastructure", tags, plan(&json!({})));
        let deployed = refusing(&["app-v1.0.0", "web", "both"]);
        let given = refusing(&["app-v1.0.0", "litellm-1.80.5", "both"]);
        check(
            Some(&deployed),
            Some(&given),
            &expect![[r#"
            infrastructure:litellm-1.80.5 accepted → refused (does not match {component}-v{semver}; did you mean litellm-v1.80.5?)
            infrastructure:web refused → accepted
        "#]],
        );
        check(
            None,
            Some(&given),
            &expect![[r#"
            infrastructure: no rule → rule platform
            infrastructure:both accepted → refused (does not match {component}-v{semver})
            infrastructure:litellm-1.80.5 accepted → refused (does not match {component}-v{semver}; did you mean litellm-v1.80.5?)
        "#]],
        );
        check(
            Some(&deployed),
            None,
            &expect![[r#"
            infrastructure: rule platform → no rule
            infrastructure:both refused → accepted
            infrastructure:web refused → accepted
        "#]],
        );
    }

    #[test]
    fn a_plan_that_stops_or_is_carried_out_is_a_difference() {
        let removal = [image("a", &["app-v1.0.0"], "archive", "number 3 of 3 of app")];
        let with = |stopped: Value, removals: &[Value]| {
            let answer =
                json!({"stopped": stopped, "planned": removals.len(), "removals": removals});
            effects("infrastructure", &[], plan(&answer))
        };
        let stopped = with(json!("the plan waits for a confirmation"), &removal);
        let applied = with(Value::Null, &removal);
        let empty = with(Value::Null, &[]);
        check(
            Some(&applied),
            Some(&stopped),
            &expect![[r#"
            infrastructure: removals are carried out → removals are stopped (the plan waits for a confirmation)
        "#]],
        );
        check(
            Some(&stopped),
            Some(&applied),
            &expect![[r#"
            infrastructure: removals are stopped → removals are carried out
        "#]],
        );
        check(
            Some(&empty),
            Some(&stopped),
            &expect![[r#"
            infrastructure: no removals → removals are stopped (the plan waits for a confirmation)
            infrastructure:app-v1.0.0 kept → archived (number 3 of 3 of app)
        "#]],
        );
        check(
            Some(&stopped),
            Some(&empty),
            &expect![[r#"
            infrastructure:app-v1.0.0 archived → kept
        "#]],
        );
    }

    #[test]
    fn images_of_a_plan_that_is_missing_or_not_whole_are_not_compared() {
        let blind = json!({"repository": "infrastructure", "stopped": "an index cannot be read"});
        let blind = effects("infrastructure", &["web"], blind);
        let cut = effects("infrastructure", &[], plan(&json!({"planned": 1})));
        check(
            Some(&cut),
            Some(&blind),
            &expect![[r#"
            infrastructure:web accepted → refused (does not match {component}-v{semver})
            not compared: the function lists only 0 of the 1 removed images
        "#]],
        );
        check(
            None,
            Some(&cut),
            &expect![[r#"
            infrastructure: no rule → rule platform
            not compared: the function lists only 0 of the 1 removed images
        "#]],
        );
    }

    #[test]
    fn the_text_has_the_number_of_differences_and_the_exit_code_is_2_without_a_comparison() {
        let comparison = |differences: usize, unreadable: &[&str]| Comparison {
            deployed: "0123456789abcdef".to_owned(),
            given: "fedcba9876543210".to_owned(),
            differences: vec![
                Difference {
                    repository: "infrastructure".parse().unwrap(),
                    kind: DifferenceKind::Rule,
                    tag: None,
                    digest: None,
                    before: "no rule".to_owned(),
                    after: "rule platform".to_owned(),
                    reason: None,
                };
                differences
            ],
            unreadable: unreadable
                .iter()
                .map(|name| (name.parse().unwrap(), "an index cannot be read".to_owned()))
                .collect(),
            unchanged: 2,
        };
        let mut texts = String::new();
        for comparison in [comparison(0, &[]), comparison(1, &[]), comparison(2, &["deployments"])]
        {
            let code = comparison.exit_code();
            texts += &format!("{}\nexit {code}\n\n", comparison.to_text("policy.yaml"));
        }
        expect![[r#"
            policy.yaml has no difference from the deployed policy 0123456789abcdef. The policy of 2 repositories is the same. Nothing was changed.
            exit 0

            infrastructure: no rule → rule platform

            policy.yaml has 1 difference from the deployed policy 0123456789abcdef. The policy of 2 repositories is the same. Nothing was changed.
            exit 1

            infrastructure: no rule → rule platform
            infrastructure: no rule → rule platform
            deployments: the images cannot be compared: an index cannot be read

            policy.yaml has 2 differences from the deployed policy 0123456789abcdef. The policy of 2 repositories is the same. Nothing was changed.
            exit 2

        "#]].assert_eq(&texts);
    }
}
