//! The grammar of lifecycle policies:
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ecr::{Error, model, text, words};

/// Checks a policy as ECR does.
pub fn validate(policy: &str) -> Result<(), Error> {
    check(policy).map_err(|reason| {
        let constraint = format!("Lifecycle policy validation failure: {reason}");
        model::unsatisfied("LifecyclePolicyText", &constraint)
    })
}

fn check(policy: &str) -> Result<(), String> {
    let document: Value = serde_json::from_str(policy).map_err(|error| error.to_string())?;
    known(&document, &["rules"])?;
    let rules = document["rules"].as_array().ok_or("rules is not a list")?;
    if !(100..=30_720).contains(&policy.chars().count()) || !(1..=50).contains(&rules.len()) {
        return Err("expected 100 to 30720 characters and 1 to 50 rules".to_owned());
    }
    let mut priorities = BTreeSet::new();
    let mut untagged = BTreeSet::new();
    let mut prefix_lists = BTreeSet::new();
    // The priorities of each storage class, and of its rules for any image.
    let mut evaluated = BTreeSet::new();
    let mut any = Vec::new();
    for rule in rules {
        known(rule, &["rulePriority", "description", "selection", "action"])?;
        let priority = rule["rulePriority"].as_u64().filter(|priority| *priority > 0);
        let priority = priority.ok_or("rulePriority is not a positive integer")?;
        if !(rule["description"].is_null() || rule["description"].is_string()) {
            return Err("description is not text".to_owned());
        }
        if !priorities.insert(priority) {
            return Err(format!("rulePriority {priority} stands twice"));
        }
        let selection = &rule["selection"];
        let class = match &selection["storageClass"] {
            Value::Null => "standard",
            class => class.as_str().ok_or("storageClass is not text")?,
        };
        evaluated.insert((class, priority));
        let prefixes = words(&selection["tagPrefixList"]);
        let again = !prefixes.is_empty() && !prefix_lists.insert((class, prefixes));
        match tag_status(selection)? {
            "untagged" if !untagged.insert(class.to_owned()) => {
                return Err(format!("a second rule for untagged images of class {class}"));
            }
            "tagged" if again => {
                return Err(format!("a second rule for the same prefixes of class {class}"));
            }
            "any" => any.push((class, priority)),
            _ => {}
        }
        counting(selection, class, &rule["action"])?;
    }
    let is_last = |(class, priority): &(&str, u64)| {
        !evaluated.iter().any(|(of, other)| of == class && other > priority)
    };
    if any.iter().all(is_last) {
        Ok(())
    } else {
        Err("a rule for any tagStatus has to be evaluated last".to_owned())
    }
}

/// The tag status, which decides whether there is a list of patterns or prefixes.
fn tag_status(selection: &Value) -> Result<&str, String> {
    known(
        selection,
        &[
            "tagStatus",
            "tagPatternList",
            "tagPrefixList",
            "storageClass",
            "countType",
            "countUnit",
            "countNumber",
        ],
    )?;
    let lists = ["tagPatternList", "tagPrefixList"].map(|name| &selection[name]);
    let given: Vec<&Value> = lists.into_iter().filter(|list| !list.is_null()).collect();
    let status = text(selection, "tagStatus");
    match (status, given.as_slice()) {
        ("untagged" | "any", []) => Ok(status),
        ("tagged", [list]) => {
            let entries = list.as_array().filter(|list| !list.is_empty());
            for entry in entries.ok_or("the list of tags is empty")? {
                let entry = entry.as_str().filter(|entry| !entry.is_empty());
                let entry = entry.ok_or("a tag in a list is not text")?;
                if *list == &selection["tagPatternList"] && entry.matches('*').count() > 4 {
                    return Err(format!("{entry} has more than four wildcards"));
                }
            }
            Ok(status)
        }
        ("tagged", _) => {
            Err("tagStatus tagged goes with one of tagPatternList and tagPrefixList".to_owned())
        }
        ("untagged" | "any", _) => Err(format!("tagStatus {status} goes with no list of tags")),
        _ => Err(format!("unknown tagStatus '{status}'")),
    }
}

/// Checks the count type and its unit, which depend on the storage class and the action.
fn counting(selection: &Value, class: &str, action: &Value) -> Result<(), String> {
    known(action, &["type", "targetStorageClass"])?;
    let number = selection["countNumber"].as_u64().filter(|number| *number > 0);
    let number = number.ok_or("countNumber is not a positive integer")?;
    let count_type = text(selection, "countType");
    let transition = match (text(action, "type"), action["targetStorageClass"].as_str()) {
        ("expire", None) => false,
        ("transition", Some("archive")) => true,
        _ => return Err("the action is neither expire nor transition to archive".to_owned()),
    };
    match (count_type, class) {
        ("imageCountMoreThan", "standard") if selection["countUnit"].is_null() => return Ok(()),
        ("sinceImagePushed", "standard") => {}
        ("sinceImagePulled", "standard") if transition => {}
        ("sinceImageTransitioned", "archive") if !transition && number >= 90 => {}
        _ => return Err(format!("countType '{count_type}' does not go with the rest of its rule")),
    }
    match &selection["countUnit"] {
        Value::String(unit) if unit == "days" => Ok(()),
        _ => Err("countUnit is not days".to_owned()),
    }
}

fn known(object: &Value, names: &[&str]) -> Result<(), String> {
    let object = object.as_object().ok_or("expected an object")?;
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown property {key}")),
        None => Ok(()),
    }
}
