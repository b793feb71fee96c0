//! The schedules of functions. `Schedule` of SAM is a rule of EventBridge. `ScheduleV2` of SAM and
//! `AWS::Scheduler::Schedule` are schedules of EventBridge Scheduler. Each sends its own event, or the
//! input of the template.
//!
//! No schedule runs by itself: a test starts schedules by [`LocalAws::fire_schedules`].

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::known;
use crate::authorization::{UndeliveredEvent, schedule_session};
use crate::ecr::event::timestamp;
use crate::{ACCOUNT, LocalAws, REGION, local_arn};

/// A schedule of a function.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The ARN of the rule or of the schedule.
    pub arn: String,
    /// The name of the function.
    pub function: String,
    /// The expression, such as `rate(1 day)` or `cron(0 6 * * ? *)`.
    pub expression: String,
    /// Whether the schedule is enabled.
    pub enabled: bool,
    /// The ARN of the role of Scheduler. None for a rule.
    role: Option<String>,
    /// The ARN of the dead-letter queue.
    dead_letter: Option<String>,
    /// The input that replaces the event.
    input: Option<Value>,
    /// The source of the event, and the form of its empty detail.
    source: (&'static str, Value),
}

/// The properties of each kind that are honoured here, or that change nothing here.
const RULE: &[&str] = &[
    "DeadLetterConfig",
    "Description",
    "Enabled",
    "Input",
    "Name",
    "RetryPolicy",
    "Schedule",
    "State",
];
const SCHEDULER: &[&str] = &[
    "DeadLetterConfig",
    "Description",
    "FlexibleTimeWindow",
    "Input",
    "Name",
    "OmitName",
    "RetryPolicy",
    "RoleArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "State",
];
const TARGET: &[&str] = &["Arn", "DeadLetterConfig", "Input", "RetryPolicy", "RoleArn"];

impl Schedule {
    /// Reads the event `id` of a function, of the type `Schedule` or, if `is_scheduler`,
    /// `ScheduleV2`.
    pub(super) fn read(
        function: &str,
        id: &str,
        is_scheduler: bool,
        properties: &Value,
    ) -> anyhow::Result<Self> {
        known(properties, if is_scheduler { SCHEDULER } else { RULE })?;
        let given = if is_scheduler { "ScheduleExpression" } else { "Schedule" };
        let expression = properties[given].as_str();
        let expression = expression.with_context(|| format!("a schedule has no {given}"))?;
        if !is_expression(expression, is_scheduler) {
            bail!("{expression:?} is no expression of a schedule");
        }
        let input = properties["Input"].as_str().map(serde_json::from_str).transpose();
        let input = input.context("what a function gets as its input is JSON")?;
        let is = |of: &str, text: &str| {
            // The value of a parameter is a string.
            let value = &properties[of];
            value.as_str().map_or_else(|| value.to_string(), str::to_owned) == text
        };
        let name =
            properties["Name"].as_str().map_or_else(|| format!("{function}{id}"), str::to_owned);
        let (resource, source) = if is_scheduler {
            ("scheduler", ("aws.scheduler", json!("{}")))
        } else {
            ("events", ("aws.events", json!({})))
        };
        let path = if is_scheduler { "schedule/default" } else { "rule" };
        Ok(Self {
            arn: format!("arn:aws:{resource}:{REGION}:{ACCOUNT}:{path}/{name}"),
            function: function.to_owned(),
            expression: expression.to_owned(),
            enabled: !is("Enabled", "false") && !is("State", "DISABLED"),
            role: properties["RoleArn"].as_str().map(str::to_owned),
            dead_letter: properties["DeadLetterConfig"]["Arn"].as_str().map(str::to_owned),
            input,
            source,
        })
    }

    /// Reads an `AWS::Scheduler::Schedule`. Its target has the properties that `ScheduleV2` has beside
    /// the others.
    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-scheduler-schedule.html>
    pub(super) fn of_resource(name: &str, properties: &Value) -> anyhow::Result<Self> {
        let mut flat = properties.as_object().cloned().unwrap_or_default();
        let target = flat.remove("Target").context("a schedule has no Target")?;
        known(&target, TARGET).context("the target of a schedule")?;
        let arn = target["Arn"].as_str().unwrap_or_default();
        let Some((_, function)) = arn.split_once(":function:") else {
            bail!("the target of a schedule is {arn:?}, which is no function");
        };
        for (of, required) in [("RoleArn", &target), ("FlexibleTimeWindow", properties)] {
            required.get(of).with_context(|| format!("a schedule has no {of}"))?;
        }
        flat.extend(
            target.as_object().into_iter().flatten().map(|(of, it)| (of.clone(), it.clone())),
        );
        flat.remove("Arn");
        flat.entry("Name").or_insert_with(|| name.into());
        Self::read(function, name, true, &flat.into())
    }

    /// The input of the function.
    fn event(&self, id: &str, time: &str) -> Value {
        if let Some(input) = &self.input {
            return input.clone();
        }
        let (source, detail) = &self.source;
        json!({
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": source,
            "account": ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": [self.arn],
            "detail": detail,
        })
    }
}

/// `rate(5 minutes)`, `cron(…)` with six fields, or in Scheduler `at(…)`; a unit of one
/// is [in the singular][1].
///
/// [1]: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
fn is_expression(text: &str, is_scheduler: bool) -> bool {
    let inner = text.strip_suffix(')').and_then(|text| text.split_once('('));
    let Some((kind, inner)) = inner else { return false };
    match (kind, inner.split_whitespace().collect::<Vec<_>>().as_slice()) {
        ("rate", [count, unit]) => match count.parse::<u32>() {
            Ok(1) if !is_scheduler => ["minute", "hour", "day"].contains(unit),
            Ok(2..) if !is_scheduler => ["minutes", "hours", "days"].contains(unit),
            Ok(1..) => ["minute", "hour", "day"].contains(&unit.trim_end_matches('s')),
            _ => false,
        },
        ("cron", fields) => fields.len() == 6,
        ("at", [_]) => is_scheduler,
        _ => false,
    }
}

impl LocalAws {
    /// Runs a function as each of its schedules that is switched on does when it is due:
    /// asynchronously. None is an error, and so is a role that may not invoke the function. The
    /// event of a function that is gone waits for its way to the dead-letter queue of Scheduler.
    pub fn fire_schedules(&self, function: &str) -> anyhow::Result<()> {
        let (schedules, time) = {
            let state = self.state();
            let is_due = |schedule: &&Schedule| schedule.function == function && schedule.enabled;
            let schedules: Vec<Schedule> = state.schedules.iter().filter(is_due).cloned().collect();
            (schedules, timestamp(state.now()))
        };
        if schedules.is_empty() {
            bail!("{function} has no schedule that is switched on");
        }
        for schedule in schedules {
            let event = schedule.event(&self.next_request(), &time);
            let role = schedule.role.as_deref();
            if role.is_some_and(|role| !self.schedule_may_invoke(role, function)) {
                bail!("the role of {} may not invoke {function}", schedule.arn);
            }
            let invoked = self.lambda().invoke_async(function, event.clone());
            match (invoked, role, &schedule.dead_letter) {
                (Err(_), Some(role), Some(queue)) => {
                    self.state().undelivered_events.push(UndeliveredEvent {
                        sender: schedule_session(role),
                        source: schedule.arn.clone(),
                        target: local_arn("lambda", &format!("function:{function}")),
                        queue: queue.clone(),
                        body: event.to_string(),
                    });
                }
                (invoked, ..) => drop(invoked?),
            }
        }
        Ok(())
    }
}
