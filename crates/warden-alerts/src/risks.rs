//! The alert about a change of the accepted risks.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use warden_core::risks::{AcceptedRisk, RiskChanges};

use super::remedy::EDIT_RISKS;
use super::{Alert, AlertKind, AlertOrigin, WHAT_TO_DO, WHY, fit_details};

/// The most risks of each list in the details.
const MOST_RISKS: usize = 50;

/// The alert about a new version of the accepted risks, with the changes.
#[must_use]
pub fn risks_changed(place: &AlertOrigin<'_>, version: i64, changes: &RiskChanges) -> Alert {
    let RiskChanges { added, removed, changed } = changes;
    let counts = [(added.len(), "added"), (removed.len(), "removed"), (changed.len(), "changed")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    let counts = counts.join(", ");
    let mut text = format!(
        "Version {version} of the parameter {} changed the accepted risks: {counts}.\n\n{WHY}an \
         accepted finding sends no alert, so each change of the accepted risks is reported.\n\n\
         {WHAT_TO_DO}check that the changes are intended. CloudTrail records who changed the parameter \
         (PutParameter).",
        place.parameter
    );
    let mut list = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = write!(text, "\n\n{title}:\n- {}", lines.join("\n- "));
        }
    };
    list("Added", added.iter().map(described).collect());
    list("Removed", removed.iter().map(described).collect());
    let described_change = |(before, after): &(AcceptedRisk, AcceptedRisk)| {
        format!("{}; before: {}", described(after), described(before))
    };
    list("Changed", changed.iter().map(described_change).collect());
    let details = |most: usize| {
        let values =
            |risks: &[AcceptedRisk]| -> Vec<Value> { risks.iter().take(most).map(value).collect() };
        let pairs = changed.iter().take(most);
        let pairs: Vec<Value> = pairs
            .map(|(before, after)| json!({"before": value(before), "after": value(after)}))
            .collect();
        Map::from_iter([
            ("parameter".to_owned(), json!(place.parameter)),
            ("version".to_owned(), json!(version)),
            ("added".to_owned(), json!(values(added))),
            ("removed".to_owned(), json!(values(removed))),
            ("changed".to_owned(), json!(pairs)),
        ])
    };
    Alert {
        details: fit_details(MOST_RISKS, details),
        ..place.alert(
            AlertKind::RisksChanged,
            format!("The accepted risks changed: {counts}"),
            text,
            EDIT_RISKS,
        )
    }
}

fn described(risk: &AcceptedRisk) -> String {
    let AcceptedRisk { id, until, reason, owner, component } = risk;
    let within = component.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
    format!("{id}{within} until {until}, owner {owner} ({reason})")
}

fn value(risk: &AcceptedRisk) -> Value {
    let AcceptedRisk { id, until, reason, owner, component } = risk;
    json!({"id": id, "until": until, "reason": reason, "owner": owner, "component": component})
}
