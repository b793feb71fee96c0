use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, Utc};
use proptest::prelude::*;

use super::*;
use crate::retention::tests::{digest, image_id, inventory, now};

/// Days before now.
fn ago(days: u64) -> DateTime<Utc> {
    now() - Days::new(days)
}

fn times(entries: &[(&str, &str, u64)]) -> Sightings {
    let entry = |(image, tag, days): &(&str, &str, u64)| {
        (binding_key(&digest(image), &tag.parse().unwrap()), ago(*days))
    };
    entries.iter().map(entry).collect()
}

/// The record of sweeps, of which the last complete one ran ten days ago.
fn earlier(tags: Sightings) -> EarlierSightings {
    EarlierSightings { tags, listed_at: Some(ago(10)), ..EarlierSightings::default() }
}

/// The days since the push of the tag `v1` of the image `a`, which was pushed 60 days ago.
fn age(tags: Option<&Sightings>, pushes: &Sightings) -> i64 {
    let mut inventory = inventory(&[("a", "v1, pushed 60")]);
    let earlier = tags.cloned().map(earlier);
    let record = observe_tags(&mut inventory, earlier.as_ref(), pushes, now());
    let times = &inventory.images[image_id(&inventory, "a")].tag_times;
    assert_eq!(record.iter().map(|(_, at)| at).collect::<Vec<_>>(), *times);
    (now() - times[0]).num_days()
}

#[test]
fn a_tag_is_as_old_as_its_latest_known_push_or_as_its_first_sighting() {
    let none = Sightings::default();
    let other = times(&[("a", "v2", 50), ("b", "v1", 50)]);
    // The first sweep of a repository uses the push of the image, unless it knows a push of the tag.
    assert_eq!(age(None, &none), 60);
    assert_eq!(age(None, &times(&[("a", "v1", 3)])), 3);
    assert_eq!(age(None, &times(&[("a", "v1", 90)])), 60);
    // A later sweep sees an unknown tag for the first time.
    assert_eq!(age(Some(&none), &none), 0);
    assert_eq!(age(Some(&other), &other), 0);
    assert_eq!(age(Some(&other), &times(&[("a", "v1", 3)])), 3);
    // A push before the last sweep, which did not see the tag, is not the push of this binding.
    assert_eq!(age(Some(&other), &times(&[("a", "v1", 11)])), 0);
    // A recorded tag becomes younger by a later push, and never older.
    let recorded = times(&[("a", "v1", 20)]);
    assert_eq!(age(Some(&recorded), &none), 20);
    assert_eq!(age(Some(&recorded), &times(&[("a", "v1", 3)])), 3);
    assert_eq!(age(Some(&recorded), &times(&[("a", "v1", 30)])), 20);
    // A record of an earlier image with the same digest: the image was deleted and pushed again.
    assert_eq!(age(Some(&times(&[("a", "v1", 90)])), &none), 60);
}

#[test]
fn a_record_has_each_tag_that_exists_and_no_other() {
    let images = [("a", "v1 v2 sig:b, pushed 9"), ("b", ", pushed 9"), ("c", "v3, archived")];
    let mut inventory = inventory(&images);
    let earlier = earlier(times(&[("a", "v1", 5), ("b", "v0", 5)]));
    let record = observe_tags(&mut inventory, Some(&earlier), &Sightings::default(), now());
    assert_eq!(record, times(&[("a", "v1", 5), ("a", "v2", 0), ("c", "v3", 0)]));
}

/// One day of a repository with three tags that move between two images.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody pushes the tag to the image. The event arrives after this number of days, or is lost.
    Push { binding: Binding, delay: Option<usize> },
    /// Somebody removes the tag.
    Remove { tag: usize },
    /// Somebody forges an event of this number of days ago, or AWS delivers an event again.
    Repeat { binding: Binding, days: u64 },
    /// A sweep, which may be interrupted.
    Sweep { end: SweepEnd },
}

/// The last step of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SweepEnd {
    /// The sweep has written the record of tags.
    Recorded,
    /// The sweep has removed the pushes that it read from the ledger.
    PushesForgotten,
    /// The sweep is complete.
    Complete,
}

/// The number of a tag and of an image.
type Binding = (usize, usize);

fn step() -> impl Strategy<Value = Step> {
    let binding = || (0_usize..3, 0_usize..2);
    prop_oneof![
        3 => (binding(), prop::option::weighted(0.7, 0_usize..4))
            .prop_map(|(binding, delay)| Step::Push { binding, delay }),
        1 => (0_usize..3).prop_map(|tag| Step::Remove { tag }),
        1 => (binding(), 0_u64..30).prop_map(|(binding, days)| Step::Repeat { binding, days }),
        3 => prop::sample::select(vec![
            SweepEnd::Recorded,
            SweepEnd::PushesForgotten,
            SweepEnd::Complete,
        ])
        .prop_map(|end| Step::Sweep { end }),
    ]
}

proptest! {
    /// The ledger cannot know a push whose event is lost. Such a push is left out if the ledger knows the
    /// same binding already: from the last sweep, or from an event since then, which may still be under way.
    #[test]
    fn b1_no_sequence_of_pushes_events_and_sweeps_makes_a_tag_older_than_its_push(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (images, tags) = (["a", "b"], ["v1", "v2", "v3"]);
        let key = |(tag, image): Binding| {
            binding_key(&digest(images[image]), &tags[tag].parse().unwrap())
        };
        // The image and the push of each tag.
        let mut bound: BTreeMap<usize, (usize, DateTime<Utc>)> = BTreeMap::new();
        // The day on which each event arrives.
        let mut events: Vec<(usize, Binding, DateTime<Utc>)> = vec![];
        let mut pushes: BTreeSet<(u64, DateTime<Utc>)> = BTreeSet::new();
        let mut earlier = EarlierSightings::default();
        // The bindings of the last sweep, of the events since then, and of the lost events since then.
        let (mut seen, mut heard, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (day, step) in steps.into_iter().enumerate() {
            let now = now() + Days::new(u64::try_from(day).unwrap());
            match step {
                Step::Push { binding, delay: Some(delay) } => {
                    events.push((day + delay, binding, now));
                    heard.insert(binding);
                    bound.insert(binding.0, (binding.1, now));
                }
                Step::Push { binding, delay: None } => {
                    if !seen.contains(&binding) && !heard.contains(&binding) {
                        lost.insert(binding);
                        bound.insert(binding.0, (binding.1, now));
                    }
                }
                Step::Remove { tag } => {
                    bound.remove(&tag);
                }
                Step::Repeat { binding, days } => {
                    if !lost.contains(&binding) {
                        heard.insert(binding);
                        pushes.insert((key(binding), now - Days::new(days)));
                    }
                }
                Step::Sweep { .. } => {}
            }
            let due = events.extract_if(.., |(due, ..)| *due <= day);
            pushes.extend(due.map(|(_, binding, at)| (key(binding), at)));
            let Step::Sweep { end } = step else { continue };
            let list = |image: usize| -> String {
                let own = bound.iter().filter(|(_, (of, _))| *of == image);
                own.map(|(tag, _)| tags[*tag]).collect::<Vec<_>>().join(" ") + ", pushed 90"
            };
            let mut inventory = inventory(&[("a", &list(0)), ("b", &list(1))]);
            let known = pushes.iter().copied().collect();
            earlier.tags = observe_tags(&mut inventory, Some(&earlier), &known, now);
            seen = bound.iter().map(|(tag, (image, _))| (*tag, *image)).collect();
            if end >= SweepEnd::PushesForgotten {
                pushes.clear();
                heard = events.iter().map(|(_, binding, _)| *binding).collect();
            }
            if end == SweepEnd::Complete {
                earlier.listed_at = Some(now);
                lost.clear();
            }
            for (tag, (image, pushed_at)) in &bound {
                let at = earlier.tags.get(key((*tag, *image))).unwrap();
                // The sweep after the arrival of the event makes the tag younger.
                let is_under_way =
                    events.iter().any(|(_, of, at)| *of == (*tag, *image) && at == pushed_at);
                prop_assert!(at >= *pushed_at || is_under_way, "{} at {}", tags[*tag], images[*image]);
                prop_assert!(at <= now);
            }
        }
    }
}
