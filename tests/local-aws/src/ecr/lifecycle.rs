//! Lifecycle policies, by
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html>
//! and <https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html>.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Error, Image, error};

/// Whether ECR would take this text.
pub fn validate(text: &str) -> Result<(), Error> {
    check(text).map_err(|reason| {
        let message = format!(
            "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: \
             'Lifecycle policy validation failure: {reason}'"
        );
        error("InvalidParameterException", message)
    })
}

fn check(text: &str) -> Result<(), String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let rules = document["rules"].as_array().ok_or("no rules")?;
    if !(100..=30_720).contains(&text.len()) || !(1..=50).contains(&rules.len()) {
        return Err("expected 100 to 30720 characters and 1 to 50 rules".to_owned());
    }
    let mut priorities = BTreeSet::new();
    let mut untagged = BTreeSet::new();
    let mut last_any = None;
    for rule in rules {
        let priority = rule["rulePriority"].as_u64().ok_or("rulePriority is not a number")?;
        if !priorities.insert(priority) {
            return Err(format!("rulePriority {priority} stands twice"));
        }
        known(rule, &["rulePriority", "description", "selection", "action"])?;
        let selection = &rule["selection"];
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
        let lists = ["tagPatternList", "tagPrefixList"]
            .into_iter()
            .filter(|list| selection[*list].is_array())
            .count();
        let class = selection["storageClass"].as_str().unwrap_or("standard");
        let number = selection["countNumber"]
            .as_u64()
            .filter(|number| *number > 0)
            .ok_or("countNumber is not positive")?;
        match (selection["tagStatus"].as_str(), lists) {
            (Some("tagged"), 1) => {}
            (Some("untagged"), 0) if untagged.insert(class.to_owned()) => {}
            (Some("any"), 0) => last_any = last_any.max(Some(priority)),
            other => return Err(format!("tagStatus does not go with its lists: {other:?}")),
        }
        let days = selection["countUnit"] == "days";
        match (selection["countType"].as_str(), class) {
            (Some("imageCountMoreThan"), "standard") if selection["countUnit"].is_null() => {}
            (Some("sinceImagePushed"), "standard") if days => {}
            (Some("sinceImageTransitioned"), "archive") if days && number >= 90 => {}
            other => return Err(format!("countType does not go with the rest: {other:?}")),
        }
        if rule["action"]["type"] != "expire" {
            return Err("the action is not expire".to_owned());
        }
    }
    if last_any.is_some_and(|any| priorities.last() != Some(&any)) {
        return Err("a rule for any tagStatus has to be evaluated last".to_owned());
    }
    Ok(())
}

fn known(object: &Value, names: &[&str]) -> Result<(), String> {
    let object = object.as_object().ok_or("expected an object")?;
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown property {key}")),
        None => Ok(()),
    }
}

/// The images that the rules of a valid policy would expire now. Archived images are left
/// alone: how long they have been archived is not kept here.
#[must_use]
pub fn expiring<'i>(text: &str, images: &'i [Image]) -> Vec<&'i Image> {
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    let mut rules = document["rules"].as_array().cloned().unwrap_or_default();
    rules.sort_by_key(|rule| rule["rulePriority"].as_u64());
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut expiring = Vec::new();
    for rule in &rules {
        let selection = &rule["selection"];
        let number = selection["countNumber"].as_u64().unwrap_or(u64::MAX);
        let mut matching: Vec<&Image> = images
            .iter()
            .filter(|image| {
                !image.archived
                    && selects(selection, image)
                    && !taken.contains(image.digest.as_str())
            })
            .collect();
        matching.sort_by_key(|image| image.age_days);
        if selection["tagStatus"] != "any" {
            taken.extend(matching.iter().map(|image| image.digest.as_str()));
        }
        match selection["countType"].as_str() {
            Some("imageCountMoreThan") => {
                expiring.extend(
                    matching.into_iter().skip(usize::try_from(number).unwrap_or(usize::MAX)),
                );
            }
            Some("sinceImagePushed") => {
                expiring.extend(
                    matching.into_iter().filter(|image| u64::from(image.age_days) > number),
                );
            }
            _ => {}
        }
    }
    expiring
}

fn selects(selection: &Value, image: &Image) -> bool {
    // A list is AND: each of its entries has to match some tag.
    let all = |list: &str, matches: &dyn Fn(&str, &str) -> bool| {
        selection[list].as_array().is_none_or(|entries| {
            entries
                .iter()
                .filter_map(Value::as_str)
                .all(|entry| image.tags.iter().any(|tag| matches(entry, tag)))
        })
    };
    match selection["tagStatus"].as_str() {
        Some("untagged") => image.tags.is_empty(),
        Some("tagged") => {
            !image.tags.is_empty()
                && all("tagPrefixList", &|prefix, tag| tag.starts_with(prefix))
                && all("tagPatternList", &|pattern, tag| pattern == "*" || pattern == tag)
        }
        _ => true,
    }
}
