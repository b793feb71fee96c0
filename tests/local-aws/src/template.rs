//! Evaluates a template of AWS CloudFormation or SAM with given parameters.
//!
//! It creates no resources. A caller asks a [`Stack`] for the resources in order, creates each one
//! from its properties, and reports its ID and attributes ([`Stack::made`]), because later resources
//! refer to them. It knows the part of the language that the template of this project uses. Anything
//! else is an error with its place, because a test of a partly evaluated template proves nothing.
//!
//! Of the SAM transform it applies only `Globals`. An `AWS::Serverless::Function` stays one. A caller
//! inserts the files of the macro `AWS::Include` ([`Template::include`]).

mod evaluate;
mod include;
mod parameters;
mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// A template with the long forms of its functions and with `Globals` merged.
#[derive(Clone, Debug)]
pub struct Template {
    metadata: Map<String, Value>,
    parameters: Map<String, Value>,
    mappings: Map<String, Value>,
    rules: Map<String, Value>,
    conditions: Map<String, Value>,
    resources: Map<String, Value>,
    outputs: Map<String, Value>,
}

/// A mistake in a template or in its parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}{}{reason}", if at.is_empty() { "" } else { ": " })]
pub struct Error {
    reason: String,
    at: String,
}

type Result<T> = std::result::Result<T, Error>;

/// The pseudo parameters. The partition is always `aws`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `AWS::AccountId`, twelve digits.
    pub account: String,
    /// `AWS::Region`.
    pub region: String,
    /// `AWS::StackName`.
    pub name: String,
    /// `AWS::StackId`, an ARN.
    pub id: String,
}

/// A template with its parameters and the resources that were created so far.
#[derive(Clone, Debug)]
pub struct Stack<'t> {
    template: &'t Template,
    identity: Identity,
    parameters: BTreeMap<&'t str, Value>,
    conditions: BTreeMap<&'t str, bool>,
    made: BTreeMap<String, Made>,
}

#[derive(Clone, Debug)]
struct Made {
    physical_id: String,
    attributes: Map<String, Value>,
}

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), at: String::new() }
    }

    /// The same mistake, with the path of the outer level.
    fn within(self, step: impl std::fmt::Display) -> Self {
        let at = match self.at.as_str() {
            "" => step.to_string(),
            at => format!("{step}.{at}"),
        };
        Self { at, ..self }
    }
}

fn err<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::new(reason))
}

impl Template {
    /// Reads YAML, or JSON, which is YAML too. A null is an error, and so are a section, an
    /// attribute of a resource, a tag and a function that are not known.
    pub fn read(text: &str) -> Result<Self> {
        read::template(text)
    }

    /// Inserts the text of a file in place of each `Fn::Transform` with the macro `AWS::Include` that
    /// has this location.
    pub fn include(mut self, location: &str, text: &str) -> Result<Self> {
        let content = include::read(text).map_err(|error| error.within(location))?;
        for resource in self.resources.values_mut() {
            *resource = include::included(resource.take(), location, &content);
        }
        Ok(self)
    }

    /// Reads another YAML document with the tags of a template, such as a manifest.
    pub fn read_document(text: &str) -> Result<Value> {
        read::document(text)
    }

    /// The section `Metadata`.
    #[must_use]
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// The declaration of each parameter.
    #[must_use]
    pub fn declared_parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    /// The rules that parameters must follow.
    #[must_use]
    pub fn rules(&self) -> &Map<String, Value> {
        &self.rules
    }

    /// The conditions, as functions of parameters and of other conditions.
    #[must_use]
    pub fn conditions(&self) -> &Map<String, Value> {
        &self.conditions
    }

    /// The resources, with functions in place of what depends on parameters.
    #[must_use]
    pub fn resources(&self) -> &Map<String, Value> {
        &self.resources
    }

    /// The declaration of each output.
    #[must_use]
    pub fn declared_outputs(&self) -> &Map<String, Value> {
        &self.outputs
    }

    /// The named statements by the logical ID of their resource, whether or not their condition holds.
    #[must_use]
    pub fn statements(&self) -> BTreeSet<(String, String)> {
        fn collect(id: &str, value: &Value, found: &mut BTreeSet<(String, String)>) {
            match value {
                Value::Object(object) => {
                    if let Some(Value::String(sid)) = object.get("Sid") {
                        found.insert((id.to_owned(), sid.clone()));
                    }
                    object.values().for_each(|value| collect(id, value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| collect(id, value, found)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        self.resources.iter().for_each(|(id, resource)| collect(id, resource, &mut found));
        found
    }

    /// The actions in the policies of a role, whether or not their conditions hold.
    #[must_use]
    pub fn actions(&self, role: &str) -> BTreeSet<String> {
        fn collect(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(object) => {
                    for (name, value) in object {
                        match (name.as_str(), value) {
                            ("Action", Value::String(action)) => {
                                found.insert(action.clone());
                            }
                            ("Action", Value::Array(actions)) => found.extend(
                                actions.iter().filter_map(Value::as_str).map(str::to_owned),
                            ),
                            _ => collect(value, found),
                        }
                    }
                }
                Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        if let Some(role) = self.resources.get(role) {
            collect(&role["Properties"]["Policies"], &mut found);
        }
        found
    }
}

impl<'t> Stack<'t> {
    /// Checks the parameters as CloudFormation does, and the template's rules.
    pub fn new(
        template: &'t Template,
        identity: Identity,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let parameters = parameters::check(&template.parameters, parameters)?;
        let (conditions, made) = (BTreeMap::new(), BTreeMap::new());
        let mut stack = Self { template, identity, parameters, conditions, made };
        stack.decide_conditions()?;
        stack.check_rules()?;
        Ok(stack)
    }

    /// The logical IDs of the resources whose condition holds, each after those that it
    /// refers to or depends on. A cycle is an error that names it.
    pub fn resources(&self) -> Result<Vec<&'t str>> {
        let mut wanted = Vec::new();
        for (id, resource) in &self.template.resources {
            if self.is_wanted(resource).map_err(|error| error.within(id).within("Resources"))? {
                wanted.push(id.as_str());
            }
        }
        evaluate::ordered(&wanted, |id| {
            let needed =
                self.needed_by(id).map_err(|error| error.within(id).within("Resources"))?;
            match needed.iter().find(|needed| !wanted.contains(needed)) {
                Some(absent) => err(format!("{id} needs {absent}, whose condition does not hold")),
                None => Ok(needed),
            }
        })
    }

    /// The type of a resource, such as `AWS::IAM::Role`.
    pub fn resource_type(&self, id: &str) -> Result<&'t str> {
        match self.resource(id)?.get("Type") {
            Some(Value::String(kind)) => Ok(kind),
            _ => err(format!("{id} has no type")),
        }
    }

    /// The evaluated properties of a resource. The resources to which they refer must exist.
    pub fn properties(&self, id: &str) -> Result<Value> {
        let properties = match self.resource(id)?.get("Properties") {
            Some(properties) => self
                .evaluate(properties)
                .map_err(|error| error.within("Properties").within(id).within("Resources"))?,
            None => None,
        };
        Ok(properties.unwrap_or_else(|| Map::new().into()))
    }

    /// Records a created resource: the value of a `Ref`, and the values of `Fn::GetAtt`.
    pub fn made(&mut self, id: &str, physical_id: &str, attributes: Map<String, Value>) {
        let physical_id = physical_id.to_owned();
        self.made.insert(id.to_owned(), Made { physical_id, attributes });
    }

    /// The values of the parameters, as CloudFormation describes them: the elements of a list have commas
    /// between them.
    #[must_use]
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let value = |value: &Value| match value.as_array() {
            Some(elements) => elements.iter().map(text).collect::<Vec<_>>().join(","),
            None => text(value),
        };
        self.parameters.iter().map(|(name, given)| ((*name).to_owned(), value(given))).collect()
    }

    /// The outputs whose condition holds. The resources to which they refer must exist.
    pub fn outputs(&self) -> Result<BTreeMap<String, String>> {
        let mut outputs = BTreeMap::new();
        for (name, output) in &self.template.outputs {
            let value = || match (self.is_wanted(output)?, output.get("Value")) {
                (false, _) => Ok(None),
                (true, Some(value)) => {
                    self.text(value).map(Some).map_err(|error| error.within("Value"))
                }
                (true, None) => err("an output has a Value"),
            };
            if let Some(value) = value().map_err(|error| error.within(name).within("Outputs"))? {
                outputs.insert(name.clone(), value);
            }
        }
        Ok(outputs)
    }

    fn resource(&self, id: &str) -> Result<&'t Value> {
        let found = self.template.resources.get(id);
        found.map_or_else(|| err(format!("there is no resource {id}")), Ok)
    }

    /// Whether the condition holds that a resource or an output has, if it has one.
    fn is_wanted(&self, of: &Value) -> Result<bool> {
        of.get("Condition").map_or(Ok(true), |name| self.condition(name))
    }

    fn check_rules(&self) -> Result<()> {
        for (name, rule) in &self.template.rules {
            self.check_rule(rule).map_err(|error| error.within(name).within("Rules"))?;
        }
        Ok(())
    }

    fn check_rule(&self, rule: &Value) -> Result<()> {
        if let Some(condition) = rule.get("RuleCondition")
            && !self.holds(condition).map_err(|error| error.within("RuleCondition"))?
        {
            return Ok(());
        }
        let assertions = rule.get("Assertions").and_then(Value::as_array);
        for assertion in assertions.into_iter().flatten() {
            let Some(assert) = assertion.get("Assert") else { return err("expected an Assert") };
            if !self.holds(assert).map_err(|error| error.within("Assert"))? {
                let described = assertion.get("AssertDescription").and_then(Value::as_str);
                return err(described.unwrap_or("an assertion does not hold"));
            }
        }
        Ok(())
    }
}

/// The properties of a custom resource as its function receives them: every number and
/// every boolean has become a string on the way.
#[must_use]
pub fn as_cloudformation_sends(properties: Value) -> Value {
    match properties {
        Value::Bool(_) | Value::Number(_) => Value::String(properties.to_string()),
        Value::Array(values) => values.into_iter().map(as_cloudformation_sends).collect(),
        Value::Object(object) => {
            object.into_iter().map(|(name, value)| (name, as_cloudformation_sends(value))).collect()
        }
        Value::String(_) | Value::Null => properties,
    }
}
