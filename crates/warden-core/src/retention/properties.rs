//! Properties of every plan, checked with thousands of generated repositories.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{digest, first_record, listed, now, with};
use super::*;
use crate::due::{CompleteSweep, SweepHistory};
use crate::image::ImageStatus;
use crate::policy::tests::{GUIDE, policy};
use crate::policy::{CleanupEnforcement, LifecycleScope};
use crate::untagged::observe_untagged;

/// A generated image: the tags, the facts as words, and the positions of the parts and subjects.
#[derive(Clone, Debug)]
struct Made {
    /// The tags, and their age in days if the image is older.
    tags: (Vec<&'static str>, Option<i64>),
    facts: Vec<String>,
    needs: Vec<usize>,
    subject: Option<usize>,
    signs: Option<usize>,
}

const TAGS: [&str; 15] = [
    "a-v1.0.0",
    "a-v2.0.0",
    "a-v3.0.0",
    "b-v1.0.0",
    "b-v1.1.0",
    "v1",
    "v2",
    "prod",
    "unmatched",
    "gold",
    "quarantine:20261001",
    "quarantine:20261120",
    "quarantine:20270110",
    "latest",
    "c-v0.1.0",
];

fn made() -> impl Strategy<Value = Made> {
    let days = || prop::sample::select(vec![0, 3, 7, 8, 20, 31, 90, 400]);
    let fact = prop_oneof![
        6 => days().prop_map(|days| format!("pushed {days}")),
        2 => days().prop_map(|days| format!("pulled {days}")),
        1 => days().prop_map(|days| format!("restored {days}")),
        1 => Just("archived".to_owned()),
        1 => Just("activating".to_owned()),
        1 => Just("odd".to_owned()),
        1 => Just("pushed ?".to_owned()),
    ];
    let tag = (prop::sample::subsequence(TAGS.to_vec(), 1..3), prop::option::weighted(0.2, days()));
    let tags = prop_oneof![
        3 => Just((vec![], None)),
        7 => tag,
    ];
    let some =
        |odds: u32| prop_oneof![(10 - odds) => Just(None), odds => (0_usize..16).prop_map(Some)];
    let needs = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(0_usize..14, 1..4)];
    (tags, prop::collection::vec(fact, 0..3), needs, some(2), some(2)).prop_map(
        |(tags, facts, needs, subject, signs)| Made { tags, facts, needs, subject, signs },
    )
}

/// A repository of these images. A manifest can only refer to an earlier image of the list. A tag can
/// refer to any image.
fn inventory(made: &[Made]) -> Inventory {
    let mut inventory = Inventory::default();
    for (nth, made) in made.iter().enumerate() {
        let (tags, age) = &made.tags;
        let age = age.map(|age| format!("@{age}")).unwrap_or_default();
        let mut tags: Vec<String> = tags.iter().map(|tag| format!("{tag}{age}")).collect();
        tags.extend(made.signs.map(|of| format!("sig:{of}")));
        let mut clauses = vec![tags.join(" ")];
        clauses.extend(made.facts.iter().cloned());
        // The subject may also be an image that does not exist.
        clauses
            .extend(made.subject.filter(|of| *of < nth || *of > 13).map(|of| format!("of {of}")));
        let needs: Vec<String> =
            made.needs.iter().filter(|part| **part < nth).map(usize::to_string).collect();
        if !needs.is_empty() {
            clauses.push(format!("needs {}", needs.join(" ")));
        }
        let (image, parts) = listed(&nth.to_string(), &clauses.join(", "));
        if image.is_index {
            inventory.indexes.insert(image.digest.clone(), parts);
        }
        inventory.images.push(image);
    }
    inventory.gone = inventory.missing_subjects();
    inventory.untagged = first_record(&inventory);
    inventory
}

fn policies() -> impl Strategy<Value = Policy> {
    let scope = prop::sample::select(vec!["component", "component", "component", "repository"]);
    let enforcement = prop::sample::select(vec!["archive", "delete"]);
    let tags = prop::sample::select(vec!["report", "quarantine"]);
    let untagged = prop::sample::select(vec!["report", "archive", "delete"]);
    let absent = prop::option::weighted(
        0.1,
        prop::sample::select(vec!["Tags", "Tags.Grammar", "Retention"]),
    );
    let expire = prop::sample::select(vec![
        json!([]),
        json!([{"Tags": ["unm*", "a-*"], "AfterDays": 15}]),
        json!([{"Tags": ["*"], "NotPulledForDays": 60}]),
        json!([{"Tags": ["*"], "AfterDays": 15, "NotPulledForDays": 60}, {"Tags": ["gold"], "AfterDays": 1}]),
    ]);
    (1_u32..4, scope, enforcement, tags, untagged, any::<bool>(), absent, expire).prop_map(
        |(kept, scope, enforcement, tags, untagged, protects, absent, expire)| {
            let protected = if protects { "gold prod*" } else { "" };
            let mut changes = vec![
                ("LifecycleScope".to_owned(), json!(scope)),
                ("Tags.Enforcement".to_owned(), json!(tags)),
                ("Retention.Keep".to_owned(), json!(kept)),
                ("Retention.Enforcement".to_owned(), json!(enforcement)),
                ("Retention.Untagged".to_owned(), json!(untagged)),
                ("Retention.ProtectTags".to_owned(), json!(protected)),
                ("Retention.Expire".to_owned(), expire),
            ];
            changes.extend(absent.map(|path| (path.to_owned(), Value::Null)));
            let changes: Vec<(&str, Value)> =
                changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
            policy(GUIDE, &changes)
        },
    )
}

/// A generated version of a component, or a build of a commit, which has no version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    component: &'static str,
    numbers: (u64, u64),
    /// The number of the release candidate. None for a release.
    candidate: Option<u64>,
    variant: Option<&'static str>,
    is_commit: bool,
}

fn version() -> impl Strategy<Value = Version> {
    let component = prop::sample::select(vec!["a", "a", "b"]);
    let variant = prop::option::weighted(0.2, prop::sample::select(vec!["alpine", "slim"]));
    let candidate = prop::option::weighted(0.3, 0_u64..12);
    (component, (0_u64..3, 0_u64..12), candidate, variant, prop::bool::weighted(0.2)).prop_map(
        |(component, numbers, candidate, variant, is_commit)| Version {
            component,
            numbers,
            candidate: candidate.filter(|_| !is_commit),
            variant: variant.filter(|_| !is_commit),
            is_commit,
        },
    )
}

impl Version {
    fn tag(&self) -> String {
        let (component, (major, minor)) = (self.component, self.numbers);
        if self.is_commit {
            return format!("{component}-abc{major:02}{minor:02}");
        }
        let candidate = self.candidate.map(|number| format!("-rc.{number}")).unwrap_or_default();
        let variant = self.variant.map(|variant| format!("-{variant}")).unwrap_or_default();
        format!("{component}-v{major}.{minor}.0{candidate}{variant}")
    }

    fn kind(&self) -> (&'static str, Option<&'static str>, bool) {
        (self.component, self.variant, self.is_commit)
    }

    /// The place in the order of its kind. A release is higher than its candidates.
    fn order(&self) -> Option<(u64, u64, bool, u64)> {
        let (major, minor) = self.numbers;
        let candidate = self.candidate;
        (!self.is_commit).then(|| (major, minor, candidate.is_none(), candidate.unwrap_or(0)))
    }
}

fn planned<'a>(
    policy: &'a Policy,
    inventory: &'a Inventory,
    running: &RunningImages,
) -> RetentionPlan<'a> {
    plan_retention(policy, inventory, Graph::build(inventory).unwrap(), running, now())
}

/// Applies a plan like ECR. Panics if ECR would refuse a call.
fn applied(plan: &RetentionPlan<'_>) -> Inventory {
    let mut after = plan.inventory.clone();
    for (image, tag) in &plan.untags {
        let image = &mut after.images[*image];
        let nth = image.tags.iter().position(|other| other == tag).unwrap();
        image.tags.remove(nth);
        image.tag_times.remove(nth);
        assert!(!image.tags.is_empty(), "an image with its last tag");
    }
    // Each image before its referrers, as the sweep does.
    let with_mode = |removal: &UnitRemoval, images: &[ImageId]| {
        let mode = plan.mode(removal.unit);
        images.iter().map(|image| (*image, mode)).collect::<Vec<_>>()
    };
    let images = plan.removals.iter().flat_map(|removal| with_mode(removal, &removal.images));
    let referrers = plan.removals.iter().flat_map(|removal| with_mode(removal, &removal.referrers));
    for (removed, mode) in images.chain(referrers) {
        let removed = plan.image(removed);
        if mode == CleanupEnforcement::Delete {
            let refers = |(index, parts): (&Digest, &Vec<Digest>)| {
                // The parts of an archived index are not known.
                let is_there = after
                    .images
                    .iter()
                    .any(|image| image.digest == *index && image.status == ImageStatus::Active);
                is_there && parts.contains(&removed.digest)
            };
            assert!(!after.indexes.iter().any(refers), "it is referenced by an index");
            let is_other = |image: &ImageRecord| image.digest != removed.digest;
            after.images = after.images.into_iter().filter(is_other).collect();
        } else {
            let image = after.images.position(|image| image.digest == removed.digest).unwrap();
            let image = &mut after.images[image];
            assert_ne!(image.status, ImageStatus::Archived, "it is in the archive already");
            image.status = ImageStatus::Archived;
        }
    }
    after.gone = after.missing_subjects();
    let graph = Graph::build(&after).unwrap();
    after.untagged = observe_untagged(&after, &graph, Some(&plan.inventory.untagged), now());
    after
}

/// Whether the tag `unmatched` of an image has expired, written without the code under test.
fn unmatched_has_expired(policy: &Policy, image: &ImageRecord) -> bool {
    let days = |at: Option<DateTime<Utc>>| at.map_or(0, |at| (now() - at).num_days());
    let pushed = days(image.pushed_at);
    let used = image.pulled_at.map_or(pushed, |_| days(image.pulled_at).min(pushed));
    let is_over = |days: i64, most: Option<u32>| most.is_none_or(|most| days > i64::from(most));
    let expire = policy.retention.iter().flat_map(|retention| &retention.expire);
    policy.lifecycle_scope == LifecycleScope::Component
        && expire
            .filter(|entry| entry.tags.iter().any(|tag| ["*", "unm*"].contains(&tag.as_str())))
            .any(|entry| {
                is_over(pushed, entry.after_days) && is_over(used, entry.not_pulled_for_days)
            })
}

/// Whether a rule keeps the image, written without the code under test.
fn is_protected(policy: &Policy, image: &ImageRecord, running: &RunningImages) -> bool {
    let within = |at: Option<DateTime<Utc>>, days| {
        at.is_some_and(|at| now() - at <= chrono::Duration::days(days))
    };
    let has = |words: &[&str]| image.tags.iter().any(|tag| words.contains(&tag.as_str()));
    let retention = policy.retention.as_ref();
    let protects = retention.is_some_and(|retention| !retention.protect_tags.is_empty());
    image.has_unparsed_reference
        || image.pushed_at.is_none()
        || within(image.pushed_at, 7)
        || image
            .own_tags_with_times()
            .any(|(tag, at)| !tag.as_str().starts_with("quarantine-") && within(at, 7))
        || within(image.pulled_at, 30)
        || within(image.restored_at, 7)
        || image.status == ImageStatus::Activating
        || running.contains_key(&image.digest)
        || has(&["latest", "prod"])
        || has(&["unmatched"]) && !unmatched_has_expired(policy, image)
        || protects && has(&["gold", "prod"])
}

proptest! {
    // A fixed seed, so that every run has the same cases. A longer search uses other seeds.
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_261_124),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_plan_removes_a_protected_image_or_a_part_of_a_unit(
        made in prop::collection::vec(made(), 0..14),
        policy in policies(),
        runs in prop::collection::vec(0_usize..14, 0..3),
    ) {
        let inventory = inventory(&made);
        let running: RunningImages = runs.iter().map(|nth| (digest(&nth.to_string()), 1)).collect();
        let plan = planned(&policy, &inventory, &running);
        let goes: HashSet<&Digest> = plan.removed().map(|image| &image.digest).collect();
        prop_assert_eq!(goes.len(), plan.removed().count(), "each goes once");
        // An archived unit loses none of its images: each is archived or stays.
        for removal in &plan.removals {
            if plan.mode(removal.unit) == CleanupEnforcement::Archive {
                for image in plan.units[removal.unit].unit.images() {
                    let is_deleted = plan.decision_of(image) == "delete";
                    prop_assert!(!is_deleted, "{}", plan.reason_of(image));
                }
            }
        }
        // No component loses all of its images.
        for component in ["a-", "b-", "c-"] {
            let is = |image: &&ImageRecord| {
                let named = image.tags.iter().any(|tag| tag.as_str().starts_with(component));
                named && image.status != ImageStatus::Archived
            };
            let mut all = inventory.images.iter().filter(is).peekable();
            // Without a grammar, the tags name no component, and can expire.
            let is_empty = all.peek().is_none() || policy.grammar().is_none();
            prop_assert!(is_empty || all.any(|image| !goes.contains(&image.digest)), "{}", component);
        }
        let place = |digest: &Digest| inventory.images.iter().find(|image| image.digest == *digest);
        let readable = |index: &ImageRecord| index.has_parts();
        let is_there_now = |image: &ImageRecord| image.status != ImageStatus::Archived;
        for (id, image) in inventory.images.enumerate() {
            let is_there = image.status != ImageStatus::Archived;
            // The reported decision is the one that is applied.
            let is_reported = plan.decision_of(id) != "keep";
            prop_assert!(is_reported || !goes.contains(&image.digest));
            prop_assert!(!is_reported || goes.contains(&image.digest) || !is_there);
            prop_assert!(!plan.reason_of(id).is_empty());
            if !goes.contains(&image.digest) {
                continue;
            }
            prop_assert!(is_there && !is_protected(&policy, image, &running), "{:?}", image);
            // No image that is kept needs it, or is its subject.
            for (index, parts) in &inventory.indexes {
                let needs = parts.contains(&image.digest);
                let index = place(index).filter(|_| needs);
                prop_assert!(index.is_none_or(|index| !readable(index) || goes.contains(&index.digest)));
            }
            for subject in image.subjects() {
                let is_kept = place(&subject).is_some_and(is_there_now) && !goes.contains(&subject);
                prop_assert!(!is_kept);
            }
            // Its parts and referrers are removed with it, unless another image needs them.
            let parts = inventory.indexes.get(&image.digest).filter(|_| readable(image));
            let with_it = parts.into_iter().flatten().cloned().chain(
                inventory.images.iter().filter(|other| other.subjects().any(|subject| subject == image.digest)).map(|other| other.digest.clone()),
            );
            for other in with_it.filter_map(|digest| place(&digest)) {
                let needed = inventory.indexes.iter().any(|(index, parts)| {
                    parts.contains(&other.digest) && !goes.contains(index) && place(index).is_some_and(readable)
                });
                let about = other.subjects().any(|of| place(&of).is_some() && !goes.contains(&of));
                let is_archived = other.status == ImageStatus::Archived;
                let is_own = other.own_tags().next().is_some();
                let stays = needed || about || is_archived || is_own;
                prop_assert!(goes.contains(&other.digest) || stays);
            }
        }
    }

    #[test]
    fn a_second_plan_is_always_empty(
        made in prop::collection::vec(made(), 0..14),
        policy in policies(),
    ) {
        let inventory = inventory(&made);
        let plan = planned(&policy, &inventory, &RunningImages::new());
        prop_assert!(plan.stopped.is_none());
        let after = applied(&plan);
        let again = planned(&policy, &after, &RunningImages::new());
        let lines: Vec<String> = again.removals.iter().map(|removal| again.reason(&again.units[removal.unit])).collect();
        prop_assert!(again.is_empty(), "{:?} {:?}", lines, again.untags);
    }

    /// Images whose tags have several kinds. An image that is beyond both counts in each of its kinds is
    /// removed, and no other.
    #[test]
    fn b2_b3_a_version_is_removed_only_if_it_is_beyond_the_newest_tags_and_the_highest_versions(
        tags in prop::collection::btree_map(version(), (0_usize..12, 8_i64..60), 0..24),
        kept in 1_usize..5,
    ) {
        let mut images: Vec<(String, Vec<(&Version, i64)>)> =
            (0..12).map(|nth| (nth.to_string(), vec![])).collect();
        for (version, (image, age)) in &tags {
            images[*image].1.push((version, *age));
        }
        images.retain(|(_, tags)| !tags.is_empty());
        let texts: Vec<(String, String)> = images.iter().map(|(name, tags)| {
            let tags: Vec<String> = tags.iter().map(|(version, age)| format!("{}@{age}", version.tag())).collect();
            (name.clone(), format!("{}, pushed 60", tags.join(" ")))
        }).collect();
        let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let inventory = super::tests::inventory(&texts);
        let policy = with(&[
            ("Retention.Keep", json!(kept)),
            ("Tags.Grammar", json!("{component}-v{semver} {component}-{sha}")),
        ]);
        let plan = planned(&policy, &inventory, &RunningImages::new());
        // The youngest tag and the highest version of an image among the tags of a kind.
        let in_kind = |tags: &[(&Version, i64)], kind| {
            let own = tags.iter().filter(|(version, _)| version.kind() == kind);
            (own.clone().map(|(_, age)| *age).min(), own.filter_map(|(version, _)| version.order()).max())
        };
        for (name, tags) in &images {
            // The digests decide between equal ages, so an equal age may or may not count as newer.
            let (mut may_go, mut must_go) = (true, true);
            for (version, _) in tags {
                let (age, highest) = in_kind(tags, version.kind());
                let others: Vec<_> = images.iter().filter(|(other, _)| other != name)
                    .map(|(_, tags)| in_kind(tags, version.kind())).filter(|(age, _)| age.is_some()).collect();
                let newer = others.iter().filter(|(other, _)| *other < age).count();
                let as_new = others.iter().filter(|(other, _)| *other <= age).count();
                let higher = others.iter().filter(|(_, other)| *other > highest).count();
                let is_beyond = highest.is_none() || higher >= kept;
                may_go &= as_new >= kept && is_beyond;
                must_go &= newer >= kept && is_beyond;
            }
            let is_removed = plan.decision_of(super::tests::image_id(&inventory, name)) == "delete";
            prop_assert!(is_removed || !must_go, "{} stays: {:?}", name, tags);
            prop_assert!(!is_removed || may_go, "{} is removed: {:?}", name, tags);
        }
    }

    #[test]
    fn only_confirmed_images_are_removed_and_always_as_whole_units(
        made in prop::collection::vec(made(), 0..14),
        policy in policies(),
        confirmed in prop::collection::vec(any::<bool>(), 14),
    ) {
        let inventory = inventory(&made);
        let whole = planned(&policy, &inventory, &RunningImages::new());
        let goes: HashSet<&Digest> = whole.removed().map(|image| &image.digest).collect();
        let is_confirmed: HashSet<&Digest> = inventory
            .images
            .iter()
            .zip(confirmed)
            .filter_map(|(image, is_confirmed)| is_confirmed.then_some(&image.digest))
            .collect();
        let confirmation = Confirmation {
            retention: retention_hash(&policy),
            images: is_confirmed.iter().map(|digest| confirmed_image(digest)).collect(),
            is_whole: true,
            guard: "unconfirmed".to_owned(),
            confirmed_at: now(),
        };
        let mut plan = planned(&policy, &inventory, &RunningImages::new());
        plan.apply_confirmation(None, Some(&confirmation), now());
        if plan.stopped.is_some() {
            return Ok(());
        }
        let removed: HashSet<&Digest> = plan.removed().map(|image| &image.digest).collect();
        prop_assert!(removed.iter().all(|digest| is_confirmed.contains(*digest)));
        prop_assert!(removed.iter().all(|digest| goes.contains(*digest)));
        for (index, parts) in &inventory.indexes {
            let root = inventory.images.iter().find(|image| image.digest == *index).unwrap();
            let is_active = root.status != ImageStatus::Archived && root.has_parts();
            let loses = parts.iter().any(|part| removed.contains(part));
            prop_assert!(!loses || !is_active || removed.contains(index), "{}", index);
        }
        for image in &inventory.images {
            let is_left = image.status != ImageStatus::Archived && !removed.contains(&image.digest);
            let subject = image.subjects().find(|subject| removed.contains(subject));
            let is_own = image.own_tags().next().is_some() || image.subjects().count() > 1;
            let is_part = inventory.indexes.values().any(|parts| parts.contains(&image.digest));
            prop_assert!(subject.is_none() || !is_left || is_own || is_part, "{:?}", image);
        }
        // Every confirmed image is removed.
        let all: HashSet<&Digest> = inventory.images.iter().map(|image| &image.digest).collect();
        if is_confirmed == all {
            prop_assert_eq!(removed, goes);
        }
    }

    #[test]
    fn the_plan_does_not_depend_on_the_order_of_the_list(
        (made, order) in prop::collection::vec(made(), 0..14)
            .prop_flat_map(|made| { let order = Just((0..made.len()).collect::<Vec<_>>()).prop_shuffle(); (Just(made), order) }),
        policy in policies(),
    ) {
        let inventory = inventory(&made);
        let ids: Vec<ImageId> = inventory.images.ids().collect();
        let order: Vec<ImageId> = order.iter().map(|position| ids[*position]).collect();
        let mut shuffled = inventory.clone();
        shuffled.images = order.iter().map(|image| inventory.images[*image].clone()).collect();
        let (one, other) = (planned(&policy, &inventory, &RunningImages::new()), planned(&policy, &shuffled, &RunningImages::new()));
        prop_assert_eq!(one.hash(), other.hash());
        let removed = |plan: &RetentionPlan<'_>| plan.removals.iter().map(|removal| plan.image(removal.images[0]).digest.clone()).collect::<Vec<_>>();
        prop_assert_eq!(removed(&one), removed(&other));
        for (image, before) in shuffled.images.ids().zip(order) {
            prop_assert_eq!(other.decision_of(image), one.decision_of(before));
            prop_assert_eq!(other.reason_of(image), one.reason_of(before));
        }
    }

    /// A repository to which nothing happens has no new plan before [`RetentionPlan::next_change`], and
    /// it is due from that time on.
    #[test]
    fn a_sweep_before_the_plan_changes_would_plan_nothing_new(
        made in prop::collection::vec(made(), 0..14),
        policy in policies(),
        is_report in any::<bool>(),
        hours in 0_i64..(500 * 24),
    ) {
        let mut policy = policy;
        if is_report && let Some(retention) = &mut policy.retention {
            retention.enforcement = CleanupEnforcement::Report;
        }
        let inventory = inventory(&made);
        let plan = planned(&policy, &inventory, &RunningImages::new());
        let later = now() + chrono::Duration::hours(hours);
        let complete = CompleteSweep::new(&plan, String::new(), false, now());
        let history = SweepHistory { complete: Some(complete), ..SweepHistory::default() };
        let changes = plan.next_change(now()).is_some_and(|change| change <= later);
        prop_assert!(!changes || history.due(&policy, "", later).is_some());
        if changes {
            return Ok(());
        }
        let mut after = if is_report { inventory.clone() } else { applied(&plan) };
        let graph = Graph::build(&after).unwrap();
        after.untagged = observe_untagged(&after, &graph, Some(&after.untagged), later);
        let again = plan_retention(&policy, &after, graph, &RunningImages::new(), later);
        if is_report {
            prop_assert_eq!(again.hash(), plan.hash());
        } else {
            let lines: Vec<String> = again.removals.iter().map(|removal| again.reason(&again.units[removal.unit])).collect();
            prop_assert!(again.is_empty(), "{:?} {:?}", lines, again.untags);
        }
    }
}
