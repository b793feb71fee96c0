//! Evaluates the functions and the conditions of a template, and finds the dependencies of resources.

use serde_json::{Map, Value};

use super::read::function;
use super::{Result, Stack, as_cloudformation_sends, err};

/// A part of the text of `Fn::Sub`.
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

impl<'t> Stack<'t> {
    /// The value with its functions evaluated; `None` for `AWS::NoValue`, which the list or
    /// the map around it then goes without.
    pub(super) fn evaluate(&self, value: &Value) -> Result<Option<Value>> {
        if let Some((name, argument)) = function(value) {
            return self.call(name, argument).map_err(|error| error.within(name));
        }
        Ok(Some(match value {
            Value::Array(values) => {
                let mut evaluated = Vec::new();
                for (nth, value) in values.iter().enumerate() {
                    evaluated.extend(self.evaluate(value).map_err(|error| error.within(nth))?);
                }
                evaluated.into()
            }
            Value::Object(object) => {
                let mut evaluated = Map::new();
                for (name, value) in object {
                    let value = self.evaluate(value).map_err(|error| error.within(name))?;
                    evaluated.extend(value.map(|value| (name.clone(), value)));
                }
                evaluated.into()
            }
            scalar => scalar.clone(),
        }))
    }

    fn call(&self, name: &str, argument: &Value) -> Result<Option<Value>> {
        match name {
            "Ref" => self.reference(string(argument)?),
            "Fn::GetAtt" => {
                let [id, attribute] = arguments(argument)?;
                self.attribute(string(id)?, string(attribute)?).map(Some)
            }
            "Fn::FindInMap" => {
                let [map, key, name] = arguments(argument)?;
                let path = [self.map_key(map)?, self.map_key(key)?, self.map_key(name)?];
                self.mapped(&path).map(Some)
            }
            "Fn::If" => self.evaluate(self.chosen(argument)?),
            "Fn::Sub" => self.substituted(argument).map(|text| Some(text.into())),
            "Fn::Join" => {
                let [delimiter, list] = arguments(argument)?;
                let texts: Vec<String> =
                    self.list(list)?.iter().map(scalar).collect::<Result<_>>()?;
                Ok(Some(texts.join(string(delimiter)?).into()))
            }
            "Fn::Split" => {
                let [delimiter, source] = arguments(argument)?;
                let source = self.text(source)?;
                Ok(Some(source.split(string(delimiter)?).collect()))
            }
            "Fn::Select" => {
                let [nth, list] = arguments(argument)?;
                let (nth, list) = (self.text(nth)?, self.list(list)?);
                let selected = nth.parse().ok().and_then(|nth: usize| list.into_iter().nth(nth));
                selected.map_or_else(
                    || err(format!("there is no element {nth}")),
                    |element| Ok(Some(element)),
                )
            }
            "Fn::Transform" => err(format!("a macro that is not applied: {argument}")),
            other => err(format!("{other} is for conditions")),
        }
    }

    fn reference(&self, name: &str) -> Result<Option<Value>> {
        let pseudo = match name {
            "AWS::NoValue" => return Ok(None),
            "AWS::AccountId" => self.identity.account.as_str(),
            "AWS::Region" => &self.identity.region,
            "AWS::StackName" => &self.identity.name,
            "AWS::StackId" => &self.identity.id,
            "AWS::Partition" => "aws",
            "AWS::URLSuffix" => "amazonaws.com",
            name => {
                return match (self.parameters.get(name), self.made.get(name)) {
                    (Some(value), _) => Ok(Some(value.clone())),
                    (None, Some(made)) => Ok(Some(made.physical_id.as_str().into())),
                    (None, None) => err(self.why_not(name)),
                };
            }
        };
        Ok(Some(pseudo.into()))
    }

    fn attribute(&self, id: &str, attribute: &str) -> Result<Value> {
        let Some(made) = self.made.get(id) else { return err(self.why_not(id)) };
        let found = made.attributes.get(attribute).cloned();
        found.map_or_else(|| err(format!("{id} has no attribute {attribute}")), Ok)
    }

    /// The name of a mapping or a key in one. Mappings are looked up before anything is made,
    /// so that [only parameters and other mappings][1] can say which.
    ///
    /// [1]: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-findinmap.html
    fn map_key(&self, value: &Value) -> Result<String> {
        match function(value) {
            Some(("Ref", Value::String(name))) if self.template.resources.contains_key(name) => {
                err(format!("{name} is a resource, and those are made later"))
            }
            None | Some(("Ref" | "Fn::FindInMap", _)) => self.text(value),
            Some((name, _)) => err(format!("{name} gives no key of a mapping")),
        }
    }

    fn mapped(&self, [map, key, name]: &[String; 3]) -> Result<Value> {
        let Some(mapping) = self.template.mappings.get(map) else {
            return err(format!("there is no mapping {map}"));
        };
        let found = mapping.get(key).and_then(|values| values.get(name)).cloned();
        found.map_or_else(|| err(format!("{map} has no {name} of {key}")), Ok)
    }

    fn why_not(&self, name: &str) -> String {
        if self.template.resources.contains_key(name) {
            format!("{name} is not made yet")
        } else {
            format!("nothing is called {name}")
        }
    }

    fn chosen<'a>(&self, argument: &'a Value) -> Result<&'a Value> {
        let [condition, then, otherwise] = arguments(argument)?;
        Ok(if self.condition(condition)? { then } else { otherwise })
    }

    fn substituted(&self, argument: &Value) -> Result<String> {
        let (text, own) = substitution(argument)?;
        let mut substituted = String::new();
        for piece in pieces(text)? {
            let name = match piece {
                Piece::Text(text) => {
                    substituted += text;
                    continue;
                }
                Piece::Name(name) => name,
            };
            let value = match (own.and_then(|own| own.get(name)), name.split_once('.')) {
                (Some(value), _) => self.evaluate(value),
                (None, Some((id, attribute))) => self.attribute(id, attribute).map(Some),
                (None, None) => self.reference(name),
            };
            let text = value.and_then(|value| scalar(&value.unwrap_or_default()));
            substituted += &text.map_err(|error| error.within(name))?;
        }
        Ok(substituted)
    }

    fn list(&self, value: &Value) -> Result<Vec<Value>> {
        match self.evaluate(value)? {
            Some(Value::Array(values)) => Ok(values),
            other => err(format!("expected a list, not {}", other.unwrap_or_default())),
        }
    }

    /// A value as a text. Numbers and booleans are texts too.
    pub(super) fn text(&self, value: &Value) -> Result<String> {
        scalar(&self.evaluate(value)?.unwrap_or_default())
    }

    /// Evaluates the conditions of the template in the order of their dependencies.
    pub(super) fn decide_conditions(&mut self) -> Result<()> {
        let declared = &self.template.conditions;
        let all: Vec<&'t str> = declared.keys().map(String::as_str).collect();
        let conditions = |name| {
            let mut found = Vec::new();
            if let Some(condition) = declared.get(name) {
                conditions_in(condition, &mut found);
            }
            found.retain(|name| declared.contains_key(*name));
            Ok(found)
        };
        for name in ordered(&all, conditions)? {
            let Some(condition) = declared.get(name) else { continue };
            let holds = self.holds(condition);
            let holds = holds.map_err(|error| error.within(name).within("Conditions"))?;
            self.conditions.insert(name, holds);
        }
        Ok(())
    }

    /// Whether the condition of this name holds.
    pub(super) fn condition(&self, name: &Value) -> Result<bool> {
        let name = string(name)?;
        let found = self.conditions.get(name).copied();
        found.map_or_else(|| err(format!("there is no condition {name}")), Ok)
    }

    /// Whether a condition holds.
    pub(super) fn holds(&self, value: &Value) -> Result<bool> {
        if let Some(name) = condition_name(value) {
            return self.condition(name);
        }
        let Some((name, argument)) = function(value) else {
            return err(format!("not a condition: {value}"));
        };
        let each = || match argument.as_array() {
            Some(each) if each.len() >= 2 => {
                each.iter().map(|condition| self.holds(condition)).collect()
            }
            _ => err("expected two conditions at least"),
        };
        let holds = match name {
            "Fn::Equals" => arguments(argument).and_then(|[left, right]| {
                let [left, right] = [self.evaluate(left)?, self.evaluate(right)?];
                Ok(left.map(as_cloudformation_sends) == right.map(as_cloudformation_sends))
            }),
            "Fn::Not" => arguments(argument).and_then(|[not]| Ok(!self.holds(not)?)),
            "Fn::And" => each().map(|each: Vec<bool>| !each.contains(&false)),
            "Fn::Or" => each().map(|each: Vec<bool>| each.contains(&true)),
            _ => err("it gives no condition"),
        };
        holds.map_err(|error| error.within(name))
    }

    /// The resources that must be created before this one.
    pub(super) fn needed_by(&self, id: &str) -> Result<Vec<&'t str>> {
        let resource = self.resource(id)?;
        let mut needed = Vec::new();
        if let Some(properties) = resource.get("Properties") {
            let named = self.name_needed(properties, &mut needed);
            named.map_err(|error| error.within("Properties"))?;
        }
        let explicit = match resource.get("DependsOn") {
            Some(Value::Array(ids)) => ids.as_slice(),
            Some(id) => std::slice::from_ref(id),
            None => &[],
        };
        for id in explicit {
            let id = string(id).and_then(|id| self.resource(id).map(|_| id));
            needed.push(id.map_err(|error| error.within("DependsOn"))?);
        }
        Ok(needed)
    }

    /// Adds the resources to which a value refers, without the branch that `Fn::If` does not choose.
    fn name_needed(&self, value: &'t Value, needed: &mut Vec<&'t str>) -> Result<()> {
        let mut name = |name: &'t str| {
            if self.template.resources.contains_key(name) {
                needed.push(name);
            } else if !self.parameters.contains_key(name) && !name.starts_with("AWS::") {
                return err(self.why_not(name));
            }
            Ok(())
        };
        match function(value) {
            Some(("Ref", argument)) => string(argument).and_then(name),
            Some(("Fn::GetAtt", argument)) => {
                arguments(argument).and_then(|[id, _]| string(id)).and_then(name)
            }
            Some(("Fn::If", argument)) => self.name_needed(self.chosen(argument)?, needed),
            Some(("Fn::Sub", argument)) => {
                let (text, own) = substitution(argument)?;
                for piece in pieces(text)? {
                    if let Piece::Name(named) = piece
                        && own.is_none_or(|own| !own.contains_key(named))
                    {
                        name(named.split_once('.').map_or(named, |(id, _)| id))?;
                    }
                }
                let mut own = own.into_iter().flat_map(Map::values);
                own.try_for_each(|value| self.name_needed(value, needed))
            }
            _ => match value {
                Value::Array(values) => values.iter().enumerate().try_for_each(|(nth, value)| {
                    self.name_needed(value, needed).map_err(|error| error.within(nth))
                }),
                Value::Object(object) => object.iter().try_for_each(|(name, value)| {
                    self.name_needed(value, needed).map_err(|error| error.within(name))
                }),
                _ => Ok(()),
            },
        }
    }
}

/// The names, each after those it depends on. A cycle is an error that names it.
pub(super) fn ordered<'a>(
    names: &[&'a str],
    dependencies: impl Fn(&'a str) -> Result<Vec<&'a str>>,
) -> Result<Vec<&'a str>> {
    fn visit<'a>(
        name: &'a str,
        dependencies: &impl Fn(&'a str) -> Result<Vec<&'a str>>,
        path: &mut Vec<&'a str>,
        done: &mut Vec<&'a str>,
    ) -> Result<()> {
        if done.contains(&name) {
            return Ok(());
        }
        let again = path.contains(&name);
        path.push(name);
        if again {
            let cycle: Vec<&str> =
                path.iter().copied().skip_while(|earlier| *earlier != name).collect();
            return err(format!("circular dependency: {}", cycle.join(" -> ")));
        }
        for dependency in dependencies(name)? {
            visit(dependency, dependencies, path, done)?;
        }
        path.pop();
        done.push(name);
        Ok(())
    }
    let mut done = Vec::new();
    for name in names {
        visit(name, &dependencies, &mut Vec::new(), &mut done)?;
    }
    Ok(done)
}

fn condition_name(value: &Value) -> Option<&Value> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get("Condition")
}

fn conditions_in<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match (condition_name(value), value) {
        (Some(name), _) => found.extend(name.as_str()),
        (None, Value::Array(values)) => {
            for value in values {
                conditions_in(value, found);
            }
        }
        (None, Value::Object(object)) => {
            for value in object.values() {
                conditions_in(value, found);
            }
        }
        _ => {}
    }
}

/// The text of `Fn::Sub`, and its own values where it has some.
fn substitution(argument: &Value) -> Result<(&str, Option<&Map<String, Value>>)> {
    if let Value::String(text) = argument {
        return Ok((text, None));
    }
    match arguments(argument)? {
        [Value::String(text), Value::Object(own)] => Ok((text, Some(own))),
        _ => err("expected a text, or a list of a text and a map"),
    }
}

/// `${Name}` is a name, and `${!Name}` is the text `${Name}`.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        pieces.push(Piece::Text(before));
        rest = match after.strip_prefix('!') {
            Some(literal) => {
                pieces.push(Piece::Text("${"));
                literal
            }
            None => match after.split_once('}') {
                Some((name, after)) => {
                    pieces.push(Piece::Name(name));
                    after
                }
                None => return err("a ${ without its }"),
            },
        };
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn string(value: &Value) -> Result<&str> {
    value.as_str().map_or_else(|| err(format!("expected a string, not {value}")), Ok)
}

fn arguments<const N: usize>(value: &Value) -> Result<&[Value; N]> {
    let found = value.as_array().and_then(|values| values.as_slice().try_into().ok());
    found.map_or_else(|| err(format!("expected a list of {N}, not {value}")), Ok)
}

fn scalar(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => err(format!("expected a text, not {other}")),
    }
}
