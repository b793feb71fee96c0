//! Accepted risks: findings that an alert lists but does not count until a date.
//!
//! The accepted risks are a JSON list that people edit in place. If the list has a mistake, no risk is
//! accepted: a wrong guess would hide a finding.

use std::fmt;
use std::str::FromStr;

use chrono::{Days, NaiveDate};

use crate::image::Component;
use crate::node::Node;
use crate::properties::{Invalid, Problem, Reader};
use crate::text::short_line;

/// The number of days before its end for which an expiring risk is alerted on.
const REMINDED_BEFORE: Days = Days::new(7);

/// An accepted finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRisk {
    /// The vulnerability, such as `CVE-2026-1234`.
    pub id: String,
    /// The last day on which the finding does not count, in UTC.
    pub until: NaiveDate,
    /// Why the team accepts the risk.
    pub reason: String,
    /// The person or team that is responsible.
    pub owner: String,
    /// The component in which the risk is accepted. None if the risk is accepted in all components.
    pub component: Option<Component>,
}

impl AcceptedRisk {
    /// Reads the list. The error names every mistake by its position in the list.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, Invalid> {
        let invalid = |message: String| Invalid(vec![Problem::new("the accepted risks", message)]);
        // Some editors of Windows write a byte-order mark at the beginning of a file.
        let nodes: Vec<Node> = serde_json::from_str(list.strip_prefix('\u{feff}').unwrap_or(list))
            .map_err(|error| invalid(format!("expected a JSON list: {error}")))?;
        let (mut risks, mut problems) = (Vec::new(), Vec::new());
        for (nth, node) in nodes.iter().enumerate() {
            let mut reader = Reader::new(node);
            risks.extend(Self::read(&mut reader));
            problems.extend(reader.finish().into_iter().map(|problem| {
                // `Reader` uses this name for an item that is not an object.
                let property = match problem.property.as_str() {
                    "ResourceProperties" => format!("[{nth}]"),
                    name => format!("[{nth}].{name}"),
                };
                Problem { property, ..problem }
            }));
        }
        if problems.is_empty() { Ok(risks) } else { Err(Invalid(problems)) }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let id = reader.required::<Line>("id");
        let until = reader.required::<Day>("until");
        let reason = reader.required::<Line>("reason");
        let owner = reader.required::<Line>("owner");
        let component = reader.optional("component");
        Some(Self { id: id?.0, until: until?.0, reason: reason?.0, owner: owner?.0, component })
    }

    /// Whether the risk covers this vulnerability in an image of this component. Identifiers are
    /// compared without regard to case: people write `cve-2026-1234` too.
    #[must_use]
    pub fn covers(&self, id: &str, component: Option<&Component>) -> bool {
        self.id.eq_ignore_ascii_case(id)
            && self.component.as_ref().is_none_or(|only| Some(only) == component)
    }

    /// Whether the risk expires so soon that its owner gets an alert.
    #[must_use]
    pub fn is_expiring(&self, today: NaiveDate) -> bool {
        let from = self.until.checked_sub_days(REMINDED_BEFORE).unwrap_or(NaiveDate::MIN);
        (from..=self.until).contains(&today)
    }
}

/// The difference between two lists of accepted risks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RiskChanges {
    /// Risks that only the new list has.
    pub added: Vec<AcceptedRisk>,
    /// Risks that only the old list has.
    pub removed: Vec<AcceptedRisk>,
    /// Risks of both lists whose day, reason or owner differs: the old risk and the new risk.
    pub changed: Vec<(AcceptedRisk, AcceptedRisk)>,
}

impl RiskChanges {
    /// Whether the lists accept the same risks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares two lists. Two risks are the same if they have the same vulnerability and component.
#[must_use]
pub fn compare_risks(before: &[AcceptedRisk], after: &[AcceptedRisk]) -> RiskChanges {
    let mut changes = RiskChanges::default();
    let is_equal = |list: &[AcceptedRisk], risk: &AcceptedRisk| list.contains(risk);
    changes.removed.extend(before.iter().filter(|risk| !is_equal(after, risk)).cloned());
    for risk in after.iter().filter(|risk| !is_equal(before, risk)) {
        let is_same = |other: &AcceptedRisk| {
            other.id.eq_ignore_ascii_case(&risk.id) && other.component == risk.component
        };
        match changes.removed.iter().position(is_same) {
            Some(index) => changes.changed.push((changes.removed.remove(index), risk.clone())),
            None => changes.added.push(risk.clone()),
        }
    }
    changes
}

/// A line of text that is not blank and is safe to show.
struct Line(String);

impl FromStr for Line {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let line = short_line(text, 200);
        if line.is_empty() { Err("expected a line of text") } else { Ok(Self(line)) }
    }
}

struct Day(NaiveDate);

#[derive(Debug)]
struct InvalidDay;

impl fmt::Display for InvalidDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a day, such as 2026-12-31")
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The parser also accepts days such as +99999-12-31 and 2026-1-5.
        let is_day = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| {
                if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() }
            });
        let day = text.parse().ok().filter(|_| is_day);
        day.map(Self).ok_or(InvalidDay)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const GOOD: &str = r#"[{"id": "CVE-2026-1234", "until": "2026-12-31", "reason": "not reachable", "owner": "platform", "component": "litellm"}]"#;

    fn check(list: &str, expected: &Expect) {
        expected.assert_eq(&AcceptedRisk::parse_list(list).unwrap_err().to_string());
    }

    #[test]
    fn a_risk_is_accepted_in_its_component_or_in_all_components() {
        let risks = AcceptedRisk::parse_list(GOOD).unwrap();
        let [litellm, other] = ["litellm", "openwebui"].map(|name| name.parse().unwrap());
        assert!(risks[0].covers("CVE-2026-1234", Some(&litellm)));
        assert!(!risks[0].covers("CVE-2026-1234", Some(&other)));
        assert!(!risks[0].covers("CVE-2026-1234", None));
        assert!(!risks[0].covers("CVE-2026-12345", Some(&litellm)));
        let everywhere = AcceptedRisk { component: None, ..risks[0].clone() };
        assert!(everywhere.covers("CVE-2026-1234", None));
        assert_eq!(AcceptedRisk::parse_list("[]").unwrap(), []);
    }

    // Case B18 in docs/contributing/prior-art.md.
    #[test]
    fn a_byte_order_mark_and_the_case_of_an_identifier_do_not_matter() {
        let list = GOOD.replace("CVE-2026-1234", "cve-2026-1234");
        let risks = AcceptedRisk::parse_list(&format!("\u{feff}{list}")).unwrap();
        let litellm = "litellm".parse().unwrap();
        assert_eq!(risks[0].id, "cve-2026-1234");
        assert!(risks[0].covers("CVE-2026-1234", Some(&litellm)));
        assert!(!risks[0].covers("CVE-2026-1235", Some(&litellm)));
        let before = AcceptedRisk::parse_list(GOOD).unwrap();
        let changes = compare_risks(&before, &risks);
        assert_eq!((changes.added.len(), changes.removed.len()), (0, 0));
        assert_eq!(changes.changed, [(before[0].clone(), risks[0].clone())]);
    }

    // Case B22 in docs/contributing/prior-art.md.
    #[test]
    fn a_repeated_key_and_an_impossible_day_are_mistakes() {
        let twice = GOOD.replace(r#""reason""#, r#""until": "2027-12-31", "reason""#);
        check(&twice, &expect!["[0].until: this key is repeated; a map has each key once"]);
        check(
            &GOOD.replace(r#""owner""#, r#""ID": "x", "id": "CVE-2", "owner""#),
            &expect![[
                r#"[0].ID: unknown property; the nearest known name is id; [0].id: this key is repeated; a map has each key once"#
            ]],
        );
        for day in [
            "+99999-12-31",
            "-2026-12-31",
            "-026-12-31",
            "2026-02-30",
            "2026-13-01",
            "2026-1-5",
            "2026-12-310",
            " 2026-1-05",
            "20261231",
            "2026/12/31",
            "2026-12-31T00:00:00Z",
            "２０２６-12-31",
            "",
        ] {
            let list = GOOD.replace("2026-12-31", day);
            let error = AcceptedRisk::parse_list(&list).unwrap_err();
            let [problem] = &error.0[..] else { panic!("{day}: {error}") };
            assert_eq!(problem.property, "[0].until", "{day}: {error}");
        }
    }

    #[test]
    fn a_risk_is_expiring_for_the_seven_days_before_its_end() {
        let risk = &AcceptedRisk::parse_list(GOOD).unwrap()[0];
        for (today, expected) in [
            ("2026-12-23", false),
            ("2026-12-24", true),
            ("2026-12-31", true),
            ("2027-01-01", false),
        ] {
            assert_eq!(risk.is_expiring(today.parse().unwrap()), expected, "{today}");
        }
    }

    #[test]
    fn a_list_with_a_mistake_is_rejected() {
        check(
            "",
            &expect![
                "the accepted risks: expected a JSON list: EOF while parsing a value at line 1 column 0"
            ],
        );
        check(
            "{}",
            &expect![
                "the accepted risks: expected a JSON list: invalid type: map, expected a sequence at line 1 column 0"
            ],
        );
        let second = |item: &str| format!("{}, {item}]", GOOD.trim_end_matches(']'));
        check(&second("7"), &expect!["[1]: missing; expected an object"]);
        check(
            &second(r#"{"id": "CVE-1", "until": "soon", "reason": " ", "ower": "me"}"#),
            &expect![[
                r#"[1].until: expected a day, such as 2026-12-31, got "soon"; [1].reason: expected a line of text, got " "; [1].owner: this required property is missing; [1].ower: unknown property; the nearest known name is owner"#
            ]],
        );
        check(
            &second(
                r#"{"id": "CVE-1", "until": "2026-12-31", "reason": "x", "owner": "me", "component": "Lite LLM"}"#,
            ),
            &expect![[
                r#"[1].component: expected lower-case letters and digits, joined by single hyphens, or a repository name, got "Lite LLM""#
            ]],
        );
    }
}
