//! `ecr-warden restore`: restores images from the archive, or adds a tag to an image.

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
    /// The images, each by its tag or its digest. An archived index is restored with its parts and
    /// referrers.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageReference>,
    /// The tag to add to the image. Adding a tag reads the manifest, which ECR counts as a pull.
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    #[command(flatten)]
    connection: Connection,
}

/// The outcome of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// ECR has begun to restore these images.
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
        "--tag can be used with one image only, because a tag belongs to one image"
    );
    let mut results = Vec::new();
    for image in &options.images {
        let restored = restore_image(&stack, image, tag).await?;
        let text = restored.to_text(image);
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

/// Restores one image with its unit, or adds a tag to an active image.
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
        format!(
            "{repository}@{digest} is gone: ECR does not have the image, so it cannot be restored; \
             push it again"
        )
    })?;
    let status = found.image.status;
    let Some(tag) = tag else {
        // An earlier restore may have been interrupted within the unit, so each image is read.
        let mut archived = BTreeSet::new();
        for image in list_unit(stack, repository, &digest).await? {
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

/// Lists the image and the other images of its unit. The ledger has recorded them when the unit was
/// archived, because ECR returns no manifest of an archived index. An image that is not the root of
/// a unit may be a part of several units. Their roots are then among the archived images.
async fn list_unit(
    stack: &DeployedStack,
    repository: &RepositoryName,
    digest: &Digest,
) -> anyhow::Result<BTreeSet<Digest>> {
    let ledger = stack.ledger().await?;
    let mut units = ledger.units(repository, std::slice::from_ref(digest)).await?;
    if units.is_empty() {
        let archived = stack.registry.archived_images(repository).await?;
        let archived: Vec<Digest> = archived.into_iter().map(|image| image.image.digest).collect();
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
    // Moving a tag would take the tag from another image, which may have no other tag. If tags are
    // mutable, an image that is pushed between this call and the next can still lose its tag.
    if let Some(other) = stack.registry.digest_of(repository, tag).await? {
        bail!("the tag {tag} belongs to another image, {repository}@{other}: choose another tag");
    }
    let manifest = stack.registry.manifest(repository, digest).await?;
    let manifest = manifest.with_context(|| format!("{repository}@{digest} is gone"))?;
    let added = stack.registry.add_tag(repository, digest, &manifest, tag).await;
    added.with_context(|| format!("adding the tag {tag} to {repository}@{digest}"))?;
    Ok(Restored::Tagged(digest.clone(), tag.clone()))
}

impl Restored {
    fn to_text(&self, image: &ImageReference) -> String {
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
