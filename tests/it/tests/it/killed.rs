//! Rounds, sweeps and pushes of many repositories while ECR throttles and functions are killed at
//! random points.
//!
//! Each call takes a random time before and after it is served, and a function is killed after a random
//! time, so a kill may come before, between and after any calls. A message of the queue of sweeps that
//! is not handled becomes visible again after the visibility timeout, as in SQS.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use it::many_repositories::{deploy, name};
use local_aws::Fault;
use local_aws::sample::{Numbers, seeds};
use local_aws::world::World;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::faults::function::Function;

const COUNT: usize = 60;
/// The number of images in each repository, and of versions that the rule keeps.
const IMAGES: u32 = 8;
/// The visibility timeout and the receive limit of the queue of sweeps.
const VISIBILITY: Duration = Duration::from_secs(5_400);
const RECEIVES: usize = 5;
/// The retries of Lambda.
const RETRIES: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(120), Duration::from_secs(0)];
/// The operations of ECR that are throttled.
const THROTTLED: [&str; 6] = [
    "BatchGetImage",
    "DescribeImages",
    "DescribeRepositories",
    "GetLifecyclePolicy",
    "PutImage",
    "UpdateImageStorageClass",
];

/// A registry whose functions are killed and throttled.
struct Storm {
    world: World,
    numbers: Numbers,
    /// Whether functions are killed and calls are throttled.
    rages: bool,
    /// The number of times that each fact was published.
    published: BTreeMap<String, usize>,
    /// The number of killed attempts that published each fact.
    published_before_kill: BTreeMap<String, usize>,
    /// The repositories in the dead-letter queue of sweeps.
    dead: BTreeSet<String>,
    kills: usize,
    throttles: usize,
    redeliveries: usize,
}

/// The facts of an alert. Each removed image is a fact.
fn facts(alert: &Value) -> Vec<String> {
    let (kind, repository) = (&alert["kind"], alert["repository"].as_str().unwrap());
    if let (Some("cleanup"), Some(images)) = (kind.as_str(), alert["details"]["images"].as_array())
        && alert["details"]["stopped"].is_null()
    {
        let fact = |image: &Value| format!("{repository} {} {}", image["decision"], image["tags"]);
        return images.iter().map(fact).collect();
    }
    vec![format!("{repository} {kind} {} {}", alert["title"], alert["image"]["digest"])]
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        let world = deploy(COUNT, IMAGES, IMAGES).await;
        world.aws.delay_calls(seed, Duration::from_millis(1)..Duration::from_millis(40));
        Self {
            world,
            numbers: Numbers::new(seed),
            rages: true,
            published: BTreeMap::new(),
            published_before_kill: BTreeMap::new(),
            dead: BTreeSet::new(),
            kills: 0,
            throttles: 0,
            redeliveries: 0,
        }
    }

    fn is_chosen(&mut self, of_a_hundred: usize) -> bool {
        self.rages && self.numbers.below(100) < of_a_hundred
    }

    /// Makes one attempt, in a process of its own. Returns whether it succeeded.
    async fn attempt(&mut self, function: Function, event: &Value, request_id: &str) -> bool {
        if self.is_chosen(30) {
            // Throttles each call, or one call, which the SDK tries again.
            let operation = THROTTLED[self.numbers.below(THROTTLED.len())];
            let nth = self.numbers.below(3);
            self.world.aws.fault(operation, nth, Fault::Error(400, "ThrottlingException"));
            self.throttles += 1;
        }
        let killed_after = if self.is_chosen(40) {
            Duration::from_millis(u64::try_from(self.numbers.below(300)).unwrap())
        } else {
            function.timeout(&self.world)
        };
        let attempt = Box::pin(function.attempt(&self.world, event, request_id));
        let ended = timeout(killed_after, attempt).await;
        self.world.aws.heal();
        self.world.settle().await;
        self.kills += usize::from(ended.is_err());
        for fact in self.world.alerts().iter().flat_map(facts) {
            if ended.is_err() {
                *self.published_before_kill.entry(fact.clone()).or_default() += 1;
            }
            *self.published.entry(fact).or_default() += 1;
        }
        self.check_kept_images();
        matches!(ended, Ok(Ok(_)))
    }

    /// Delivers an event as Lambda does: three attempts. A person then replays the failed event.
    async fn deliver(&mut self, function: Function, event: &Value, id: &str) {
        for replay in 0.. {
            for wait in RETRIES {
                if self.attempt(function, event, &format!("{id} {replay}")).await {
                    return;
                }
                self.world.aws.advance(wait);
            }
            assert!(replay < 10, "{id} fails without end: {}", local_aws::log::text());
        }
    }

    /// Handles the messages of the queue of sweeps. Returns the repositories of the messages.
    async fn sweep(&mut self) -> BTreeSet<String> {
        let messages = self.world.take_messages("SweepQueue").await;
        let repository = |message: &Value| message["repository"].as_str().unwrap().to_owned();
        let queued = messages.iter().map(repository).collect();
        let mut queue: VecDeque<(Value, usize)> =
            messages.into_iter().map(|message| (message, 1)).collect();
        while !queue.is_empty() {
            let mut invisible = VecDeque::new();
            for (message, receives) in queue {
                let event = json!({"Records": [{"body": message.to_string()}]});
                let id = format!("{message} {receives}");
                if self.attempt(Function::ImageSweep, &event, &id).await {
                    continue;
                }
                self.redeliveries += 1;
                if receives == RECEIVES {
                    self.dead.insert(repository(&message));
                } else {
                    invisible.push_back((message, receives + 1));
                }
            }
            queue = invisible;
            self.world.aws.advance(VISIBILITY);
        }
        queued
    }

    async fn round(&mut self, id: &str) {
        self.deliver(Function::SweepDispatch, &json!({}), id).await;
    }

    /// Pushes an image with this tag, and delivers the events of ECR.
    async fn push(&mut self, repository: &str, tag: &str) {
        let _ = self.world.push(repository, &[tag]);
        loop {
            let events = std::mem::take(&mut self.world.aws.state().ecr().events);
            let is_push = |event: &&Value| event["detail"]["action-type"] == "PUSH";
            let pushes: Vec<&Value> = events.iter().filter(is_push).collect();
            if pushes.is_empty() {
                return;
            }
            for event in pushes {
                let id = event["id"].as_str().unwrap().to_owned();
                self.deliver(Function::ImagePush, event, &id).await;
            }
        }
    }

    /// The tags of the active images of each repository.
    fn active_tags(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut state = self.world.aws.state();
        let repositories = state.ecr().repositories.iter();
        let tags = repositories.map(|(name, repository)| {
            let active = repository.images.iter().filter(|image| image.status.name() == "ACTIVE");
            (name.clone(), active.flat_map(|image| image.tags.iter().cloned()).collect())
        });
        tags.collect()
    }

    /// The versions of a repository, the highest first. Version 2 was pushed in the storm.
    fn versions(&self, repository: &str) -> Vec<String> {
        let mut state = self.world.aws.state();
        let images = &state.ecr().repositories[repository].images;
        let tags = images.iter().flat_map(|image| image.tags.iter().cloned());
        let mut versions: Vec<String> = tags.filter(|tag| tag.starts_with("myapp-v")).collect();
        versions.sort();
        versions.reverse();
        versions
    }

    /// Checks that every image that the rule keeps is active.
    fn check_kept_images(&self) {
        for (repository, active) in self.active_tags() {
            for kept in self.versions(&repository).iter().take(IMAGES as usize) {
                assert!(active.contains(kept), "{repository}:{kept} is removed");
            }
        }
    }
}

async fn check(seed: u64) {
    let mut storm = Storm::begin(seed).await;
    let all: BTreeSet<String> = (0..COUNT).map(name).collect();
    storm.round("first").await;
    assert_eq!(storm.sweep().await, all, "the round queues every repository");

    // Some repositories get new versions, and some get a tag that violates the grammar.
    let pushed: Vec<String> = (0..COUNT).step_by(4).map(name).collect();
    for (nth, repository) in pushed.iter().enumerate() {
        storm.push(repository, "myapp-v2.0.0").await;
        if nth % 3 == 0 {
            storm.push(repository, "mcp_github_latest").await;
        }
    }
    let queued = storm.sweep().await;
    assert!(pushed.iter().all(|repository| queued.contains(repository)), "{queued:?}");

    // ECR recovers. The next round queues every repository without a complete sweep, also where the
    // message is in the dead-letter queue.
    storm.rages = false;
    let dead = std::mem::take(&mut storm.dead);
    storm.world.aws.advance(Duration::from_secs(86_400));
    storm.round("second").await;
    storm.sweep().await;
    storm.world.aws.advance(Duration::from_secs(86_400));
    storm.round("third").await;
    storm.sweep().await;
    // Every repository has the record of a complete sweep: nothing is due.
    storm.world.aws.advance(Duration::from_secs(3_600));
    storm.round("fourth").await;
    assert_eq!(storm.sweep().await, BTreeSet::new());
    assert_eq!(storm.dead, BTreeSet::new());

    let active = storm.active_tags();
    for repository in &all {
        let versions = storm.versions(repository);
        let kept: BTreeSet<String> = versions.into_iter().take(IMAGES as usize).collect();
        let is_version = |tag: &&String| tag.starts_with("myapp-v");
        let left: BTreeSet<String> =
            active[repository].iter().filter(is_version).cloned().collect();
        assert_eq!(left, kept, "{repository}");
    }
    for (fact, times) in &storm.published {
        let before_kill = storm.published_before_kill.get(fact).copied().unwrap_or_default();
        assert!(*times <= 1 + before_kill, "published {times} times: {fact}");
    }
    let count = |part: &str| storm.published.keys().filter(|fact| fact.contains(part)).count();
    assert_eq!(count("archive"), pushed.len(), "{:#?}", storm.published.keys());
    assert_eq!(count("tag-violation"), pushed.len().div_ceil(3), "{:#?}", storm.published.keys());
    let Storm { kills, throttles, redeliveries, .. } = storm;
    let dead = dead.len();
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        println!(
            "seed {seed}: {kills} kills, {throttles} throttled attempts, {redeliveries} failed receives, \
             {dead} dead letters, nothing lost"
        );
    }
    assert!(kills >= COUNT / 4 && throttles >= COUNT / 4, "{kills} kills, {throttles} throttles");
}

#[tokio::test(start_paused = true)]
async fn kills_and_throttles_at_random_points_lose_nothing_and_publish_nothing_twice() {
    for seed in seeds(1) {
        check(seed).await;
    }
}
