//! The lifecycle policy that ECR Warden replaced, in resource tags of the repository.
//!
//! Tags need no right that the function of the custom resources does not have already, and they
//! stay with the repository after the stack is deleted. The tag [`COUNT_TAG`] has the number of
//! parts, and the tag `ecr-warden:replaced-lifecycle-01` the first part, in Base64. Everybody with
//! the right to tag the repository can change the parts, so only a person puts the policy back, with
//! `ecr-warden restore-lifecycle`, after reading the policy.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use serde_json::Value;
use warden_core::retention::short_hash;

/// The tag with the number of parts. 0 means that the repository had no lifecycle policy, and
/// `too-long` that the tags had no room for the policy.
pub const COUNT_TAG: &str = "ecr-warden:replaced-lifecycle";

/// The value of [`COUNT_TAG`] for a policy that the tags have no room for.
const TOO_LONG: &str = "too-long";
/// The most characters of a value of a tag of Amazon ECR.
const LONGEST_VALUE: usize = 256;
/// The most tags of a resource.
const MOST_TAGS: usize = 50;
/// The most parts: about 3,700 characters of a lifecycle policy. Other tags keep their place.
const MOST_PARTS: usize = 20;

/// A lifecycle policy that ECR Warden replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacedLifecycle {
    /// The repository had no lifecycle policy.
    NoPolicy,
    /// The text of the lifecycle policy.
    Policy(String),
}

/// Tags that do not hold a whole lifecycle policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tags {COUNT_TAG}… do not hold a whole lifecycle policy")]
pub struct IncompleteTags;

impl ReplacedLifecycle {
    /// The tags that hold the policy, beside the tags `others`. Without room for the policy, one tag
    /// says so.
    #[must_use]
    pub fn to_tags(&self, others: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let encoded = match self {
            Self::NoPolicy => String::new(),
            Self::Policy(text) => base64::encode(shorten(text)),
        };
        let parts = encoded.as_bytes().chunks(LONGEST_VALUE).map(String::from_utf8_lossy);
        let mut tags: BTreeMap<String, String> =
            (1..).zip(parts).map(|(number, part)| (part_tag(number), part.into_owned())).collect();
        let count = tags.len();
        tags.insert(COUNT_TAG.to_owned(), count.to_string());
        let kept = others.keys().filter(|key| !tags.contains_key(*key)).count();
        if count <= MOST_PARTS && kept + tags.len() <= MOST_TAGS {
            tags
        } else {
            BTreeMap::from([(COUNT_TAG.to_owned(), TOO_LONG.to_owned())])
        }
    }

    /// Reads the policy from the tags of a repository. None if the tags hold none, or had no room.
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Result<Option<Self>, IncompleteTags> {
        let Some(count) = tags.get(COUNT_TAG) else { return Ok(None) };
        if count == TOO_LONG {
            return Ok(None);
        }
        let count: usize = count.parse().map_err(|_| IncompleteTags)?;
        if count == 0 {
            return Ok(Some(Self::NoPolicy));
        }
        if count > MOST_PARTS {
            return Err(IncompleteTags);
        }
        let parts: Option<String> =
            (1..=count).map(|number| tags.get(&part_tag(number)).map(String::as_str)).collect();
        let bytes = base64::decode(parts.ok_or(IncompleteTags)?).map_err(|_| IncompleteTags)?;
        let text = String::from_utf8(bytes).map_err(|_| IncompleteTags)?;
        serde_json::from_str::<Value>(&text).map_err(|_| IncompleteTags)?;
        Ok(Some(Self::Policy(text)))
    }

    /// A hash of the policy. A person repeats the hash after reading the policy, because
    /// somebody else may change the tags in between.
    #[must_use]
    pub fn hash(&self) -> String {
        match self {
            Self::NoPolicy => short_hash(""),
            Self::Policy(text) => short_hash(text),
        }
    }
}

fn part_tag(number: usize) -> String {
    format!("{COUNT_TAG}-{number:02}")
}

/// The same JSON without white space between its parts.
fn shorten(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[(&str, &str)] = &[("team", "platform")];

    fn others() -> BTreeMap<String, String> {
        OTHERS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// A lifecycle policy with so many rules.
    fn policy(rules: usize) -> String {
        let rule = |priority: usize| {
            serde_json::json!({
                "rulePriority": priority, "description": format!("Rule “{priority}”, of the team"),
                "selection": {
                    "tagStatus": "tagged", "tagPrefixList": [format!("release-{priority}")],
                    "countType": "imageCountMoreThan", "countNumber": 10,
                },
                "action": {"type": "expire"},
            })
        };
        serde_json::json!({"rules": (1..=rules).map(rule).collect::<Vec<_>>()}).to_string()
    }

    #[test]
    fn a_policy_that_is_stored_in_tags_is_read_back() {
        for rules in [1, 2, 3, 10, 15] {
            let stored = ReplacedLifecycle::Policy(policy(rules));
            let tags = stored.to_tags(&others());
            assert!(tags.values().all(|value| value.len() <= LONGEST_VALUE));
            assert_eq!(ReplacedLifecycle::from_tags(&tags), Ok(Some(stored)), "{rules} rules");
        }
        let tags = ReplacedLifecycle::NoPolicy.to_tags(&others());
        assert_eq!(tags, BTreeMap::from([(COUNT_TAG.to_owned(), "0".to_owned())]));
        assert_eq!(ReplacedLifecycle::from_tags(&tags), Ok(Some(ReplacedLifecycle::NoPolicy)));
        assert_eq!(ReplacedLifecycle::from_tags(&others()), Ok(None));
    }

    #[test]
    fn ecr_accepts_each_character_of_the_tags() {
        // <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-using-tags.html>
        let is_accepted =
            |character: char| character.is_ascii_alphanumeric() || " +-=._:/@".contains(character);
        for (key, value) in ReplacedLifecycle::Policy(policy(10)).to_tags(&others()) {
            assert!(key.chars().chain(value.chars()).all(is_accepted), "{key}={value}");
        }
    }

    #[test]
    fn a_policy_that_does_not_fit_beside_the_other_tags_is_not_stored() {
        let stored = ReplacedLifecycle::Policy(policy(3));
        let many = |count: usize| {
            (0..count).map(|number| (format!("tag-{number}"), String::new())).collect()
        };
        let parts = stored.to_tags(&others()).len();
        let read = |tags| ReplacedLifecycle::from_tags(&tags).unwrap();
        assert_eq!(read(stored.to_tags(&many(MOST_TAGS - parts))), Some(stored.clone()));
        assert_eq!(read(stored.to_tags(&many(MOST_TAGS - parts + 1))), None);
        assert_eq!(read(ReplacedLifecycle::Policy(policy(40)).to_tags(&others())), None);
    }

    #[test]
    fn tags_that_lost_a_part_hold_no_policy() {
        let tags = ReplacedLifecycle::Policy(policy(3)).to_tags(&others());
        for key in tags.keys().filter(|key| *key != COUNT_TAG) {
            let mut tags = tags.clone();
            tags.remove(key);
            assert_eq!(ReplacedLifecycle::from_tags(&tags), Err(IncompleteTags), "{key}");
        }
        for count in ["", "x", "-1", "1", "99", "18446744073709551616"] {
            let mut tags = tags.clone();
            tags.insert(COUNT_TAG.to_owned(), count.to_owned());
            assert_eq!(ReplacedLifecycle::from_tags(&tags), Err(IncompleteTags), "{count}");
        }
    }
}
