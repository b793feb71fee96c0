//! Reads that do not show a push at once.
//!
//! Guess: ECR documents no delay, but promises no consistency between its events and its reads
//! either. Here a pushed image is unknown to each read for a fixed time, and so is a tag that an
//! image got. Removals show at once, and writes know every image. What a read in that time would
//! record, such as a pull, is not recorded.

use super::{Call, Images, Registry, Time};

/// The lag of reads, and the pushes that reads do not show yet.
#[derive(Debug, Default)]
pub(super) struct ReadLag {
    lasts: Time,
    pushes: Vec<RecentPush>,
}

/// A push that changed a repository.
#[derive(Debug)]
pub(super) struct RecentPush {
    pub repository: String,
    pub digest: String,
    /// The pushed tag.
    pub tag: Option<String>,
    /// Whether the image was unknown before.
    pub is_new_image: bool,
    pub at: Time,
}

const READS: [&str; 5] = [
    "BatchGetImage",
    "DescribeImageScanFindings",
    "DescribeImages",
    "ListImageReferrers",
    "ListImages",
];

impl Registry {
    /// Hides each later push from reads for so many seconds.
    pub fn set_read_lag(&mut self, seconds: Time) {
        self.lag = ReadLag { lasts: seconds, pushes: Vec::new() };
    }

    pub(super) fn note_push(&mut self, push: RecentPush) {
        if self.lag.lasts > 0.0 {
            self.lag.pushes.push(push);
        }
    }

    /// Removes recent pushes from a repository if the call reads it. Returns all images, to be
    /// put back after the call.
    pub(super) fn hide_recent_pushes(&mut self, call: &Call<'_>, name: &str) -> Option<Images> {
        let lasts = self.lag.lasts;
        self.lag.pushes.retain(|push| push.at + lasts > call.now);
        let hidden: Vec<&RecentPush> =
            self.lag.pushes.iter().filter(|push| push.repository == name).collect();
        if hidden.is_empty() || !READS.contains(&call.operation) {
            return None;
        }
        let images = &mut self.repositories.get_mut(name)?.images;
        let whole = images.clone();
        for push in hidden {
            images.hide(&push.digest, push.tag.as_deref(), push.is_new_image);
        }
        Some(whole)
    }
}
