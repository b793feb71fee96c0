//! Rounds, sweeps and pushes of many repositories while ECR throttles and functions are killed at
//! random points.
//!
//! Each call takes a random time before and after it is served, and a function is killed after a random
//! time, so a kill may come before, between and after any calls. A message of the queue of sweeps that
//! is not handled becomes visible again after the visibility timeout, as in SQS. An event or a message
//! that no attempt handles is moved to the dead-letter queue that the template names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use it::many_repositories::{deploy, name};
use local_aws::Fault;
use local_aws::sample::{Numbers, seeds};
use local_aws::world::{STACK, World};
use serde_json::{Value, json};
use tokio::time::timeout;
use warden_aws::ledger::Ledger;
use warden_core::image::RepositoryName;

use crate::faults::function::Function;

const COUNT: usize = 60;
/// The number of images in each repository, and of versions that the rule keeps.
const IMAGES: u32 = 8;
/// The tag that violates the grammar.
const VIOLATION: &str = "mcp_github_latest";
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
    /// The quarantined images and their tags, by repository and digest.
    quarantined: BTreeMap<(String, String), String>,
    /// The visibility timeout and the receive limit of the queue of sweeps, and its dead-letter queue.
    visibility: Duration,
    receives: u64,
    failed_sweeps: String,
    /// The delay of the queue of failed events.
    delay: Duration,
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
        let [queue, failed] = ["SweepQueue", "FailedEvents"].map(|id| {
            let state = world.aws.state();
            let mut resources = state.stacks[0].resources.iter();
            resources.find(|resource| resource.id == id).unwrap().properties.clone()
        });
        let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
        world.aws.delay_calls(seed, Duration::from_millis(1)..Duration::from_millis(40));
        Self {
            world,
            numbers: Numbers::new(seed),
            rages: true,
            published: BTreeMap::new(),
            published_before_kill: BTreeMap::new(),
            quarantined: BTreeMap::new(),
            visibility: Duration::from_secs(number(&queue["VisibilityTimeout"])),
            receives: number(&queue["RedrivePolicy"]["maxReceiveCount"]),
            failed_sweeps: queue["RedrivePolicy"]["deadLetterTargetArn"].as_str().unwrap().into(),
            delay: Duration::from_secs(number(&failed["DelaySeconds"])),
            kills: 0,
            throttles: 0,
            redeliveries: 0,
        }
    }

    fn is_chosen(&mut self, of_a_hundred: usize) -> bool {
        self.rages && self.numbers.below(100) < of_a_hundred
    }

    /// Makes one attempt, in a process of its own. Returns whether it succeeded. A doomed attempt is
    /// killed at one of its first calls.
    async fn attempt(
        &mut self,
        function: Function,
        event: &Value,
        request_id: &str,
        is_doomed: bool,
    ) -> bool {
        if self.is_chosen(30) {
            // Throttles each call, or one call, which the SDK tries again.
            let operation = THROTTLED[self.numbers.below(THROTTLED.len())];
            let nth = self.numbers.below(3);
            self.world.aws.fault(operation, nth, Fault::Error(400, "ThrottlingException"));
            self.throttles += 1;
        }
        let killed_after = if is_doomed || self.is_chosen(40) {
            let most = if is_doomed { 40 } else { 300 };
            Duration::from_millis(u64::try_from(self.numbers.below(most)).unwrap())
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

    /// Delivers an event as Lambda does: three attempts. Then the destination on failure gets the event.
    async fn deliver(&mut self, function: Function, event: &Value, id: &str) {
        let is_doomed = self.is_chosen(40);
        for wait in RETRIES {
            if self.attempt(function, event, id, is_doomed).await {
                return;
            }
            self.world.aws.advance(wait);
        }
        let configured = self.world.function(function.folder());
        let record = json!({
            "requestContext": {"functionArn": format!("{}:$LATEST", configured.arn())},
            "requestPayload": event,
        });
        send(&self.world, configured.on_failure.as_ref().unwrap(), &record).await;
    }

    /// Replays failed events, as a person does, until every event succeeds.
    async fn replay(&mut self, mut failed: Vec<Value>) {
        for replay in 0.. {
            self.world.aws.advance(self.delay);
            assert!(replay < 10, "{failed:#?} fails without end: {}", local_aws::log::text());
            for (nth, record) in failed.iter().enumerate() {
                let arn = record["requestContext"]["functionArn"].as_str().unwrap();
                let is_of = |function: &Function| {
                    arn.contains(&self.world.function(function.folder()).name)
                };
                let functions = [Function::ImagePush, Function::SweepDispatch];
                let function = functions.into_iter().find(is_of).unwrap();
                let id = format!("replay {replay} {nth} {}", self.kills);
                self.deliver(function, &record["requestPayload"], &id).await;
            }
            self.deliver_pushes().await;
            failed = self.world.failed_events().await;
            if failed.is_empty() {
                return;
            }
        }
    }

    /// Handles the messages of the queue of sweeps. Returns the repositories of the messages.
    async fn sweep(&mut self) -> BTreeSet<String> {
        let messages = self.world.take_messages("SweepQueue").await;
        let queued = messages.iter().map(repository).collect();
        let mut queue: VecDeque<(Value, u64, bool)> =
            messages.into_iter().map(|message| (message, 1, self.is_chosen(15))).collect();
        while !queue.is_empty() {
            let mut invisible = VecDeque::new();
            for (message, receives, is_doomed) in queue {
                let event = json!({"Records": [{"body": message.to_string()}]});
                let id = format!("{message} {receives}");
                if self.attempt(Function::ImageSweep, &event, &id, is_doomed).await {
                    continue;
                }
                self.redeliveries += 1;
                if receives == self.receives {
                    send(&self.world, &self.failed_sweeps, &message).await;
                } else {
                    invisible.push_back((message, receives + 1, is_doomed));
                }
            }
            queue = invisible;
            self.world.aws.advance(self.visibility);
        }
        queued
    }

    /// Sweeps the queued repositories. Checks that each of them has the record of a complete sweep or is
    /// in the dead-letter queue. Returns the queued repositories and those of the dead-letter queue.
    async fn check_sweeps(&mut self) -> [BTreeSet<String>; 2] {
        let began = self.world.now();
        let queued = self.sweep().await;
        let dead = self.world.take_messages("FailedSweeps").await;
        let dead: BTreeSet<String> = dead.iter().map(repository).collect();
        let ledger = Ledger::new(&self.world.aws.config(), format!("{STACK}-Ledger"));
        let names: Vec<RepositoryName> = queued.iter().map(|name| name.parse().unwrap()).collect();
        for (name, record) in ledger.sweep_records(&names).await.unwrap() {
            let is_complete = record.last_run.is_some_and(|run| {
                run.began_at >= began
                    && run.stopped.is_none()
                    && run.examined.is_some()
                    && run.left == 0
            });
            assert!(is_complete || dead.contains(name.as_str()), "the sweep of {name} is lost");
        }
        [queued, dead]
    }

    async fn round(&mut self, id: &str) {
        self.deliver(Function::SweepDispatch, &json!({}), id).await;
        let failed = self.world.failed_events().await;
        self.replay(failed).await;
    }

    /// Pushes an image with this tag, and delivers the events of ECR. Returns the digest.
    async fn push(&mut self, repository: &str, tag: &str) -> String {
        let digest = self.world.push(repository, &[tag]);
        self.deliver_pushes().await;
        digest
    }

    async fn deliver_pushes(&mut self) {
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

    /// Checks that every image that the rule keeps is active, and that every quarantined image is active
    /// and keeps its tag.
    fn check_kept_images(&mut self) {
        let mut state = self.world.aws.state();
        for (name, repository) in &state.ecr().repositories {
            for image in repository.images.iter() {
                let key = (name.clone(), image.digest.clone());
                let mut tags = image.tags.iter();
                if let Some(tag) = tags.find(|tag| tag.starts_with("quarantine-")) {
                    let before = self.quarantined.entry(key.clone()).or_insert_with(|| tag.clone());
                    assert_eq!((&*before, image.status.name()), (tag, "ACTIVE"), "{key:?}");
                } else {
                    assert!(!self.quarantined.contains_key(&key), "{key:?} has no quarantine tag");
                }
            }
        }
        drop(state);
        for (repository, active) in self.active_tags() {
            for kept in self.versions(&repository).iter().take(IMAGES as usize) {
                assert!(active.contains(kept), "{repository}:{kept} is removed");
            }
        }
    }
}

/// The last attempt may hold a claim when it is killed. A replay at the earliest time that the queue allows
/// must not be taken for a copy of the event.
#[tokio::test(start_paused = true)]
async fn a_replay_enforces_the_tag_wherever_every_attempt_was_killed() {
    let mut storm = Storm::begin(1).await;
    storm.rages = false;
    let repository = name(0);
    let mut killed = 0;
    for milliseconds in (5..300).step_by(5) {
        let digest = storm.world.push(&repository, &[&format!("{VIOLATION}_{milliseconds}")]);
        let events = std::mem::take(&mut storm.world.aws.state().ecr().events);
        let event = &events[0];
        let kill = Duration::from_millis(milliseconds);
        for wait in RETRIES {
            let attempt = Box::pin(Function::ImagePush.attempt(&storm.world, event, "event"));
            killed += usize::from(timeout(kill, attempt).await.is_err());
            storm.world.settle().await;
            storm.world.aws.advance(wait);
        }
        storm.world.aws.advance(storm.delay);
        assert!(storm.attempt(Function::ImagePush, event, "replay", false).await);
        let mut state = storm.world.aws.state();
        let tags = &state.ecr().image(&repository, &digest).unwrap().tags;
        let is_quarantined = tags.iter().all(|tag| tag.starts_with("quarantine-"));
        assert!(is_quarantined && tags.len() == 1, "killed after {kill:?}: {tags:?}");
    }
    assert!(killed > RETRIES.len() * 10, "{killed} attempts were killed");
}

/// The repository of a message of the queue of sweeps.
fn repository(message: &Value) -> String {
    message["repository"].as_str().unwrap().to_owned()
}

/// Sends a message to the queue with this ARN.
async fn send(world: &World, queue: &str, body: &Value) {
    let name = json!({"QueueName": queue.rsplit(':').next().unwrap()});
    let found = world.aws.ask("sqs", "AmazonSQS.GetQueueUrl", &name).await.unwrap();
    let message = json!({"QueueUrl": found["QueueUrl"], "MessageBody": body.to_string()});
    world.aws.ask("sqs", "AmazonSQS.SendMessage", &message).await.unwrap();
}

async fn check(seed: u64) {
    let mut storm = Storm::begin(seed).await;
    let all: BTreeSet<String> = (0..COUNT).map(name).collect();
    storm.round("first").await;
    let [queued, dead_first] = storm.check_sweeps().await;
    assert_eq!(queued, all, "the round queues every repository");

    // Some repositories get new versions, and some get a tag that violates the grammar.
    let pushed: Vec<String> = (0..COUNT).step_by(4).map(name).collect();
    let (mut versions, mut violations) = (BTreeMap::new(), BTreeSet::new());
    for (nth, repository) in pushed.iter().enumerate() {
        versions.insert(repository.clone(), storm.push(repository, "myapp-v2.0.0").await);
        if nth % 3 == 0 {
            let digest = storm.push(repository, VIOLATION).await;
            violations.insert((repository.clone(), digest));
        }
    }
    // Each violation is enforced and published, or its event is in the dead-letter queue.
    let failed = storm.world.failed_events().await;
    let failed_digest = |record: &Value| {
        let detail = &record["requestPayload"]["detail"];
        detail["image-digest"].as_str().unwrap().to_owned()
    };
    let failed_digests: BTreeSet<String> = failed.iter().map(failed_digest).collect();
    let is_published = |storm: &Storm, fact: &str, repository: &str| {
        let mut facts = storm.published.keys();
        facts.any(|published| published.starts_with(repository) && published.contains(fact))
    };
    for violation in &violations {
        let (repository, digest) = violation;
        let is_enforced = storm.quarantined.contains_key(violation)
            && is_published(&storm, "tag-violation", repository);
        assert!(is_enforced || failed_digests.contains(digest), "{violation:?} is lost");
    }
    let dead_pushes = failed.len();
    storm.replay(failed).await;

    // Each push of a version queued a sweep. If all attempts for the push failed, the event is replayed. An
    // attempt may have claimed the sweep of the hour, so the replay may queue no sweep. Then the next round
    // queues the repository.
    let [queued, dead] = storm.check_sweeps().await;
    for (repository, digest) in &versions {
        let is_queued = queued.contains(repository);
        assert!(is_queued || failed_digests.contains(digest), "the sweep of {repository} is lost");
    }
    let dead_sweeps = dead_first.len() + dead.len();

    // ECR recovers. The next round queues every repository without a complete sweep, also where the
    // message is in the dead-letter queue.
    storm.rages = false;
    storm.world.aws.advance(Duration::from_secs(86_400));
    storm.round("second").await;
    storm.sweep().await;
    storm.world.aws.advance(Duration::from_secs(86_400));
    storm.round("third").await;
    storm.sweep().await;
    // Every repository has the record of a complete sweep: nothing is due.
    storm.world.aws.advance(Duration::from_secs(3_600));
    storm.round("fourth").await;
    assert_eq!(storm.check_sweeps().await, [BTreeSet::new(), BTreeSet::new()]);
    // No violating tag is left, and every violating image keeps its quarantine tag.
    assert!(storm.quarantined.keys().eq(&violations), "{:#?}", storm.quarantined);
    for (repository, digest) in &violations {
        let mut state = storm.world.aws.state();
        let tags = &state.ecr().image(repository, digest).unwrap().tags;
        let is_quarantined = tags.iter().all(|tag| tag.starts_with("quarantine-"));
        assert!(is_quarantined && tags.len() == 1, "{tags:?}");
    }

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
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        println!(
            "seed {seed}: {kills} kills, {throttles} throttled attempts, {redeliveries} failed receives, \
             {dead_pushes} failed pushes, {dead_sweeps} failed sweeps, nothing lost"
        );
    }
    assert!(kills >= COUNT / 4 && throttles >= COUNT / 4, "{kills} kills, {throttles} throttles");
    assert!(dead_pushes > 0 && dead_sweeps > 0, "no dead letters");
}

#[tokio::test(start_paused = true)]
async fn kills_and_throttles_at_random_points_lose_nothing_and_publish_nothing_twice() {
    for seed in seeds(1) {
        check(seed).await;
    }
}
