//! The alerts, as each kind of subscriber receives them.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::super::story::{Alert, Email, Story};
use super::{anchor, moment, severity, slack};

/// The alerts in order. The first alert of each kind is unfolded.
pub fn render(story: &Story) -> Markup {
    let mut kinds = BTreeSet::new();
    let alerts = story.alerts().enumerate().map(|(nth, alert)| {
        let is_first = kinds.insert(alert.action().to_owned());
        alert_details(nth, alert, is_first)
    });
    html! {
        p {
            "The functions publish alerts to one SNS topic. People receive an e-mail or a Slack message. "
            "Queues and functions receive JSON. Amazon Q Developer receives a custom notification for "
            "Slack and Microsoft Teams."
        }
        @for alert in alerts { (alert) }
    }
}

fn alert_details(nth: usize, alert: &Alert, is_open: bool) -> Markup {
    let component = alert.json["component"].as_str();
    html! {
        details.alert id=(anchor(nth)) open[is_open] {
            summary {
                (severity(alert.field("severity")))
                h3 { (alert.field("title")) }
            }
            dl.facts {
                div { dt { "Kind" } dd { (alert.field("kind")) } }
                div { dt { "Repository" } dd { (alert.field("repository")) } }
                @if let Some(component) = component { div { dt { "Component" } dd { (component) } } }
                div { dt { "Event" } dd { (moment(alert.json["source"]["time"].as_str().unwrap_or_default())) } }
            }
            div.seen {
                (mail(&alert.email))
                @if let Some(message) = &alert.slack { (slack::render(message)) }
            }
            (raw("The JSON, for queues and functions", Some(&alert.json)))
            (raw("The custom notification, for Amazon Q Developer", alert.chat.as_ref()))
        }
    }
}

fn mail(email: &Email) -> Markup {
    html! {
        figure.mail {
            figcaption { "E-mail" }
            div.body {
                dl {
                    div { dt { "To" } dd { (email.to) } }
                    div { dt { "Subject" } dd { (email.subject) } }
                }
                pre { (email.text.trim_end()) }
            }
        }
    }
}

fn raw(title: &str, json: Option<&Value>) -> Markup {
    html! {
        @if let Some(json) = json {
            details.raw { summary { (title) } pre.json { (format!("{json:#}")) } }
        }
    }
}
