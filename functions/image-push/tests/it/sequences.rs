//! Tests random sequences of pushes, deliveries and failures. In any order, with events delivered
//! twice or at the same time, and with attempts killed at any call: no image is lost, each bad tag
//! is removed, and an alert is published for each bad tag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local_aws::Fault;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Function, OPERATIONS};

const GOOD: [&str; 2] = ["litellm-v1.80.5", "openwebui-v0.6.36"];
const BAD: [&str; 3] = ["litellm-1.80.5", "latest", "openwebui-v0.0.0"];
const IMAGES: usize = 2;
/// Every call that the function makes. It writes the ledger three times.
const CALLS: [(&str, usize); 15] = [
    ("DescribeRegistry", 1),
    ("DescribeImages", 1),
    ("DescribeRepositories", 1),
    ("UpdateItem", 1),
    ("UpdateItem", 2),
    ("UpdateItem", 3),
    ("UpdateItem", 4),
    ("BatchGetImage", 1),
    ("PutImage", 1),
    ("BatchDeleteImage", 1),
    ("GetItem", 1),
    ("Publish", 1),
    ("PutEvents", 1),
    ("BatchWriteItem", 1),
    ("SendMessageBatch", 1),
];

#[derive(Clone, Debug)]
enum Step {
    /// A person or a pipeline adds a tag.
    Do(Meanwhile),
    /// An event is delivered, for the first time or again.
    Deliver { event: usize, trouble: Trouble },
    /// Two events, or two copies of one event, are delivered at the same time. Each call is delayed,
    /// and meanwhile a person or a pipeline adds a tag.
    DeliverTwo {
        events: [usize; 2],
        trouble: Trouble,
        milliseconds: [u64; OPERATIONS.len()],
        meanwhile: Meanwhile,
        after: u64,
    },
    /// Time passes.
    Wait { seconds: u64 },
}

/// A person or a pipeline adds a tag to an image.
#[derive(Clone, Copy, Debug)]
struct Meanwhile {
    image: usize,
    tag: &'static str,
    /// Whether a person uses the commands of an alert. After a good tag was added, these also remove
    /// the quarantine tags.
    restores: bool,
}

#[derive(Clone, Debug)]
enum Trouble {
    None,
    /// The attempt is killed at this call, before AWS carries out the call.
    CutOff(usize),
    /// The attempt is killed at this call, after AWS carried out the call.
    CutOffAfter(usize),
    /// The connection breaks after AWS carried out the call, and the SDK calls again.
    Reset(usize),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let call = || 0..CALLS.len();
    prop_oneof![
        2 => Just(Trouble::None),
        3 => call().prop_map(Trouble::CutOff),
        3 => call().prop_map(Trouble::CutOffAfter),
        1 => call().prop_map(Trouble::Reset),
    ]
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    let tags: Vec<&str> = GOOD.into_iter().chain(BAD).collect();
    (0..IMAGES, prop::sample::select(tags), any::<bool>())
        .prop_map(|(image, tag, restores)| Meanwhile { image, tag, restores })
}

fn step() -> impl Strategy<Value = Step> {
    let delays = prop::array::uniform15(0..30_u64);
    prop_oneof![
        4 => meanwhile().prop_map(Step::Do),
        5 => (any::<prop::sample::Index>(), trouble())
            .prop_map(|(event, trouble)| Step::Deliver { event: event.index(1_000), trouble }),
        3 => (any::<[prop::sample::Index; 2]>(), trouble(), delays, meanwhile(), 0..200_u64)
            .prop_map(|(events, trouble, milliseconds, meanwhile, after)| {
                let [one, distance] = events.map(|event| event.index(1_000));
                // The events of one image are close to each other in the list.
                let events = [one, one + distance % 3];
                Step::DeliverTwo { events, trouble, milliseconds, meanwhile, after }
            }),
        1 => (1..120_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// An event, and the number of its copy. The request ID is built from both.
type Delivery = (usize, usize);

/// A repository, its images, and the events that are not delivered yet.
struct Simulation {
    function: Function,
    images: Vec<Option<String>>,
    /// The number of pushes of each tag to each image.
    pushed: BTreeMap<(String, &'static str), usize>,
    events: Vec<Value>,
    /// The deliveries of which no attempt has succeeded yet.
    open: BTreeSet<Delivery>,
    /// The number of killed attempts for each image and tag.
    cut_off: BTreeMap<(String, String), usize>,
    /// The number of published alerts for each image and tag.
    published: BTreeMap<(String, String), usize>,
}

impl Simulation {
    async fn new() -> Self {
        Self {
            function: Function::new("quarantine").await,
            images: vec![None; IMAGES],
            pushed: BTreeMap::new(),
            events: Vec::new(),
            open: BTreeSet::new(),
            cut_off: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    /// Adds the tag. Returns the digest of the image, or None if ECR refused the tag.
    async fn add_tag(&self, what: Meanwhile) -> Option<String> {
        let Some(digest) = self.images[what.image].clone() else {
            let mut state = self.function.aws.state();
            let now = state.now();
            // ECR refuses an immutable tag that another image has.
            return state.ecr().push_made_up("infrastructure", &[what.tag], now).ok();
        };
        let aws = &self.function.aws;
        let ids = json!([{"imageDigest": digest}]);
        let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
        let found = aws.by_hand("BatchGetImage", &input).unwrap();
        let put = json!({
            "repositoryName": "infrastructure",
            "imageManifest": found["images"][0]["imageManifest"],
            "imageTag": what.tag,
        });
        aws.by_hand("PutImage", &put).ok()?;
        if what.restores && GOOD.contains(&what.tag) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let tags = self.function.tags("infrastructure", &digest).unwrap();
            for tag in tags.iter().filter(|tag| tag.starts_with("quarantine-")) {
                let ids = json!([{"imageTag": tag}]);
                let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
                aws.by_hand("BatchDeleteImage", &input).unwrap();
            }
        }
        Some(digest)
    }

    fn record(&mut self, what: Meanwhile, digest: Option<String>) {
        if let Some(digest) = digest {
            self.images[what.image] = Some(digest.clone());
            *self.pushed.entry((digest, what.tag)).or_default() += 1;
        }
        self.collect_events();
    }

    /// Collects the events that ECR sent meanwhile, also the events of the function's own pushes.
    fn collect_events(&mut self) {
        for event in self.function.push_events() {
            self.open.insert((self.events.len(), 0));
            self.events.push(event);
        }
    }

    /// Delivers these events at the same time.
    async fn deliver(
        &mut self,
        deliveries: &[Delivery],
        trouble: &Trouble,
        also: Option<(Meanwhile, u64)>,
    ) {
        let aws = &self.function.aws;
        match *trouble {
            Trouble::None => {}
            Trouble::CutOff(call) => aws.fault(CALLS[call].0, CALLS[call].1, Fault::Hang),
            Trouble::CutOffAfter(call) => {
                aws.fault(CALLS[call].0, CALLS[call].1, Fault::ResetAfter);
                aws.fault(CALLS[call].0, CALLS[call].1 + 1, Fault::Hang);
            }
            Trouble::Reset(call) => aws.fault(CALLS[call].0, CALLS[call].1, Fault::ResetAfter),
        }
        let attempt = async |(event, copy): Delivery| {
            let request_id = format!("request-{event}-{copy}");
            let handled = self.function.handle(&self.events[event], &request_id);
            // Lambda kills an attempt after 45 seconds. The calls that AWS carried out remain.
            let done = tokio::time::timeout(Duration::from_secs(45), handled).await;
            ((event, copy), done.is_ok_and(|done| done.is_ok()))
        };
        let meanwhile = async || {
            let (what, after) = also?;
            tokio::time::sleep(Duration::from_millis(after)).await;
            Some((what, self.add_tag(what).await))
        };
        let (done, added) = match *deliveries {
            [one, other] => {
                let (one, other, added) = tokio::join!(attempt(one), attempt(other), meanwhile());
                (vec![one, other], added)
            }
            _ => (vec![attempt(deliveries[0]).await], None),
        };
        self.function.aws.heal();
        // The SDK publishes again, because it cannot know that SNS received the first message.
        let is_sent_again = matches!(*trouble, Trouble::Reset(call) if CALLS[call].0 == "Publish");
        for (delivery, done) in done {
            if is_sent_again {
                *self.cut_off.entry(self.about(delivery.0)).or_default() += 1;
            }
            if done {
                self.open.remove(&delivery);
            } else {
                *self.cut_off.entry(self.about(delivery.0)).or_default() += 1;
                self.open.insert(delivery);
            }
        }
        for alert in self.function.alerts() {
            let [digest, tag] = [&alert["image"]["digest"], &alert["details"]["tag"]]
                .map(|field| field.as_str().unwrap().to_owned());
            *self.published.entry((digest, tag)).or_default() += 1;
        }
        match added {
            Some((what, digest)) => self.record(what, digest),
            None => self.collect_events(),
        }
    }

    /// The image and the tag of an event.
    fn about(&self, event: usize) -> (String, String) {
        let detail = &self.events[event]["detail"];
        let text = |name: &str| detail[name].as_str().unwrap().to_owned();
        (text("image-digest"), text("image-tag"))
    }

    async fn take(&mut self, step: Step) {
        let count = self.events.len();
        match step {
            Step::Do(what) => {
                let digest = self.add_tag(what).await;
                self.record(what, digest);
            }
            Step::Wait { seconds } => self.function.aws.advance(Duration::from_secs(seconds)),
            _ if count == 0 => {}
            Step::Deliver { event, trouble } => {
                self.deliver(&[(event % count, 0)], &trouble, None).await;
            }
            Step::DeliverTwo { events, trouble, milliseconds, meanwhile, after } => {
                let [one, other] = events.map(|event| event % count);
                let deliveries = [(one, 0), (other, usize::from(one == other))];
                self.function.slow_down(|nth| milliseconds[nth]);
                self.deliver(&deliveries, &trouble, Some((meanwhile, after))).await;
            }
        }
    }

    /// Makes the retries of Lambda until every delivery has succeeded.
    async fn settle(&mut self) {
        for _ in 0..200 {
            let Some(delivery) = self.open.first().copied() else { return };
            self.function.aws.advance(Duration::from_secs(60));
            self.deliver(&[delivery], &Trouble::None, None).await;
        }
        panic!("{} deliveries are still open", self.open.len());
    }

    fn check(&self) {
        for ((digest, tag), pushes) in &self.pushed {
            let tags = self.function.tags("infrastructure", digest);
            let tags = tags.unwrap_or_else(|| panic!("{digest}, once {tag}, is lost"));
            assert!(!tags.is_empty(), "{digest} has no tag");
            let is_present = tags.iter().any(|other| other == tag);
            assert_eq!(is_present, GOOD.contains(tag), "{tag} of {digest}, which has {tags:?}");
            let about = (digest.clone(), (*tag).to_owned());
            let alerts = self.published.get(&about).copied().unwrap_or_default();
            if GOOD.contains(tag) {
                assert_eq!(alerts, 0, "{alerts} alerts about {tag} of {digest}");
            } else {
                // One alert, and one more for each killed attempt and for each new outcome.
                let cuts = self.cut_off.get(&about).copied().unwrap_or_default();
                assert!((1..=pushes + cuts).contains(&alerts), "{tag}: {alerts} alerts");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_image_is_lost_and_each_bad_tag_is_removed_and_published(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut simulation = Simulation::new().await;
            for step in steps {
                simulation.take(step).await;
            }
            simulation.settle().await;
            simulation.check();
        });
    }
}
