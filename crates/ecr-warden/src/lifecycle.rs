//! `ecr-warden restore-lifecycle`: puts back the lifecycle policy that an adoption replaced.

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;
use warden_aws::registry::Registry;
use warden_aws::registry::replaced_lifecycle::ReplacedLifecycle;
use warden_core::image::RepositoryName;
use warden_core::lifecycle::{have_same_rules, is_written_by_warden};

use crate::deployed::load_configuration;
use crate::print::print;

/// The options of `ecr-warden restore-lifecycle`.
#[derive(Args)]
pub struct RestoreLifecycleOptions {
    /// The repository, which has left the stack.
    #[arg(value_name = "REPOSITORY")]
    repository: RepositoryName,
    /// Puts the lifecycle policy back that has this hash. Without this option, the command only shows
    /// the policy and its hash.
    #[arg(long, value_name = "HASH")]
    apply: Option<String>,
    /// The region of the repository. By default the region of the AWS configuration.
    #[arg(long)]
    region: Option<String>,
    /// A profile of the AWS configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// The outcome for the lifecycle policy of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LifecycleOutcome {
    /// The repository has no tags with a replaced lifecycle policy.
    NothingStored,
    /// The replaced lifecycle policy is in force already.
    InForce,
    /// Somebody else wrote or deleted the lifecycle policy since. Nothing was changed.
    ChangedSince(ReplacedLifecycle),
    /// The replaced lifecycle policy can be put back.
    Restorable(ReplacedLifecycle),
    /// The replaced lifecycle policy was put back.
    Restored(ReplacedLifecycle),
}

/// Shows or puts back the lifecycle policy that an adoption replaced.
pub async fn restore_lifecycle(options: &RestoreLifecycleOptions) -> anyhow::Result<ExitCode> {
    let (region, profile) = (options.region.as_deref(), options.profile.as_deref());
    let registry = Registry::new(&load_configuration(region, profile).await?);
    let outcome =
        restore_replaced(&registry, &options.repository, options.apply.as_deref()).await?;
    print(&outcome.shown(&options.repository))?;
    Ok(match outcome {
        LifecycleOutcome::NothingStored | LifecycleOutcome::ChangedSince(_) => ExitCode::from(1),
        LifecycleOutcome::InForce
        | LifecycleOutcome::Restorable(_)
        | LifecycleOutcome::Restored(_) => ExitCode::SUCCESS,
    })
}

/// Compares the lifecycle policy in force with the replaced one. Puts the replaced one back if `apply`
/// is its hash, and ECR Warden wrote the policy in force.
pub async fn restore_replaced(
    registry: &Registry,
    repository: &RepositoryName,
    apply: Option<&str>,
) -> anyhow::Result<LifecycleOutcome> {
    let description = registry.describe_repository(repository).await?;
    let description =
        description.with_context(|| format!("there is no repository {repository}"))?;
    let tags = registry.repository_tags(&description.arn).await;
    let tags = tags.with_context(|| format!("listing the tags of {repository}"))?;
    let Some(replaced) = ReplacedLifecycle::from_tags(&tags)? else {
        return Ok(LifecycleOutcome::NothingStored);
    };
    let in_force = registry.lifecycle_policy(repository).await;
    let in_force =
        in_force.with_context(|| format!("reading the lifecycle policy of {repository}"))?;
    let is_in_force = match (&replaced, &in_force) {
        (ReplacedLifecycle::NoPolicy, None) => true,
        (ReplacedLifecycle::Policy(replaced), Some(in_force)) => {
            have_same_rules(replaced, in_force)
        }
        _ => false,
    };
    if is_in_force {
        return Ok(LifecycleOutcome::InForce);
    }
    if !in_force.as_deref().is_some_and(is_written_by_warden) {
        return Ok(LifecycleOutcome::ChangedSince(replaced));
    }
    let Some(hash) = apply else { return Ok(LifecycleOutcome::Restorable(replaced)) };
    ensure!(
        hash == replaced.hash(),
        "the lifecycle policy that the tags of {repository} hold does not have the hash {hash}: read it again \
         with ecr-warden restore-lifecycle {repository}"
    );
    match &replaced {
        ReplacedLifecycle::NoPolicy => registry.delete_lifecycle_policy(repository).await,
        ReplacedLifecycle::Policy(text) => registry.put_lifecycle_policy(repository, text).await,
    }
    .with_context(|| format!("restoring the lifecycle policy of {repository}"))?;
    Ok(LifecycleOutcome::Restored(replaced))
}

impl LifecycleOutcome {
    /// The text for people.
    #[must_use]
    pub fn shown(&self, repository: &RepositoryName) -> String {
        match self {
            Self::NothingStored => format!(
                "{repository} has no stored lifecycle policy: ECR Warden replaced none, or the policy \
                 was too long for tags and is in the log of CustomResourceFunction only"
            ),
            Self::InForce => {
                format!("{repository} has the lifecycle policy from before the adoption already")
            }
            Self::ChangedSince(replaced) => format!(
                "The lifecycle policy of {repository} was changed since ECR Warden wrote it, so nothing \
                 was changed.\n{}",
                stored(replaced)
            ),
            Self::Restorable(replaced) => format!(
                "{}\nTo put it back, run ecr-warden restore-lifecycle {repository} --apply {}. ECR may \
                 expire images by this policy within 24 hours.",
                stored(replaced),
                replaced.hash()
            ),
            Self::Restored(replaced) => {
                format!("The lifecycle policy of {repository} is restored.\n{}", stored(replaced))
            }
        }
    }
}

fn stored(replaced: &ReplacedLifecycle) -> String {
    match replaced {
        ReplacedLifecycle::NoPolicy => {
            "Before the adoption, the repository had no lifecycle policy.".to_owned()
        }
        ReplacedLifecycle::Policy(text) => {
            let policy: Value = serde_json::from_str(text).unwrap_or_else(|_| text.clone().into());
            format!("Before the adoption, the lifecycle policy was:\n{policy:#}")
        }
    }
}
