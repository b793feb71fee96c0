//! The deployed stacks, and the operations of CloudFormation that describe them.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStacks.html>

use std::collections::BTreeMap;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::Value;

use super::events::StackEvent;
use crate::State;
use crate::ecr::Time;
use crate::query::{Input, element};

/// The most resources of a page. AWS does not document the number; this one is small so that tests read
/// several pages.
const PAGE: usize = 20;

/// A stack that is deployed or being deployed.
#[derive(Clone, Debug)]
pub struct DeployedStack {
    /// The name.
    pub name: String,
    /// The ARN.
    pub id: String,
    /// The status, such as `CREATE_COMPLETE`.
    pub status: String,
    /// The time at which the deployment began.
    pub created_at: Time,
    /// The resources that exist, in order.
    pub resources: Vec<DeployedResource>,
    /// The values of the parameters.
    pub parameters: BTreeMap<String, String>,
    /// The outputs, once the stack is complete.
    pub outputs: BTreeMap<String, String>,
    /// The events of the stack and its resources, the oldest first.
    pub events: Vec<StackEvent>,
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub struct DeployedResource {
    /// The logical ID.
    pub id: String,
    /// The type, such as `AWS::IAM::Role`.
    pub kind: String,
    /// The physical ID, which is the value of a `Ref`.
    pub physical_id: String,
    /// The properties that the resource was created or updated with.
    pub properties: Value,
}

/// The status, the code and the message of an error.
pub(super) type Refused = (u16, &'static str, String);

/// `DescribeStacks`: the stack with this name or ARN, or all stacks.
pub fn describe(state: &State, input: &Input) -> Result<String, Refused> {
    let asked = input.get("StackName").map(String::as_str).filter(|asked| !asked.is_empty());
    let found: Vec<&DeployedStack> = match asked {
        Some(asked) => state.stacks.iter().filter(|stack| is_stack(stack, asked)).collect(),
        None => state.stacks.iter().collect(),
    };
    let stacks: String = match asked {
        Some(asked) if found.is_empty() => {
            return Err(refused(format!("Stack with id {asked} does not exist")));
        }
        _ => found.into_iter().map(|stack| stack.described().as_member()).collect(),
    };
    Ok(format!("<Stacks>{stacks}</Stacks>"))
}

/// `DescribeStackResource`: the physical ID of a resource.
pub fn describe_resource(state: &State, input: &Input) -> Result<String, Refused> {
    let given = |name: &str| input.get(name).map_or("", String::as_str);
    let (asked, id) = (given("StackName"), given("LogicalResourceId"));
    let stack = state.stacks.iter().find(|stack| is_stack(stack, asked));
    let stack = stack.ok_or_else(|| refused(format!("Stack '{asked}' does not exist")))?;
    let resource = stack.resources.iter().find(|resource| resource.id == id);
    let resource = resource
        .ok_or_else(|| refused(format!("Resource {id} does not exist for stack {}", stack.name)))?;
    let detail = [
        element("StackName", &stack.name),
        element("StackId", &stack.id),
        element("LogicalResourceId", &resource.id),
        element("PhysicalResourceId", &resource.physical_id),
        element("ResourceType", &transformed(&resource.kind)),
        element("LastUpdatedTimestamp", &written(stack.created_at)),
        element("ResourceStatus", "CREATE_COMPLETE"),
    ];
    Ok(format!("<StackResourceDetail>{}</StackResourceDetail>", detail.concat()))
}

/// `ListStackResources`: the resources of a stack, in pages.
pub fn list_resources(state: &State, input: &Input) -> Result<String, Refused> {
    let given = |name: &str| input.get(name).map_or("", String::as_str);
    let asked = given("StackName");
    let stack = state.stacks.iter().find(|stack| is_stack(stack, asked));
    let stack = stack.ok_or_else(|| refused(format!("Stack with id {asked} does not exist")))?;
    let from: usize = match given("NextToken") {
        "" => 0,
        token => token.parse().map_err(|_| refused("NextToken is not valid".to_owned()))?,
    };
    let rest = stack.resources.get(from..).unwrap_or_default();
    let summary = |resource: &DeployedResource| {
        let parts = [
            element("LogicalResourceId", &resource.id),
            element("PhysicalResourceId", &resource.physical_id),
            element("ResourceType", &transformed(&resource.kind)),
            element("LastUpdatedTimestamp", &written(stack.created_at)),
            element("ResourceStatus", "CREATE_COMPLETE"),
        ];
        parts.concat().as_member()
    };
    let summaries: String = rest.iter().take(PAGE).map(summary).collect();
    let token = (rest.len() > PAGE).then(|| element("NextToken", &(from + PAGE).to_string()));
    Ok(format!(
        "<StackResourceSummaries>{summaries}</StackResourceSummaries>{}",
        token.unwrap_or_default()
    ))
}

/// The type of a resource after the transform of SAM.
fn transformed(kind: &str) -> String {
    kind.replace("AWS::Serverless::Function", "AWS::Lambda::Function")
}

/// Whether the name or the ARN belongs to this stack.
pub(super) fn is_stack(stack: &DeployedStack, asked: &str) -> bool {
    stack.name == asked || stack.id == asked
}

impl DeployedStack {
    /// A stack without resources.
    pub(super) fn new(name: &str, id: &str, created_at: Time) -> Self {
        Self {
            name: name.to_owned(),
            id: id.to_owned(),
            status: String::new(),
            created_at,
            resources: Vec::new(),
            parameters: BTreeMap::new(),
            outputs: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    fn described(&self) -> String {
        let members = |values: &BTreeMap<String, String>, kind: &str| -> String {
            let member = |(name, value): (&String, &String)| {
                let key = element(&format!("{kind}Key"), name);
                [key, element(&format!("{kind}Value"), value)].concat().as_member()
            };
            values.iter().map(member).collect()
        };
        let parts = [
            element("StackName", &self.name),
            element("StackId", &self.id),
            element("CreationTime", &written(self.created_at)),
            element("StackStatus", &self.status),
            format!("<Parameters>{}</Parameters>", members(&self.parameters, "Parameter")),
            format!("<Outputs>{}</Outputs>", members(&self.outputs, "Output")),
        ];
        parts.concat()
    }
}

trait AsMember {
    /// The XML of this value as a member of a list.
    fn as_member(&self) -> String;
}

impl AsMember for String {
    fn as_member(&self) -> String {
        format!("<member>{self}</member>")
    }
}

pub(super) fn written(time: Time) -> String {
    DateTime::from_secs_f64(time).fmt(Format::DateTime).unwrap_or_default()
}

pub(super) fn refused(message: String) -> Refused {
    (400, "ValidationError", message)
}
