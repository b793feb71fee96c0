//! `ecr-warden restore`: brings an image back from the archive, or back under a tag.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;
use warden_aws::registry::ImageDescription;
use warden_core::image::{Digest, ImageStatus, RepositoryName, Tag};

use crate::deployed::{Connection, DeployedStack, Output};
use crate::image::{ImageName, ImageReference};
use crate::print::{print, print_json};

/// The options of `ecr-warden restore`.
#[derive(Args)]
pub struct RestoreOptions {
    /// The images, each by a tag or its digest. An archived index comes back with its parts and
    /// referrers.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageReference>,
    /// A tag to add to the image. It reads the manifest of the image, which ECR counts as a pull.
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    #[command(flatten)]
    connection: Connection,
}

/// The outcome of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// These archived images are being restored.
    FromArchive(BTreeSet<Digest>),
    /// ECR is still restoring the image.
    Restoring(Digest),
    /// The image has this tag now.
    Tagged(Digest, Tag),
    /// The image can be pulled already.
    NotNeeded(Digest),
}

/// Restores each image. After an error, the images after it are not restored.
pub async fn restore(options: &RestoreOptions) -> anyhow::Result<()> {
    let stack = DeployedStack::connect(&options.connection).await?;
    let tag = options.tag.as_ref();
    ensure!(
        tag.is_none() || options.images.len() == 1,
        "--tag names one image: a tag can point at one image only"
    );
    let mut results = Vec::new();
    for image in &options.images {
        let restored = restore_image(&stack, image, tag).await?;
        let text = restored.shown(image);
        match options.connection.output {
            Output::Table => print(&text)?,
            Output::Json => results.push(json!({"image": image.to_string(), "text": text})),
        }
    }
    match options.connection.output {
        Output::Table => Ok(()),
        Output::Json => print_json(&results.into()),
    }
}

/// Restores one image, and adds a tag to it.
pub async fn restore_image(
    stack: &DeployedStack,
    image: &ImageReference,
    tag: Option<&Tag>,
) -> anyhow::Result<Restored> {
    let ImageReference { repository, name } = image;
    stack.check_governed(repository)?;
    let digest = match name {
        ImageName::Digest(digest) => digest.clone(),
        ImageName::Tag(tag) => {
            let found = stack.registry.digest_of(repository, tag).await?;
            found.with_context(|| format!("{repository} has no image with the tag {tag}"))?
        }
    };
    let found = stack.registry.image(repository, &digest).await?;
    let found = found.with_context(|| {
        format!("{repository}@{digest} is gone: ECR does not have the image, and cannot restore it")
    })?;
    let status = found.image.status;
    let Some(tag) = tag else {
        // A restore may have ended within a unit, so each image of the unit is looked at.
        let mut archived = BTreeSet::new();
        for image in unit_of(stack, repository, &digest).await? {
            let found = stack.registry.image(repository, &image).await?;
            if found.is_some_and(|found| found.image.status == ImageStatus::Archived) {
                archived.insert(image);
            }
        }
        stack.registry.restore_images(repository, &archived).await?;
        return Ok(match status {
            _ if !archived.is_empty() => Restored::FromArchive(archived),
            ImageStatus::Activating => Restored::Restoring(digest),
            _ => Restored::NotNeeded(digest),
        });
    };
    match status {
        ImageStatus::Archived => bail!(
            "{repository}@{digest} is in the archive: restore it without --tag, and add the tag \
             when it can be pulled, in about twenty minutes"
        ),
        ImageStatus::Activating => {
            bail!("{repository}@{digest} is being restored: add the tag when it can be pulled")
        }
        ImageStatus::Active => add_tag(stack, repository, &found, tag).await,
    }
}

/// The image with the other images of its unit, as the ledger recorded them when the unit was
/// archived: ECR gives no manifest of an archived index. An image that is not the root of a unit
/// may be a part of one or of several. Then their roots are among the archived images.
async fn unit_of(
    stack: &DeployedStack,
    repository: &RepositoryName,
    digest: &Digest,
) -> anyhow::Result<BTreeSet<Digest>> {
    let ledger = stack.ledger().await?;
    let mut units = ledger.units(repository, std::slice::from_ref(digest)).await?;
    if units.is_empty() {
        let archived = stack.registry.archived_images(repository).await?;
        units = ledger.units(repository, &archived).await?;
        units.retain(|_, record| record.images().any(|image| image == digest));
    }
    let unit = units.into_values().flat_map(|record| record.images().cloned().collect::<Vec<_>>());
    Ok(unit.chain([digest.clone()]).collect())
}

async fn add_tag(
    stack: &DeployedStack,
    repository: &RepositoryName,
    found: &ImageDescription,
    tag: &Tag,
) -> anyhow::Result<Restored> {
    let digest = &found.image.digest;
    if found.image.tags.contains(tag) {
        return Ok(Restored::NotNeeded(digest.clone()));
    }
    // A tag that moves would leave another image without it, perhaps without any. A push between this
    // call and the next can still lose its tag, where tags are mutable.
    if let Some(other) = stack.registry.digest_of(repository, tag).await? {
        bail!("the tag {tag} points at {repository}@{other}: restore the image under another tag");
    }
    let manifest = stack.registry.manifest(repository, digest).await?;
    let manifest = manifest.with_context(|| format!("{repository}@{digest} is gone"))?;
    let added = stack.registry.add_tag(repository, digest, &manifest, tag).await;
    added.with_context(|| format!("adding the tag {tag} to {repository}@{digest}"))?;
    Ok(Restored::Tagged(digest.clone(), tag.clone()))
}

impl Restored {
    fn shown(&self, image: &ImageReference) -> String {
        match self {
            Self::FromArchive(images) if images.len() == 1 => {
                format!("{image} is being restored. It can be pulled in about twenty minutes.")
            }
            Self::FromArchive(images) => format!(
                "{image} is being restored with all {} images of its unit. It can be pulled in \
                 about twenty minutes.",
                images.len()
            ),
            Self::Restoring(_) => {
                format!("ECR is still restoring {image}. It can be pulled in about twenty minutes.")
            }
            Self::Tagged(digest, tag) => {
                format!("{}@{digest} has the tag {tag} now.", image.repository)
            }
            Self::NotNeeded(_) => format!("{image} can be pulled already. Nothing was changed."),
        }
    }
}
