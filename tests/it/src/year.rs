//! A simulated year of a busy registry. `docs/contributing/simulated-year.md` describes it.
//!
//! The modules, in reading order: [`rates`] has the rates and the policy, [`schedule`] the steps to come,
//! [`component`] and [`pipelines`] push and pull, [`oracle`] decides what had to stay, [`functions`] runs the
//! functions in this process, and [`report`] is the outcome.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a run ends when its stack cannot be deployed or its own numbers are wrong"
)]

pub mod component;
pub mod functions;
pub mod oracle;
pub mod pipelines;
pub mod rates;
pub mod report;
pub mod schedule;

use std::time::Duration;

use local_aws::LocalAws;
use local_aws::ecr::Time;
use local_aws::template::Template;
use local_aws::world::{NOW, World};
use serde_json::{Value, json};

use self::component::Component;
use self::functions::{Function, Functions};
use self::pipelines::Pipelines;
use self::rates::{GROUPS, Group, HISTORY, POLICY};
use self::report::Report;
use self::schedule::{Job, Step, start_of_day};

/// Seconds since 1970.
pub type Seconds = i64;
/// The seconds of a day.
pub const DAY: Seconds = 86_400;
/// The pauses before the second and the third attempt of Lambda.
const PAUSES: [Seconds; 2] = [60, 120];
/// The delay of the message of a push, and the visibility timeout and the receive limit of the queue of sweeps.
const PUSH_DELAY: Seconds = 180;
const VISIBILITY: Seconds = 90 * 60;
const RECEIVES: u64 = 5;
/// ECR deletes images this number of days after they were archived.
const LIFECYCLE: &str = r#"{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}"#;

/// The size of a run.
#[derive(Debug)]
pub struct Scenario {
    /// The seed of all choices.
    pub seed: u64,
    /// The number of days after the deployment.
    pub days: u32,
    /// The number of components of each of [`GROUPS`].
    pub components: [usize; 6],
    /// The days on which the last applications start.
    pub new_apps: &'static [u32],
    /// The days of the imports.
    pub imports: &'static [u32],
}

impl Scenario {
    /// The year of the book.
    pub const YEAR: Self = Self {
        seed: 1,
        days: 365,
        components: [16, 10, 6, 8, 6, 4],
        new_apps: &[60, 200],
        imports: &[30, 75, 140, 260],
    };

    /// The components, with the start of their pipelines.
    fn components(&self) -> Vec<Component> {
        let mut components = Vec::new();
        for (group, count) in GROUPS.into_iter().zip(self.components) {
            for (nth, name) in group.components().iter().take(count).enumerate() {
                let late = (nth + self.new_apps.len()).checked_sub(count);
                let late = late.filter(|_| group == Group::Apps).map(|late| self.new_apps[late]);
                let starts_at = late.map_or(0, |day| today() + Seconds::from(day) * DAY);
                components.push(Component::new(group, nth, name, starts_at));
            }
        }
        components
    }
}

/// A time of the embedded ECR.
#[must_use]
pub fn as_time(seconds: Seconds) -> Time {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the years that are simulated are small numbers"
    )]
    let time = seconds as Time;
    time
}

/// The time of the deployment.
fn deployment() -> Seconds {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let now = NOW as Seconds;
    now
}

/// The start of the day of the deployment.
fn today() -> Seconds {
    start_of_day(deployment())
}

/// Runs a scenario, in a runtime with paused time: functions that wait for ECR wait for no real time.
pub async fn run(scenario: &Scenario) -> Report {
    let aws = LocalAws::default();
    let mut pipelines = Pipelines::new(aws.clone(), scenario.components(), scenario.seed);
    let start = today() - Seconds::from(HISTORY.least) * 7 * DAY;
    pipelines.advance_to(start);
    for component in scenario.components().iter().filter(|component| component.starts_at == 0) {
        create_repository(&aws, component);
    }
    pipelines.schedule.add(start, Step::Day);
    while let Some((at, step)) = pipelines.schedule.take_before(deployment()) {
        pipelines.advance_to(at);
        pipelines.step(step);
        // Before the deployment, the events have no receiver.
        let mut state = aws.state();
        state.events.clear();
        state.ecr().events.clear();
    }
    pipelines.advance_to(deployment());
    let mut year = Year::deploy(pipelines).await;
    year.plan(scenario);
    let end = today() + Seconds::from(scenario.days) * DAY;
    while let Some((at, step)) = year.pipelines.schedule.take_before(end) {
        year.pipelines.advance_to(at);
        year.step(step).await;
    }
    year.end(scenario)
}

/// Creates the repository of a component, unless it exists.
fn create_repository(aws: &LocalAws, component: &Component) {
    let name = &component.repository;
    let mut create = match component.group {
        Group::Services | Group::Apps => {
            json!({"repositoryName": name, "imageTagMutability": "MUTABLE"})
        }
        Group::Platform => json!({
            "repositoryName": name,
            "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
            "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "sha256-*"}],
        }),
        _ => json!({"repositoryName": name, "imageTagMutability": "IMMUTABLE"}),
    };
    create["imageScanningConfiguration"] = json!({"scanOnPush": component.is_scanned()});
    if aws.by_hand("CreateRepository", &create).is_ok() {
        let put = json!({"repositoryName": name, "lifecyclePolicyText": LIFECYCLE});
        aws.by_hand("PutLifecyclePolicy", &put).unwrap();
    }
}

impl Pipelines {
    /// Moves the clock forward to a time.
    fn advance_to(&mut self, at: Seconds) {
        self.now = self.now.max(at);
        self.aws.state().set_clock(Some(as_time(self.now)));
    }

    /// Makes a step that needs no function.
    fn step(&mut self, step: Step) {
        match step {
            Step::Day => self.plan_day(),
            Step::Pipeline(component, job) => self.run(component, job),
            Step::Pull(workload) => self.pull(workload),
            Step::End(workload) => self.end(workload),
            Step::Scanned(repository, digest) => self.end_scan(&repository, &digest),
            Step::Retry(..) | Step::Sweep(..) | Step::Round => {}
        }
    }
}

/// The registry after the deployment.
struct Year {
    pipelines: Pipelines,
    functions: Functions,
    report: Report,
    /// The components that start later.
    waiting: Vec<Component>,
}

impl Year {
    async fn deploy(mut pipelines: Pipelines) -> Self {
        let policy = Template::read_document(POLICY).unwrap();
        let (rules, unmatched) =
            (policy["Rules"].to_string(), policy["Unmatched"].as_str().unwrap());
        let settings = [
            ("CreateEcrRepositories", "false"),
            ("EnforceRepositories", "services,platform,models,jobs,apps/*,vendor"),
            ("SlackWebhookSecretArn", ""),
            (".Rules", rules.as_str()),
            (".Unmatched", unmatched),
        ];
        let world = World::deploy_in(pipelines.aws.clone(), &settings).await;
        pipelines.oracle.record_deployment(pipelines.now);
        pipelines.scans = true;
        let functions = Functions::new(world, &settings);
        Self { pipelines, functions, report: Report::default(), waiting: Vec::new() }
    }

    /// Plans the rounds, the imports and the new applications.
    fn plan(&mut self, scenario: &Scenario) {
        let Self { pipelines, .. } = self;
        // The schedule of a new stack starts a round at once.
        pipelines.schedule.add(pipelines.now, Step::Round);
        let components = scenario.components();
        let vendor = components.iter().position(|component| component.group == Group::Vendor);
        for (nth, day) in scenario.imports.iter().enumerate() {
            if let Some(vendor) = vendor {
                pipelines.plan(vendor + nth, *day, Job::Import);
            }
        }
        self.waiting = components.into_iter().filter(|component| component.starts_at > 0).collect();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Retry(function, event, attempt) => self.invoke(function, &event, attempt).await,
            Step::Sweep(message, receive) => self.sweep(&message, receive).await,
            Step::Round => self.start_round().await,
            Step::Day => {
                let now = self.pipelines.now;
                let is_due = |component: &mut Component| component.starts_at <= now;
                for component in self.waiting.extract_if(.., is_due) {
                    create_repository(&self.pipelines.aws, &component);
                }
                self.pipelines.schedule.add(now + 3 * 3_600, Step::Round);
                self.pipelines.step(Step::Day);
            }
            step => self.pipelines.step(step),
        }
        self.deliver_events().await;
    }

    /// Passes each event to the functions whose patterns match it, until no event is left.
    async fn deliver_events(&mut self) {
        loop {
            let events = self.functions.take_events();
            if events.is_empty() {
                return;
            }
            for event in events {
                for function in self.functions.targets(&event) {
                    self.invoke(function, &event, 0).await;
                }
            }
        }
    }

    /// Invokes a function with an event, as Lambda does: a failed event is tried two times more.
    async fn invoke(&mut self, function: Function, event: &Value, attempt: usize) {
        let answer = self.functions.invoke(function, event).await;
        self.take_alerts();
        self.take_sweeps().await;
        let Err(error) = answer else { return };
        let failure = format!("{}: {error:#}: {event}", function.folder());
        match PAUSES.get(attempt) {
            Some(pause) => {
                let retry = Step::Retry(function, event.clone(), attempt + 1);
                self.pipelines.schedule.add(self.pipelines.now + pause, retry);
                self.report.failed_attempts.push(failure);
            }
            None => self.report.lost_events.push(failure),
        }
    }

    /// Carries out the lifecycle policies, and starts a round.
    async fn start_round(&mut self) {
        self.pipelines.aws.advance(Duration::ZERO);
        self.invoke(Function::SweepDispatch, &json!({}), 0).await;
        for repository in self.pipelines.oracle.repositories() {
            self.check(&repository);
        }
    }

    /// Takes the messages of the queue of sweeps, and plans their deliveries.
    async fn take_sweeps(&mut self) {
        for message in self.functions.take_sweeps().await {
            let delay = if message["pushed"].is_null() { 0 } else { PUSH_DELAY };
            self.pipelines.schedule.add(self.pipelines.now + delay, Step::Sweep(message, 1));
        }
    }

    fn take_alerts(&mut self) {
        let week = usize::try_from((self.pipelines.now - today()) / (7 * DAY)).unwrap();
        for alert in self.functions.world.alerts() {
            self.report.count_alert(&alert, week);
        }
    }

    /// Handles a message of the queue of sweeps. If the plan waits for a confirmation, the operator confirms it
    /// and starts the sweep again.
    async fn sweep(&mut self, message: &Value, receive: u64) {
        let repository = message["repository"].as_str().unwrap();
        let event = json!({"Records": [{"body": message.to_string()}]});
        let answer = match self.functions.invoke(Function::ImageSweep, &event).await {
            Ok(answer) if answer["confirmable"] == true && !answer["stopped"].is_null() => {
                let guard = answer["guard"].as_str().unwrap_or_default().to_owned();
                self.report.confirmations.push((repository.to_owned(), guard));
                self.functions.confirm(repository).await.unwrap();
                let sweep = json!({"repository": repository});
                self.functions.invoke(Function::ImageSweep, &sweep).await
            }
            answer => answer,
        };
        self.take_alerts();
        self.check(repository);
        match answer {
            Ok(answer) => {
                if let Some(reason) = answer["stopped"].as_str() {
                    let key = (repository.to_owned(), reason.to_owned());
                    *self.report.stopped.entry(key).or_default() += 1;
                }
            }
            Err(error) => {
                let failure = format!("image-sweep: {error:#}: {message}");
                if receive == RECEIVES {
                    return self.report.lost_events.push(failure);
                }
                let retry = Step::Sweep(message.clone(), receive + 1);
                self.pipelines.schedule.add(self.pipelines.now + VISIBILITY, retry);
                self.report.failed_attempts.push(failure);
            }
        }
    }

    /// Has the oracle compare a repository with ECR.
    fn check(&mut self, repository: &str) {
        let Pipelines { aws, oracle, now, .. } = &mut self.pipelines;
        let mut state = aws.state();
        if let Ok(found) = state.ecr().repository(repository) {
            oracle.check(repository, &found.images, *now);
        }
    }

    fn end(mut self, scenario: &Scenario) -> Report {
        for repository in self.pipelines.oracle.repositories() {
            self.check(&repository);
        }
        let Self { pipelines, functions, mut report, .. } = self;
        report.days = usize::try_from(scenario.days).unwrap();
        report.kept_by_use = pipelines.oracle.count_kept_by_use(pipelines.now);
        report.images = pipelines.oracle.count(|repository| {
            let mut state = pipelines.aws.state();
            state.ecr().repository(repository).unwrap().images.clone()
        });
        report.calls = functions.figures;
        report.failed_pipelines = pipelines.failures;
        report.missed_promotions = pipelines.missed_promotions;
        report.wrong = pipelines.oracle.wrong;
        report
    }
}
