//! Handles failed scans: publishes an alert if the artifact is an image.

use tracing::info;
use warden_alerts::{About, FailureReason};
use warden_aws::ledger::Fact;
use warden_aws::registry::scan::ScanFindings;
use warden_aws::telemetry::Counts;
use warden_core::artifact::{ArtifactKind, classify_manifest};
use warden_core::findings::ScanContents;

use super::Invocation;
use super::version::Version;

impl Invocation<'_> {
    /// Handles a failed scan. If ECR has findings now, the image was scanned again.
    pub(super) async fn handle_failed(&self, version: Version) -> anyhow::Result<()> {
        match self.read_findings().await {
            ScanFindings::Gone => self.skip_unknown_image(),
            ScanFindings::Found(..) => self.handle_findings(version, &[]).await,
            ScanFindings::NotScanned { status, description } => {
                let reason = FailureReason::Described(description.as_deref());
                self.publish_failure(&version, &status, reason).await
            }
            ScanFindings::Unread(error) => {
                let reason = FailureReason::Unreadable(&error);
                self.publish_failure(&version, "FAILED", reason).await
            }
        }
    }

    /// Publishes the alert about a failed scan, once. A scan of an artifact that is not an image always
    /// fails, and is ignored.
    pub(super) async fn publish_failure(
        &self,
        version: &Version,
        status: &str,
        reason: FailureReason<'_>,
    ) -> anyhow::Result<()> {
        let About { repository, digest, .. } = &self.scan.about;
        let Some(kind) = self.read_kind().await? else { return self.skip_unknown_image() };
        if !kind.may_be_image() {
            info!(
                repository.name = %repository, image.digest = %digest, artifact.kind = %kind,
                "{repository}@{digest} is not an image ({kind}); its failed scan is ignored"
            );
            return Ok(());
        }
        let found = ScanContents::All(Vec::new());
        let scanned = self.scanned(version, self.publisher.now, found);
        let about = About { digest: version.digest.clone(), ..self.scan.about.clone() };
        let alert =
            warden_alerts::scan_failed(&self.scan_alert(&about, version, &scanned), status, reason);
        // The images of an index share one alert. All versions of a release line share the alert that
        // ECR does not support them, because they have the same base image.
        let fact = if reason.is_unsupported(status) {
            Fact::ScanUnsupported { repository, line: version.line.as_ref() }
        } else {
            Fact::ScanFailed { repository, digest: &version.digest, status }
        };
        self.publisher.publish_once(fact, &alert).await?;
        let counts =
            Counts::new("Stack", &self.publisher.context.config.stack_name).count("ScansFailed", 1);
        counts.write(self.publisher.request_id, self.publisher.now);
        Ok(())
    }

    /// Reads the kind of the scanned artifact. None if ECR does not know the artifact. One call, and
    /// another one for the manifest if the kind is not clear.
    async fn read_kind(&self) -> anyhow::Result<Option<ArtifactKind>> {
        let About { repository, digest, .. } = &self.scan.about;
        let registry = &self.publisher.context.registry;
        let Some(found) = registry.image(repository, digest).await? else { return Ok(None) };
        if found.kind != ArtifactKind::Unknown {
            return Ok(Some(found.kind));
        }
        let manifest = registry.manifest(repository, digest).await?;
        let kind = manifest.map(|manifest| classify_manifest(&manifest.text, &found.image.tags));
        Ok(Some(kind.unwrap_or(found.kind)))
    }
}
