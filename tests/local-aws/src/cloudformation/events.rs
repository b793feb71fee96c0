//! The events of a stack: what CloudFormation does with the stack and with each resource.
//!
//! Validated: the fields of an event, the reverse chronological order and the pages
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html>,
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_StackEvent.html>), the
//! order of the events of a stack and a resource
//! (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-monitor-stack.html>).
//!
//! Guesses: a page has 100 events; the event of a deletion carries no properties; the properties
//! of an event are written as in the request to a custom resource.

use serde_json::Value;

use super::stacks::{DeployedStack, Refused, is_stack, refused, written};
use crate::State;
use crate::ecr::Time;
use crate::query::{Input, element};

/// The most events of a page.
const PAGE: usize = 100;
/// The type of the events about the stack itself.
const STACK: &str = "AWS::CloudFormation::Stack";

/// An event of a stack or of a resource in the stack.
#[derive(Clone, Debug)]
pub struct StackEvent {
    /// The resource's name in the template; the stack's name in an event about the stack.
    pub logical_id: String,
    /// The value of a `Ref`; empty while the resource is being created.
    pub physical_id: String,
    /// The resource's type.
    pub kind: String,
    /// Such as `UPDATE_IN_PROGRESS`.
    pub status: String,
    /// The properties that CloudFormation creates or updates the resource with.
    pub properties: Option<Value>,
    /// The time of the event.
    pub at: Time,
}

impl State {
    /// Begins a stack that has no resources yet.
    pub fn begin_stack(&mut self, name: &str, id: &str, status: &str) {
        let stack = DeployedStack::new(name, id, self.now());
        self.stacks.retain(|before| before.id != id);
        self.stacks.push(stack);
        self.set_stack_status(id, status);
    }

    /// Sets the status of a stack and records the event about the stack.
    pub fn set_stack_status(&mut self, id: &str, status: &str) {
        let at = self.now();
        let stack = self.stack(id);
        status.clone_into(&mut stack.status);
        let event = StackEvent {
            logical_id: stack.name.clone(),
            physical_id: stack.id.clone(),
            kind: STACK.to_owned(),
            status: status.to_owned(),
            properties: None,
            at,
        };
        stack.events.push(event);
    }

    /// Records the event that CloudFormation records before it sends a request to a custom
    /// resource.
    pub fn record_request(&mut self, request: &Value) {
        self.record_event(request, "IN_PROGRESS", &request["PhysicalResourceId"]);
    }

    /// Records the events of the end of a request. `answer` is none if nobody answered.
    pub fn record_answer(&mut self, request: &Value, answer: Option<&Value>) {
        let is_success = answer.is_some_and(|answer| answer["Status"] == "SUCCESS");
        let physical_id = &answer.unwrap_or(request)["PhysicalResourceId"];
        if is_success && request["RequestType"] == "Create" {
            // The event 'Resource creation Initiated'.
            self.record_event(request, "IN_PROGRESS", physical_id);
        }
        let status = if is_success { "COMPLETE" } else { "FAILED" };
        self.record_event(request, status, physical_id);
    }

    fn record_event(&mut self, request: &Value, status: &str, physical_id: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let operation = text(&request["RequestType"]).to_uppercase();
        let properties = &request["ResourceProperties"];
        let event = StackEvent {
            logical_id: text(&request["LogicalResourceId"]),
            physical_id: text(physical_id),
            kind: text(&request["ResourceType"]),
            status: format!("{operation}_{status}"),
            properties: (operation != "DELETE").then(|| properties.clone()),
            at: self.now(),
        };
        self.stack(&text(&request["StackId"])).events.push(event);
    }

    fn stack(&mut self, id: &str) -> &mut DeployedStack {
        let stack = self.stacks.iter_mut().find(|stack| stack.id == id);
        stack.unwrap_or_else(|| panic!("there is no stack {id}"))
    }
}

/// `DescribeStackEvents`: the events of one stack, the newest first.
pub fn describe(state: &State, input: &Input) -> Result<String, Refused> {
    let given = |name: &str| input.get(name).map_or("", String::as_str);
    let asked = given("StackName");
    let stack = state.stacks.iter().find(|stack| is_stack(stack, asked));
    let stack = stack.ok_or_else(|| refused(format!("Stack [{asked}] does not exist")))?;
    // A token counts the events that are older than its page, so new events move no page.
    let older = match given("NextToken") {
        "" => stack.events.len(),
        token => token.parse().map_err(|_| refused("NextToken is not valid".to_owned()))?,
    };
    let from = older.saturating_sub(PAGE);
    let page = stack.events.get(from..older).unwrap_or_default();
    let numbered = page.iter().enumerate().rev();
    let members: String =
        numbered.map(|(number, event)| event.described(stack, from + number)).collect();
    let next = if from == 0 { String::new() } else { element("NextToken", &from.to_string()) };
    Ok(format!("<StackEvents>{members}</StackEvents>{next}"))
}

impl StackEvent {
    fn described(&self, stack: &DeployedStack, number: usize) -> String {
        let properties = self.properties.as_ref().map(Value::to_string);
        let fields = [
            element("StackId", &stack.id),
            element("StackName", &stack.name),
            element("EventId", &format!("{}-{number}", self.logical_id)),
            element("LogicalResourceId", &self.logical_id),
            element("PhysicalResourceId", &self.physical_id),
            element("ResourceType", &self.kind),
            element("ResourceStatus", &self.status),
            element("Timestamp", &written(self.at)),
            properties.map(|text| element("ResourceProperties", &text)).unwrap_or_default(),
        ];
        format!("<member>{}</member>", fields.concat())
    }
}
