//! Whatever comes in whatever order, twice or at once, and wherever an attempt is cut off: no
//! image is lost, and no bad tag stays, or stays untold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local_aws::Fault;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Function;

const GOOD: [&str; 2] = ["litellm-v1.80.5", "openwebui-v0.6.36"];
const BAD: [&str; 3] = ["litellm-1.80.5", "latest", "openwebui-v0.0.0"];
const IMAGES: usize = 2;
/// Every call that the function makes; a write of the ledger comes twice.
const CALLS: [(&str, usize); 9] = [
    ("DescribeImages", 1),
    ("DescribeRepositories", 1),
    ("UpdateItem", 1),
    ("UpdateItem", 2),
    ("BatchGetImage", 1),
    ("PutImage", 1),
    ("BatchDeleteImage", 1),
    ("Publish", 1),
    ("BatchWriteItem", 1),
];

#[derive(Clone, Debug)]
enum Step {
    /// An image is pushed with a tag.
    Push { image: usize, tag: &'static str },
    /// An event is brought, be it for the first time or again.
    Deliver { event: usize, trouble: Trouble },
    /// Two are, at the same time, each call taking its time.
    DeliverTwo { events: [usize; 2], trouble: Trouble, milliseconds: [u64; 9] },
    /// Time goes by.
    Wait { seconds: u64 },
}

#[derive(Clone, Debug)]
enum Trouble {
    None,
    /// The attempt is cut off at this call, before it is carried out.
    CutOff(usize),
    /// The same, after it was: nobody learns that it was.
    CutOffAfter(usize),
    /// The connection breaks, and the SDK calls again.
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

fn step() -> impl Strategy<Value = Step> {
    let tags: Vec<&str> = GOOD.into_iter().chain(BAD).collect();
    prop_oneof![
        4 => (0..IMAGES, prop::sample::select(tags))
            .prop_map(|(image, tag)| Step::Push { image, tag }),
        5 => (any::<prop::sample::Index>(), trouble())
            .prop_map(|(event, trouble)| Step::Deliver { event: event.index(1_000), trouble }),
        3 => (any::<[prop::sample::Index; 2]>(), trouble(), prop::array::uniform9(0..30_u64))
            .prop_map(|(events, trouble, milliseconds)| {
                let [one, distance] = events.map(|event| event.index(1_000));
                // Those that are of one image are close to each other.
                let events = [one, one + distance % 3];
                Step::DeliverTwo { events, trouble, milliseconds }
            }),
        1 => (1..120_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A repository, what was pushed to it, and the events that are under way.
struct World {
    function: Function,
    images: Vec<Option<String>>,
    /// Which images have had which tag.
    pushed: BTreeSet<(String, &'static str)>,
    events: Vec<Value>,
    /// Those that were not carried through yet.
    open: BTreeSet<usize>,
    cut_off: usize,
    told: BTreeMap<(String, String), usize>,
    milliseconds: [u64; 9],
}

impl World {
    async fn new() -> Self {
        Self {
            function: Function::new("quarantine").await,
            images: vec![None; IMAGES],
            pushed: BTreeSet::new(),
            events: Vec::new(),
            open: BTreeSet::new(),
            cut_off: 0,
            told: BTreeMap::new(),
            milliseconds: [0; 9],
        }
    }

    fn push(&mut self, image: usize, tag: &'static str) {
        let digest = self.images[image].clone();
        let digest = digest.or_else(|| {
            let mut state = self.function.aws.state();
            let now = state.now();
            state.ecr().push_made_up("infrastructure", &[tag], now).ok()
        });
        // An immutable tag may be another image's.
        let Some(digest) = digest else { return };
        if self.images[image].is_some() && !self.tag(&digest, tag) {
            return;
        }
        self.images[image] = Some(digest.clone());
        self.pushed.insert((digest, tag));
        self.hear();
    }

    fn tag(&self, digest: &str, tag: &str) -> bool {
        let ids = json!([{"imageDigest": digest}]);
        let input = json!({"repositoryName": "infrastructure", "imageIds": ids});
        let found = self.function.aws.by_hand("BatchGetImage", &input).unwrap();
        let put = json!({
            "repositoryName": "infrastructure",
            "imageManifest": found["images"][0]["imageManifest"],
            "imageTag": tag,
        });
        self.function.aws.by_hand("PutImage", &put).is_ok()
    }

    /// Takes up what ECR told meanwhile, the echo of our own pushes too.
    fn hear(&mut self) {
        for event in self.function.told() {
            self.open.insert(self.events.len());
            self.events.push(event);
        }
    }

    /// Brings these events at the same time, each as the request that it is every time.
    async fn deliver(&mut self, indices: &[usize], trouble: &Trouble) {
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
        if indices.len() > 1 {
            self.function.slow_down(|nth| self.milliseconds[nth]);
        }
        let attempt = async |index: usize| {
            let request_id = format!("request-{index}");
            let handled = self.function.handle(&self.events[index], &request_id);
            // Of a process that is killed nothing is left but what it did.
            tokio::time::timeout(Duration::from_secs(45), handled).await.is_ok_and(|it| it.is_ok())
        };
        let done = match *indices {
            [one, other] if one != other => {
                let (a, b) = tokio::join!(attempt(one), attempt(other));
                vec![(one, a), (other, b)]
            }
            _ => vec![(indices[0], attempt(indices[0]).await)],
        };
        self.function.aws.heal();
        for (index, done) in done {
            if done {
                self.open.remove(&index);
            } else {
                self.cut_off += 1;
                self.open.insert(index);
            }
        }
        for alert in self.function.alerts() {
            let [digest, tag] = [&alert["image"]["digest"], &alert["details"]["tag"]]
                .map(|it| it.as_str().unwrap().to_owned());
            *self.told.entry((digest, tag)).or_default() += 1;
        }
        self.hear();
    }

    async fn take(&mut self, step: Step) {
        let count = self.events.len();
        match step {
            Step::Push { image, tag } => self.push(image, tag),
            Step::Wait { seconds } => self.function.aws.advance(Duration::from_secs(seconds)),
            _ if count == 0 => {}
            Step::Deliver { event, trouble } => self.deliver(&[event % count], &trouble).await,
            Step::DeliverTwo { events, trouble, milliseconds } => {
                self.milliseconds = milliseconds;
                self.deliver(&events.map(|event| event % count), &trouble).await;
            }
        }
    }

    /// Lambda's retries, until every event was carried through.
    async fn settle(&mut self) {
        // An attempt that nothing happens to is the last one; it may make us push once more.
        for _ in 0..200 {
            let Some(index) = self.open.first().copied() else { return };
            self.deliver(&[index], &Trouble::None).await;
        }
        panic!("{} events are still open", self.open.len());
    }

    fn check(&self) {
        for (digest, tag) in &self.pushed {
            let tags = self.function.tags("infrastructure", digest);
            let tags = tags.unwrap_or_else(|| panic!("{digest}, once {tag}, is lost"));
            assert!(!tags.is_empty(), "{digest} has no tag");
            let is_there = tags.iter().any(|it| it == tag);
            assert_eq!(is_there, GOOD.contains(tag), "{tag} of {digest}, which has {tags:?}");
            let times = self.told.get(&(digest.clone(), (*tag).to_owned())).copied();
            if GOOD.contains(tag) {
                assert_eq!(times, None, "{tag} of {digest} was told");
            } else {
                // Once for each thing that was done about it, and again after a cut.
                let times = times.unwrap_or_default();
                assert!((1..=2 + self.cut_off).contains(&times), "{tag}: told {times} times");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_image_is_lost_and_no_bad_tag_stays_or_stays_untold(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
            }
            world.settle().await;
            world.check();
        });
    }
}
