//! The fault matrix: each call of a function fails in each way, for each event of `events/`. The final
//! images and alerts must be those of a run without faults.
//!
//! The cases are recorded: a scenario first runs without faults. It then runs once for each of its
//! calls and each fault, with the retries of Lambda, with a replay from the dead-letter queue if the
//! retries fail, and with a second delivery of the event.
//!
//! A run takes one case of each function, operation and fault; `FAULTS=all` takes every
//! case ([`local_aws::sample`]). `FAULTS=all cargo test --workspace --test it faults -- --nocapture`
//! prints how many cases ran and how many held.

pub mod function;
pub mod scenarios;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::expect_file;
use local_aws::sample::sample;
use local_aws::snippets::workspace;
use local_aws::world::{SECRET, World};
use local_aws::{Called, FaultScenario};
use serde_json::Value;
use warden_core::tag_times::binding_key;

use function::Function;
use scenarios::{Scenario, scenarios};

/// The text before the tables of `docs/contributing/calls.md`.
const CALLS_PAGE: &str = "# AWS calls of each event

A test writes this page. The test sends the files of `events/` to their functions, in the stacks of the [fault tests](testing.md).
A row has the number of AWS calls, and the operations in the order of their first call. Settings that change no call have no row.
Each row is the first event of a new process, so most rows have one call that reads the policy.
In the stacks of `scan-complete` and `sweep-dispatch`, and in rows with `Enforcement: report`, the rules have wildcards. There, the functions also check
whether a pull-through cache or replication fills the repository. In the stacks of `image-push`, the policy has `Unmatched: report`.
The calls of `custom-resource` depend on the existing repository, so they are not in the tables. A request to Slack is not an AWS call.
";

/// The time after which a process is killed that waits for a call without an answer.
const KILLED_AT: Duration = Duration::from_secs(5);

/// The images, the alerts and the queued sweeps at the end of a run.
struct Outcome {
    images: BTreeSet<String>,
    /// The tags whose push or sighting the ledger has.
    recorded_tags: BTreeSet<String>,
    published: Published,
    /// The repositories whose sweep is queued.
    queued: BTreeSet<String>,
}

/// The calls since the last time.
pub fn take_calls(world: &World) -> Vec<Called> {
    std::mem::take(&mut world.aws.state().calls)
}

/// The images of all repositories, each with its tags and its status.
fn images(world: &World) -> BTreeSet<String> {
    let mut state = world.aws.state();
    let repositories = state.ecr().repositories.iter();
    let images = repositories.flat_map(|(name, repository)| {
        repository.images.iter().map(move |image| {
            format!("{name} {} {:?} {}", image.digest, image.tags, image.status.name())
        })
    });
    images.collect()
}

/// The position of a call among the calls of its operation.
fn nth(calls: &[Called], at: usize) -> usize {
    calls[..=at].iter().filter(|call| call.operation == calls[at].operation).count()
}

/// Runs a scenario without faults. Returns its calls and its outcome.
async fn run_without_faults(scenario: &Scenario) -> (Vec<Called>, Outcome) {
    let (world, event) = scenario.prepare().await;
    let function = scenario.function;
    let time = function.timeout(&world);
    function.invoke(&world, &event, "first", time, || ()).await.unwrap();
    let calls = take_calls(&world);
    let mut published = Published::default();
    settle(&world, function, &event, &mut published).await.unwrap();
    let recorded_tags = recorded_tags(&world).await;
    let queued = queued(&world).await;
    (calls, Outcome { images: images(&world), recorded_tags, published, queued })
}

/// The tags of all repositories whose push or sighting the ledger has, each with its image.
async fn recorded_tags(world: &World) -> BTreeSet<String> {
    let repositories = world.aws.state().ecr().repositories.clone();
    let (ledger, mut found) = (world.ledger(), BTreeSet::new());
    for (name, repository) in repositories {
        let recorded = ledger.sightings(&name.parse().unwrap(), world.now()).await.unwrap();
        let seen = recorded.earlier.unwrap_or_default().tags;
        for image in repository.images.iter() {
            let digest = image.digest.parse().unwrap();
            let key = |tag: &String| binding_key(&digest, &tag.parse().unwrap());
            let is_recorded =
                |tag: &&String| recorded.pushes.get(key(tag)).or(seen.get(key(tag))).is_some();
            let tags = image.tags.iter().filter(is_recorded);
            found.extend(tags.map(|tag| format!("{name}:{tag}@{}", image.digest)));
        }
    }
    found
}

/// The repositories of the messages in the queue of sweeps.
async fn queued(world: &World) -> BTreeSet<String> {
    let messages = world.take_messages("SweepQueue").await;
    messages.iter().map(|message| message["repository"].as_str().unwrap().to_owned()).collect()
}

/// The operations that publish an alert: to the topic, and to the event bus.
const PUBLISHING: [&str; 2] = ["Publish", "PutEvents"];

/// The published alerts.
#[derive(Default)]
struct Published {
    /// The number of alerts about each fact, by the operation that published them.
    times: [BTreeMap<String, usize>; 2],
    /// Whether an alert says that it is not complete.
    is_incomplete: bool,
    /// The messages in Slack.
    messages: Vec<Value>,
}

/// Collects the published alerts, and delivers the events of our own pushes.
async fn settle(
    world: &World,
    function: Function,
    event: &Value,
    published: &mut Published,
) -> Result<(), Vec<String>> {
    let alerts = [world.alerts(), bus_alerts(world)];
    for (alerts, times) in alerts.iter().zip(&mut published.times) {
        for alert in alerts {
            leaked(&alert.to_string()).map_err(|why| vec![why])?;
            published.is_incomplete |= alert["details"]["complete"] == false;
            for key in keys(alert) {
                *times.entry(key).or_default() += 1;
            }
        }
    }
    published.messages.extend(world.aws.slack().take_messages());
    if function == Function::ImagePush {
        let own = std::mem::take(&mut world.aws.state().events);
        for (nth, own) in own.into_iter().filter(|own| own != event).enumerate() {
            if own["detail"]["action-type"] == "PUSH" {
                let id = format!("own-{nth}");
                function.invoke(world, &own, &id, function.timeout(world), || ()).await?;
            }
        }
        let changed = world.aws.state().events.len();
        assert_eq!(changed, 0, "the push of a quarantine tag causes another push");
    }
    Ok(())
}

/// The alerts on the event bus since the last time.
fn bus_alerts(world: &World) -> Vec<Value> {
    world.bus_events().into_iter().map(|mut event| event["detail"].take()).collect()
}

/// The facts of an alert, each as one line. Each removed image of a cleanup is a fact.
fn keys(alert: &Value) -> Vec<String> {
    let kind = alert["kind"].as_str().unwrap();
    let images = alert["details"]["images"].as_array();
    if kind == "cleanup"
        && let Some(images) = images.filter(|images| !images.is_empty())
    {
        let key = |image: &Value| format!("cleanup: {} {}", image["decision"], image["digest"]);
        return images.iter().map(key).collect();
    }
    if kind == "scan-findings" {
        // An alert without readable findings has another title.
        return vec![format!("{kind}: {}", alert["image"]["digest"])];
    }
    vec![format!("{kind}: {} {}", alert["title"], alert["image"]["digest"])]
}

/// Runs one case. The error names the difference from the run without faults.
async fn run_case(
    scenario: &Scenario,
    calls: &[Called],
    at: usize,
    fault: FaultScenario,
    expected: &Outcome,
) -> Result<(), String> {
    let operation = &calls[at].operation;
    let nth = nth(calls, at);
    let (world, event) = scenario.prepare().await;
    let function = scenario.function;
    fault.prepare(&world.aws, &calls[at], nth);
    let cut_off = if fault.kills() { KILLED_AT } else { function.timeout(&world) };
    let heal = || {
        // A denial lasts until a person corrects the role.
        if fault != FaultScenario::Denied {
            world.aws.heal();
        }
    };
    let mut published = Published::default();
    let before = images(&world);
    let first = function.invoke(&world, &event, "first", cut_off, heal).await;
    world.aws.heal();
    let reached = take_calls(&world).iter().filter(|call| call.operation == *operation).count();
    if reached < nth {
        return Err("the operation was never called".to_owned());
    }
    // No attempt removes an image that a run without faults keeps.
    let missing =
        before.intersection(&expected.images).find(|image| !images(&world).contains(*image));
    if let Some(image) = missing {
        return Err(format!("{image} was removed"));
    }
    // A person replays the dead-letter queue after the role is corrected. A scheduled event is followed
    // by the next one.
    let is_repeated = function == Function::ImageSweep || scenario.file == "each-day";
    if let Err(errors) = &first {
        leaked(&errors.join("\n"))?;
    }
    if first.is_err() || is_repeated {
        deliver(scenario, &world, &event, scenario.id("first", "repeated")).await?;
    }
    let settled = settle(&world, function, &event, &mut published).await;
    settled
        .map_err(|errors| format!("the events of the function's own pushes failed: {errors:?}"))?;
    let left = images(&world);
    if left != expected.images {
        let differs: Vec<_> = left.symmetric_difference(&expected.images).collect();
        return Err(format!("the final images differ: {differs:#?}"));
    }
    check_published(&published, &expected.published, at, calls, fault)?;
    let left = recorded_tags(&world).await;
    if left != expected.recorded_tags {
        let differs: Vec<_> = left.symmetric_difference(&expected.recorded_tags).collect();
        return Err(format!("the recorded tags differ: {differs:#?}"));
    }
    let left = queued(&world).await;
    if left != expected.queued {
        return Err(format!("the queued sweeps differ: {left:?}"));
    }
    if function != Function::SlackNotifier {
        // A second delivery of the event changes nothing and publishes nothing.
        deliver(scenario, &world, &event, scenario.id("first", "again")).await?;
        let again = [world.alerts(), bus_alerts(&world)].concat();
        let is_complete = |alert: &Value| alert["details"]["complete"] == true;
        let may_be = published.is_incomplete && again.iter().all(is_complete);
        if !again.is_empty() && !may_be {
            return Err(format!("the second delivery publishes: {again:#?}"));
        }
        if images(&world) != expected.images {
            return Err("the second delivery changes something".to_owned());
        }
    }
    leaked(&local_aws::log::text())
}

/// Delivers an event an hour later, without faults.
async fn deliver(
    scenario: &Scenario,
    world: &World,
    event: &Value,
    id: &str,
) -> Result<(), String> {
    world.aws.advance(Duration::from_secs(61 * 60));
    let event = scenario.again(world, event);
    let time = scenario.function.timeout(world);
    let done = scenario.function.invoke(world, &event, id, time, || ()).await;
    done.map_err(|errors| format!("{id}: {errors:?}"))
}

/// Checks that a text contains no secret.
fn leaked(text: &str) -> Result<(), String> {
    match text.lines().find(|line| line.contains(SECRET)) {
        Some(line) => Err(format!("a line contains a secret: {line}")),
        None => Ok(()),
    }
}

/// Checks that each fact was published once to each destination, or at most twice where the function was
/// interrupted between the publication and its record.
fn check_published(
    found: &Published,
    expected: &Published,
    at: usize,
    calls: &[Called],
    fault: FaultScenario,
) -> Result<(), String> {
    for ((operation, found), expected) in PUBLISHING.iter().zip(&found.times).zip(&expected.times) {
        let most = if may_publish_twice(operation, at, calls, fault) { 2 } else { 1 };
        for key in expected.keys() {
            match found.get(key) {
                None => return Err(format!("no {operation} of {key}; but {found:#?}")),
                Some(times) if *times > most => {
                    return Err(format!("{times} times {operation} of {key}"));
                }
                Some(_) => {}
            }
        }
        // An additional alert may only report that the function could not read something.
        let more = found.keys().find(|key| {
            let is_blind = key.starts_with("cleanup: ") || key.starts_with("self-audit: ");
            !expected.contains_key(*key) && !is_blind
        });
        if let Some(key) = more {
            return Err(format!("{operation} in addition: {key}"));
        }
    }
    if let Some(message) =
        expected.messages.iter().find(|message| !found.messages.contains(message))
    {
        return Err(format!("not in Slack: {message}"));
    }
    if found.messages.len() > expected.messages.len() {
        return Err("twice in Slack".to_owned());
    }
    Ok(())
}

/// Whether the fault may interrupt the function between this publication and its record. The function
/// publishes to both destinations at the same time, and one call of the ledger records both.
fn may_publish_twice(operation: &str, at: usize, calls: &[Called], fault: FaultScenario) -> bool {
    let position = |operation: &str| calls.iter().position(|call| call.operation == operation);
    let Some(own) = position(operation) else { return false };
    let positions = PUBLISHING.iter().filter_map(|operation| position(operation));
    let last = positions.max().unwrap_or(own);
    let is_after = matches!(fault, FaultScenario::ResetAfter | FaultScenario::KilledAfter);
    // These also hit every later call of the operation, such as the one that records the alert.
    let is_lasting = matches!(fault, FaultScenario::Denied | FaultScenario::TooSlow);
    let is_recorded_by = |call: &Called| call.operation == calls[at].operation;
    let hits_record = is_lasting && calls[last..].iter().skip(1).any(is_recorded_by);
    let is_publishing = PUBLISHING.contains(&calls[at].operation.as_str());
    // A function that is killed in one publication has perhaps made the other one.
    let is_killed = is_publishing && at != own && fault.kills();
    at > last || (at == own && is_after) || is_killed || hits_record
}

/// A call of a scenario, and its fault.
struct Case {
    scenario: usize,
    call: usize,
    fault: FaultScenario,
}

/// Runs the sampled cases of a function and prints how many held.
async fn run(function: Function, floor: usize) {
    let mut recorded = Vec::new();
    for scenario in scenarios(function) {
        let (calls, outcome) = run_without_faults(&scenario).await;
        recorded.push((scenario, calls, outcome));
    }
    let cases = recorded.iter().enumerate().flat_map(|(scenario, (_, calls, _))| {
        (0..calls.len()).flat_map(move |call| {
            FaultScenario::OF_AN_ATTEMPT.map(|fault| Case { scenario, call, fault })
        })
    });
    let operation = |case: &Case| &recorded[case.scenario].1[case.call].operation;
    let sample = sample(cases.collect(), |case| format!("{} {:?}", operation(case), case.fault));
    let mut broken = Vec::new();
    for case in &sample.cases {
        let (scenario, calls, outcome) = &recorded[case.scenario];
        if let Err(why) = run_case(scenario, calls, case.call, case.fault, outcome).await {
            let Scenario { file, parameters, .. } = scenario;
            let (operation, nth, fault) = (operation(case), nth(calls, case.call), case.fault);
            broken.push(format!("{file} {parameters:?}, {operation} {nth} {fault:?}: {why}"));
        }
    }
    let (ran, held) = (sample.cases.len(), sample.cases.len() - broken.len());
    let chosen = sample.description();
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        println!("faults of {}: {ran} cases ({chosen}), {held} held", function.folder());
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(ran >= floor, "only {ran} cases");
}

#[tokio::test(start_paused = true)]
async fn image_push_has_the_same_outcome_after_every_fault() {
    run(Function::ImagePush, 72).await;
}

#[tokio::test(start_paused = true)]
async fn scan_complete_has_the_same_outcome_after_every_fault() {
    run(Function::ScanComplete, 54).await;
}

#[tokio::test(start_paused = true)]
async fn image_sweep_has_the_same_outcome_after_every_fault() {
    run(Function::ImageSweep, 108).await;
}

#[tokio::test(start_paused = true)]
async fn slack_notifier_has_the_same_outcome_after_every_fault() {
    run(Function::SlackNotifier, 9).await;
}

#[tokio::test(start_paused = true)]
async fn sweep_dispatch_has_the_same_outcome_after_every_fault() {
    run(Function::SweepDispatch, 27).await;
}

/// The names and numbers of calls, in the order of the first call of each name.
fn count_calls(calls: &[Called]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for Called { operation, .. } in calls {
        match counts.iter_mut().find(|(name, _)| name == operation) {
            Some((_, count)) => *count += 1,
            None => counts.push((operation, 1)),
        }
    }
    let counts = counts.into_iter().map(|(name, count)| match count {
        1 => name.to_owned(),
        _ => format!("{name} × {count}"),
    });
    counts.collect::<Vec<String>>().join(", ")
}

#[tokio::test(start_paused = true)]
async fn the_page_of_the_calls_has_the_calls_of_each_event() {
    let mut page = CALLS_PAGE.to_owned();
    for function in [
        Function::ImagePush,
        Function::ScanComplete,
        Function::ImageSweep,
        Function::SweepDispatch,
        Function::SlackNotifier,
    ] {
        page += &format!(
            "\n## `{}`\n\n| event | settings | calls | operations |\n| --- | --- | --- | --- |\n",
            function.folder()
        );
        let mut shown = BTreeSet::new();
        for scenario @ Scenario { file, parameters, .. } in &scenarios(function) {
            let calls = run_without_faults(scenario).await.0;
            let names = count_calls(&calls);
            // Settings that change no call have no row.
            if !shown.insert((file, names.clone())) {
                continue;
            }
            let is_shown = |name: &str| {
                name.ends_with(".Enforcement")
                    || !name.contains('.') && name != "EnforceRepositories"
            };
            let settings = parameters.iter().filter(|(name, _)| is_shown(name));
            let settings: Vec<String> =
                settings.map(|(name, value)| format!("`{name}: {value}`")).collect();
            let (settings, count) = (settings.join(", "), calls.len());
            page += &format!("| `{file}` | {settings} | {count} | {names} |\n");
        }
    }
    expect_file![workspace().join("docs/contributing/calls.md")].assert_eq(&page);
}
