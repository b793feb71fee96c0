//! The functions of the simulated year, in this process: each one is a warm process of Lambda.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use local_aws::pattern::Pattern;
use local_aws::world::{World, evaluate};
use serde_json::{Value, json};
use warden_aws::Invocation;
use warden_aws::ledger::Ledger;
use warden_core::retention::{Confirmation, confirmed_image};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    /// Judges pushes.
    ImagePush,
    /// Compares scans.
    ScanComplete,
    /// Starts rounds.
    SweepDispatch,
    /// Sweeps a repository.
    ImageSweep,
}

impl Function {
    /// The name of the folder of the function.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::ImagePush => "image-push",
            Self::ScanComplete => "scan-complete",
            Self::SweepDispatch => "sweep-dispatch",
            Self::ImageSweep => "image-sweep",
        }
    }
}

/// The calls of AWS by the invocations of a function.
#[derive(Clone, Debug, Default)]
pub struct CallFigures {
    /// The number of invocations.
    pub invocations: usize,
    /// The number of calls of each service.
    pub calls: BTreeMap<String, usize>,
}

/// The deployed functions.
pub struct Functions {
    /// The stack.
    pub world: World,
    /// The calls of each function.
    pub figures: BTreeMap<Function, CallFigures>,
    push: image_push::Context,
    scan: scan_complete::Context,
    dispatch: sweep_dispatch::Context,
    sweep: image_sweep::Context,
    /// The patterns of the rules of EventBridge, each with the function that receives the events.
    rules: Vec<(Function, Pattern)>,
    operator: SdkConfig,
    invocations: u64,
    /// Whether an invocation has sent a message to the queue of sweeps since the last time.
    has_queued: bool,
}

impl Functions {
    /// The functions of a stack with these parameters.
    #[must_use]
    pub fn new(world: World, parameters: &[(&str, &str)]) -> Self {
        let variables = |folder: &str| world.function(folder).environment.clone();
        let push = image_push::config::Config::read(variables("image-push")).unwrap();
        let scan = scan_complete::config::Config::read(variables("scan-complete")).unwrap();
        let dispatch = sweep_dispatch::config::Config::read(variables("sweep-dispatch")).unwrap();
        let sweep = image_sweep::config::Config::read(variables("image-sweep")).unwrap();
        let template = evaluate(parameters).unwrap();
        let events = [
            (Function::ImagePush, "ImagePushFunction"),
            (Function::ScanComplete, "ScanCompleteFunction"),
        ];
        let rules = events.into_iter().flat_map(|(function, logical_id)| {
            let mut properties = template.properties(logical_id).unwrap();
            let events = properties["Events"].as_object_mut().map(std::mem::take).unwrap();
            let rules = events.into_values().filter(|event| event["Type"] == "EventBridgeRule");
            rules.map(move |rule| (function, Pattern::new(&rule["Properties"]["Pattern"]).unwrap()))
        });
        let rules = rules.collect();
        Self {
            push: image_push::Context::new(push, &world.sdk("image-push")),
            scan: scan_complete::Context::new(scan, &world.sdk("scan-complete")),
            dispatch: sweep_dispatch::Context::new(dispatch, &world.sdk("sweep-dispatch")),
            sweep: image_sweep::Context::new(sweep, &world.sdk("image-sweep")),
            operator: world.operator(),
            rules,
            figures: BTreeMap::new(),
            invocations: 0,
            has_queued: false,
            world,
        }
    }

    /// Takes the events that the services sent to EventBridge.
    pub fn take_events(&self) -> Vec<Value> {
        let mut state = self.world.aws.state();
        let mut events = std::mem::take(&mut state.events);
        events.append(&mut state.ecr().events);
        events
    }

    /// The functions that receive an event by the rules of the template.
    pub fn targets(&self, event: &Value) -> Vec<Function> {
        let rules = self.rules.iter().filter(|(_, pattern)| pattern.matches(event));
        rules.map(|(function, _)| *function).collect()
    }

    /// Invokes a function, and counts its calls.
    pub async fn invoke(&mut self, function: Function, event: &Value) -> anyhow::Result<Value> {
        let now = self.world.now();
        self.invocations += 1;
        let id = format!("invocation-{}", self.invocations);
        // An event has the same ID in each attempt.
        let id = event["id"].as_str().unwrap_or(&id);
        self.world.aws.state().calls.clear();
        let answer = match function {
            Function::ImagePush => {
                image_push::handle(&self.push, event, id, now).await.map(|()| Value::Null)
            }
            Function::ScanComplete => {
                scan_complete::handle(&self.scan, event, id, now).await.map(|()| Value::Null)
            }
            Function::SweepDispatch => sweep_dispatch::handle(&self.dispatch, event, id, now).await,
            Function::ImageSweep => {
                let time_left = Duration::from_secs(900);
                let invocation = Invocation { request_id: id.to_owned(), now, time_left };
                image_sweep::handle(&self.sweep, event, &invocation).await
            }
        };
        let figures = self.figures.entry(function).or_default();
        figures.invocations += 1;
        for call in std::mem::take(&mut self.world.aws.state().calls) {
            self.has_queued |= call.operation == "SendMessageBatch";
            *figures.calls.entry(call.service).or_default() += 1;
        }
        let _ = local_aws::log::text();
        answer
    }

    /// Takes the messages of the queue of sweeps.
    pub async fn take_sweeps(&mut self) -> Vec<Value> {
        if std::mem::take(&mut self.has_queued) {
            self.world.take_messages("SweepQueue").await
        } else {
            Vec::new()
        }
    }

    /// Confirms the plan of a repository, as an operator does after reading the plan.
    pub async fn confirm(&mut self, repository: &str) -> anyhow::Result<()> {
        let read = json!({"repository": repository, "mode": "report"});
        let plan = self.invoke(Function::ImageSweep, &read).await?;
        let removals = plan["removals"].as_array().cloned().unwrap_or_default();
        let removed = removals.iter().filter(|removal| removal["decision"] != "untag");
        let digest = |removal: &Value| removal["digest"].as_str().unwrap().parse().unwrap();
        let images = removed.map(|removal| confirmed_image(&digest(removal))).collect();
        let confirmation = Confirmation {
            retention: plan["retention"].as_str().unwrap_or_default().to_owned(),
            images,
            is_whole: true,
            guard: plan["guard"].as_str().unwrap_or_default().to_owned(),
            confirmed_at: self.world.now(),
        };
        let table = self.world.function("image-sweep").environment["LEDGER_TABLE"].clone();
        let ledger = Ledger::new(&self.operator, table);
        ledger.confirm(&repository.parse().unwrap(), &confirmation).await
    }
}
