//! The commands of the runbooks, on the deployed stack.

use local_aws::snippets::snippet;

use super::operations::AWS;
use super::{Run, step};
use crate::stack::Stack;

const REPOSITORY: &str = "infrastructure";

impl Run<'_> {
    pub fn runbooks(&self, stack: &Stack<'_>) -> anyhow::Result<()> {
        step("the commands of the runbooks");
        // ECR scans an image on its push, and again after 24 hours.
        self.push(REPOSITORY, "litellm-v1.80.5", 2)?;
        for (name, call, expected) in [
            ("runbooks/alarms.sh", "", ""),
            ("runbooks/concurrency.sh", "", "ConcurrentExecutions"),
            ("runbooks/errors.sh", "errors ImageSweepLogGroup", ""),
            ("runbooks/scan-again.sh", "", "IN_PROGRESS"),
            ("runbooks/settings.sh", "", "IMMUTABLE"),
            ("runbooks/digest.sh", "", "\"digests\""),
            ("runbooks/sweep.sh", "", "\"planned\""),
        ] {
            let printed = self.in_scratch(&format!("{}\n{call}", snippet(name)?))?;
            self.contains(name, &printed, expected)?;
        }
        let queue = stack.resource("FailedEvents")?;
        self.send(&queue, "waiting")?;
        let commands = format!("{AWS}\n{}", snippet("runbooks/queue.sh")?);
        let waiting = self.in_scratch(&format!("{commands}\nwaiting FailedEvents"))?;
        self.contains("a runbook reads the messages of a queue", &waiting, "\"waiting\"")?;
        let purged = format!("{commands}\npurge FailedEvents\nwaiting FailedEvents");
        let left = self.in_scratch(&purged)?;
        self.equal("and deletes them", &left.contains("\"waiting\""), &false)?;
        self.remove_images(REPOSITORY)
    }
}
