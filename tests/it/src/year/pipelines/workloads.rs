//! Workloads, and the channels whose images they run.

use serde_json::{Value, json};

use super::{Component, Pipelines};
use crate::year::oracle::TagUse;
use crate::year::rates::{DRAIN, Group, NODE_LIFE, ROLLBACK, ROLLBACK_DAYS};
use crate::year::schedule::{Job, Step};
use crate::year::{DAY, Seconds};

/// A workload, which runs images of a repository.
#[derive(Debug)]
pub struct Workload {
    repository: String,
    digests: Vec<String>,
    /// Whether the nodes of the workload are replaced.
    pulls_again: bool,
    has_ended: bool,
}

impl Pipelines {
    /// Moves production to an image, and plans a roll-back if the promotion fails.
    pub(super) fn promote(&mut self, nth: usize, digest: &str) {
        let before =
            self.components[nth].production.and_then(|workload| self.workloads.get(workload));
        let before = before.and_then(|workload| workload.digests.first().cloned());
        self.move_channel(nth, "prod", digest);
        if let Some(before) = before.filter(|before| before != digest)
            && ROLLBACK.happens(&mut self.numbers)
        {
            let days = ROLLBACK_DAYS.draw(&mut self.numbers);
            self.plan(nth, days, Job::RollBack(before));
        }
    }

    /// Moves a channel of a service or an application to an image, and replaces its workload.
    pub(super) fn move_channel(&mut self, nth: usize, channel: &str, digest: &str) {
        let Component { group, name, .. } = &self.components[nth];
        let tag = match group {
            Group::Apps => channel.to_owned(),
            _ => format!("{name}-{channel}"),
        };
        if self.add_tag(nth, &tag, digest, TagUse::Channel) {
            self.replace_production(nth, digest, channel == "prod");
        }
    }

    /// Starts a workload in production or in staging. The workload of the version before ends some days later.
    pub(super) fn replace_production(&mut self, nth: usize, digest: &str, is_production: bool) {
        let pulls_again = !(is_production && self.components[nth].is_silent());
        let started = self.start(nth, vec![digest.to_owned()], pulls_again);
        let component = &mut self.components[nth];
        let place = if is_production { &mut component.production } else { &mut component.staging };
        let before = std::mem::replace(place, started);
        if let Some(before) = before {
            let days = DRAIN.draw(&mut self.numbers);
            self.schedule.add(self.now + Seconds::from(days) * DAY, Step::End(before));
        }
    }

    /// Starts a workload, which pulls its images. Returns its number. Without images, nothing starts.
    pub(super) fn start(
        &mut self,
        nth: usize,
        digests: Vec<String>,
        pulls_again: bool,
    ) -> Option<usize> {
        if digests.is_empty() {
            return None;
        }
        let repository = self.components[nth].repository.clone();
        for digest in &digests {
            self.oracle.record_start(&repository, digest);
        }
        self.workloads.push(Workload { repository, digests, pulls_again, has_ended: false });
        let workload = self.workloads.len() - 1;
        self.pull(workload);
        Some(workload)
    }

    /// A workload pulls its images. Its next pull is planned.
    pub fn pull(&mut self, workload: usize) {
        let Workload { repository, digests, pulls_again, has_ended } = &self.workloads[workload];
        if *has_ended {
            return;
        }
        let (repository, digests, pulls_again) =
            (repository.clone(), digests.clone(), *pulls_again);
        self.pull_images(&repository, &digests);
        if pulls_again {
            let days = NODE_LIFE.draw(&mut self.numbers);
            self.schedule.add(self.now + Seconds::from(days) * DAY, Step::Pull(workload));
        }
    }

    pub(super) fn pull_images(&mut self, repository: &str, digests: &[String]) {
        let ids: Vec<Value> = digests.iter().map(|digest| json!({"imageDigest": digest})).collect();
        let get = json!({"repositoryName": repository, "imageIds": ids});
        let pulled = self.aws.by_hand("BatchGetImage", &get);
        let failed = pulled.map(|pulled| pulled["failures"].clone()).unwrap_or_default();
        if failed != json!([]) {
            self.failures.push(format!("{repository}: a pull failed: {failed}"));
        }
        for digest in digests {
            self.oracle.record_pull(repository, digest, self.now);
        }
    }

    /// Ends a workload.
    pub fn end(&mut self, workload: usize) {
        let workload = &mut self.workloads[workload];
        workload.has_ended = true;
        for digest in &workload.digests {
            self.oracle.record_end(&workload.repository, digest);
        }
    }
}
