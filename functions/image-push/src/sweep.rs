//! Records the push of a tag, and queues the sweep of the repository after a push, at most once an hour for
//! each repository.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tracing::info;
use warden_alerts::About;
use warden_aws::event::plausible_time;
use warden_aws::ledger::PushClaim;
use warden_aws::push::ImagePush;
use warden_aws::sweep_queue::{PushedImage, SweepMessage};
use warden_core::image::RepositoryName;

use crate::Judgement;

/// The repositories whose next sweep is claimed, each with the end of the claim. A warm process
/// remembers the claims, so most pushes claim nothing.
#[derive(Debug, Default)]
pub(crate) struct ClaimedSweeps(Mutex<HashMap<RepositoryName, DateTime<Utc>>>);

impl ClaimedSweeps {
    fn has(&self, repository: &RepositoryName, now: DateTime<Utc>) -> bool {
        let claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.get(repository).is_some_and(|until| now < *until)
    }

    /// Remembers a claim, and forgets claims that have ended.
    fn add(&self, repository: &RepositoryName, until: DateTime<Utc>, now: DateTime<Utc>) {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.retain(|_, until| now < *until);
        claimed.insert(repository.clone(), until);
    }
}

impl Judgement<'_> {
    /// Records the push, and then queues the sweep: a sweep that knows only an earlier push of the tag would
    /// take the tag for older.
    pub(crate) async fn record_push_and_queue_sweep(&self) -> anyhow::Result<()> {
        self.record_push().await?;
        self.queue_sweep().await
    }

    /// Records when the tag was pushed ([`warden_core::tag_times`]). The tag of a signature has no age.
    async fn record_push(&self) -> anyhow::Result<()> {
        let ImagePush { about: About { repository, digest, source, .. }, tag, .. } = self.push;
        let Some(tag) = tag.as_ref().filter(|tag| tag.subject().is_none()) else { return Ok(()) };
        let at = plausible_time(source, self.now);
        self.context.ledger.record_push(repository, digest, tag, at, self.now).await
    }

    /// Queues the sweep of the repository, unless a push of the last hour has done so. The claim comes
    /// before the message: if this attempt is killed in between, the next attempt sends the message.
    async fn queue_sweep(&self) -> anyhow::Result<()> {
        let About { repository, digest, source, .. } = &self.push.about;
        let claimed = &self.context.claimed_sweeps;
        if claimed.has(repository, self.now) {
            return Ok(());
        }
        let ledger = &self.context.ledger;
        let PushClaim { is_ours, until } =
            ledger.claim_pushed_sweep(repository, self.request_id, self.now).await?;
        if is_ours {
            let pushed = PushedImage { digest: digest.clone(), source: source.clone() };
            let message = SweepMessage { repository: repository.clone(), pushed: Some(pushed) };
            self.context.queue.send(&[message]).await?;
            info!(repository.name = %repository, "{repository}: this push queues a sweep");
        }
        claimed.add(repository, until, self.now);
        Ok(())
    }
}
