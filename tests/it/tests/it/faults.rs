//! Every call that a function makes, in every scenario of `events/`, going wrong in every way:
//! in the end all is as if nothing had.
//!
//! The cases are not written down but recorded: a scenario is run once with nothing wrong, and
//! then once for each of its calls and each kind of trouble, with Lambda's retries, a replay
//! from the dead-letter queue where those have not helped, and the same event once more.
//!
//! A run takes one case of each function, operation and kind of trouble; `FAULTS=all` takes every
//! case ([`local_aws::sample`]). `FAULTS=all cargo test --workspace --test it faults -- --nocapture`
//! prints how many cases ran and how many held.

pub mod function;
pub mod scenarios;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local_aws::sample::sample;
use local_aws::world::{SECRET, World};
use local_aws::{Called, FaultScenario};
use serde_json::Value;

use function::Function;
use scenarios::{Scenario, scenarios};

/// When a process is killed that waits for nothing but the call that never answers.
const KILLED_AT: Duration = Duration::from_secs(5);

/// What there is in the end.
struct End {
    images: BTreeSet<String>,
    told: Told,
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

/// Which call of its operation it is.
fn nth(calls: &[Called], at: usize) -> usize {
    calls[..=at].iter().filter(|call| call.operation == calls[at].operation).count()
}

/// The calls of a first, faultless attempt, and its end.
async fn faultless(scenario: &Scenario) -> (Vec<Called>, End) {
    let (world, event) = scenario.prepare().await;
    let function = scenario.function;
    let time = function.timeout(&world);
    function.invoke(&world, &event, "first", time, || ()).await.unwrap();
    let calls = take_calls(&world);
    let mut told = Told::default();
    settle(&world, function, &event, &mut told).await.unwrap();
    (calls, End { images: images(&world), told })
}

/// The published alerts.
#[derive(Default)]
struct Told {
    /// How often each thing was.
    times: BTreeMap<String, usize>,
    /// Whether an alert says that it is not complete.
    is_incomplete: bool,
    /// The messages in Slack.
    shown: Vec<Value>,
}

/// Collects the published alerts, and delivers the events of our own pushes.
async fn settle(
    world: &World,
    function: Function,
    event: &Value,
    told: &mut Told,
) -> Result<(), Vec<String>> {
    for alert in world.alerts() {
        leaked(&alert.to_string()).map_err(|why| vec![why])?;
        told.is_incomplete |= alert["details"]["complete"] == false;
        for key in keys(&alert) {
            *told.times.entry(key).or_default() += 1;
        }
    }
    told.shown.extend(world.aws.slack().take_messages());
    if function == Function::ImagePush {
        let own = std::mem::take(&mut world.aws.state().events);
        for (nth, own) in own.into_iter().filter(|own| own != event).enumerate() {
            if own["detail"]["action-type"] == "PUSH" {
                let id = format!("own-{nth}");
                function.invoke(world, &own, &id, function.timeout(world), || ()).await?;
            }
        }
        let changed = world.aws.state().events.len();
        assert_eq!(changed, 0, "a push of ours is answered by another");
    }
    Ok(())
}

/// What an alert tells, one thing a line: of a cleanup each image that went.
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
        // Where they could not be read they are told by their counts, in other words.
        return vec![format!("{kind}: {}", alert["image"]["digest"])];
    }
    vec![format!("{kind}: {} {}", alert["title"], alert["image"]["digest"])]
}

/// Runs one case, and says what does not hold.
async fn run_case(
    scenario: &Scenario,
    calls: &[Called],
    at: usize,
    trouble: FaultScenario,
    end: &End,
) -> Result<(), String> {
    let operation = &calls[at].operation;
    let nth = nth(calls, at);
    let (world, event) = scenario.prepare().await;
    let function = scenario.function;
    trouble.prepare(&world.aws, &calls[at], nth);
    let cut_off = if trouble.kills() { KILLED_AT } else { function.timeout(&world) };
    let heal = || {
        // Who is denied something is denied it until a person sees to it.
        if trouble != FaultScenario::Denied {
            world.aws.heal();
        }
    };
    let mut told = Told::default();
    let before = images(&world);
    let first = function.invoke(&world, &event, "first", cut_off, heal).await;
    world.aws.heal();
    let reached = take_calls(&world).iter().filter(|call| call.operation == *operation).count();
    if reached < nth {
        return Err("it was never called".to_owned());
    }
    // At no time has anything gone that a faultless run keeps.
    let missing = before.intersection(&end.images).find(|image| !images(&world).contains(*image));
    if let Some(image) = missing {
        return Err(format!("{image} went"));
    }
    // What is in the dead-letter queue is sent again once the role is mended; a sweep is
    // followed by another one, and a day by the next.
    let is_repeated = function == Function::ImageSweep || scenario.file == "each-day";
    if let Err(errors) = &first {
        leaked(&errors.join("\n"))?;
    }
    if first.is_err() || is_repeated {
        deliver(scenario, &world, &event, "repeated").await?;
    }
    let settled = settle(&world, function, &event, &mut told).await;
    settled.map_err(|errors| format!("what was told and pushed: {errors:?}"))?;
    let left = images(&world);
    if left != end.images {
        let differs: Vec<_> = left.symmetric_difference(&end.images).collect();
        return Err(format!("it ends with other images: {differs:#?}"));
    }
    check_told(&told, &end.told, at, calls, trouble)?;
    if function != Function::SlackNotifier {
        // The same event once more has nothing to do and to tell.
        deliver(scenario, &world, &event, "again").await?;
        let again = world.alerts();
        let is_complete = |alert: &Value| alert["details"]["complete"] == true;
        let may_be = told.is_incomplete && again.iter().all(is_complete);
        if !again.is_empty() && !may_be {
            return Err(format!("it is told again: {again:#?}"));
        }
        if images(&world) != end.images {
            return Err("the second delivery changes something".to_owned());
        }
    }
    leaked(&local_aws::log::text())
}

/// Delivers an event an hour later, when nothing goes wrong any more.
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

/// Whether something secret is in a text.
fn leaked(text: &str) -> Result<(), String> {
    match text.lines().find(|line| line.contains(SECRET)) {
        Some(line) => Err(format!("a secret is in: {line}")),
        None => Ok(()),
    }
}

/// Everything was told, and once; twice at most where it was cut off between telling it and
/// noting that.
fn check_told(
    told: &Told,
    end: &Told,
    at: usize,
    calls: &[Called],
    trouble: FaultScenario,
) -> Result<(), String> {
    let publish = calls.iter().position(|call| call.operation == "Publish");
    let is_after = matches!(trouble, FaultScenario::ResetAfter | FaultScenario::KilledAfter);
    // These also hit every later call of the operation, such as the one that records the alert.
    let is_lasting = matches!(trouble, FaultScenario::Denied | FaultScenario::TooSlow);
    let may_be_twice = publish.is_some_and(|publish| {
        let is_recorded_by = |call: &Called| call.operation == calls[at].operation;
        let hits_record = is_lasting && calls[publish..].iter().any(is_recorded_by);
        at > publish || (at == publish && is_after) || hits_record
    });
    let most = if may_be_twice { 2 } else { 1 };
    for key in end.times.keys() {
        match told.times.get(key) {
            None => return Err(format!("not told: {key}; but {:#?}", told.times)),
            Some(times) if *times > most => return Err(format!("told {times} times: {key}")),
            Some(_) => {}
        }
    }
    // Beside that, only that something could not be seen.
    let more = told.times.keys().find(|key| {
        let is_blind = key.starts_with("cleanup: ") || key.starts_with("self-audit: ");
        !end.times.contains_key(*key) && !is_blind
    });
    if let Some(key) = more {
        return Err(format!("told beside: {key}"));
    }
    if let Some(message) = end.shown.iter().find(|message| !told.shown.contains(message)) {
        return Err(format!("not shown: {message}"));
    }
    if told.shown.len() > end.shown.len() { Err("shown twice".to_owned()) } else { Ok(()) }
}

/// A call of a scenario, and what goes wrong with it.
struct Case {
    scenario: usize,
    call: usize,
    trouble: FaultScenario,
}

/// Runs the sampled cases of a function and prints how many held.
async fn run(function: Function, floor: usize) {
    let mut recorded = Vec::new();
    for scenario in scenarios(function) {
        let (calls, end) = faultless(&scenario).await;
        recorded.push((scenario, calls, end));
    }
    let cases = recorded.iter().enumerate().flat_map(|(scenario, (_, calls, _))| {
        (0..calls.len()).flat_map(move |call| {
            FaultScenario::OF_AN_ATTEMPT.map(|trouble| Case { scenario, call, trouble })
        })
    });
    let operation = |case: &Case| &recorded[case.scenario].1[case.call].operation;
    let sample = sample(cases.collect(), |case| format!("{} {:?}", operation(case), case.trouble));
    let mut broken = Vec::new();
    for case in &sample.cases {
        let (scenario, calls, end) = &recorded[case.scenario];
        if let Err(why) = run_case(scenario, calls, case.call, case.trouble, end).await {
            let Scenario { file, parameters, .. } = scenario;
            let (operation, nth, trouble) = (operation(case), nth(calls, case.call), case.trouble);
            broken.push(format!("{file} {parameters:?}, {operation} {nth} {trouble:?}: {why}"));
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
async fn image_push_ends_as_if_nothing_had_gone_wrong() {
    run(Function::ImagePush, 72).await;
}

#[tokio::test(start_paused = true)]
async fn scan_complete_ends_as_if_nothing_had_gone_wrong() {
    run(Function::ScanComplete, 54).await;
}

#[tokio::test(start_paused = true)]
async fn image_sweep_ends_as_if_nothing_had_gone_wrong() {
    run(Function::ImageSweep, 108).await;
}

#[tokio::test(start_paused = true)]
async fn slack_notifier_ends_as_if_nothing_had_gone_wrong() {
    run(Function::SlackNotifier, 9).await;
}
