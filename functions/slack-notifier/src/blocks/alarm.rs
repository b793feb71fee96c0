//! A CloudWatch alarm as Slack shows it.

use super::{Layout, console, some};
use crate::message::Alarm;
use crate::payload::Payload;
use crate::text::{code, link};
use warden_core::text::one_line;

pub fn title(alarm: &Alarm) -> String {
    match &alarm.state {
        Some(state) => format!("{state}: {}", alarm.name),
        None => alarm.name.clone(),
    }
}

pub fn text(alarm: &Alarm) -> String {
    let texts = [&alarm.description, &alarm.reason];
    texts.into_iter().flatten().cloned().collect::<Vec<_>>().join("\n")
}

pub fn render(alarm: &Alarm) -> Payload {
    let place: Vec<String> =
        [&alarm.account, &alarm.region].into_iter().flatten().cloned().collect();
    let print = [Some(place.join(", ")), alarm.time.clone()];
    let mut layout = Layout::new(&title(alarm), &print);
    layout.beside_title(&text(alarm));
    let url = alarm.region.as_deref().and_then(|region| console::alarm(region, &alarm.name));
    let mut fields = vec![("Alarm", link(url.as_deref(), &one_line(&alarm.name), 300))];
    match (&alarm.before, &alarm.state) {
        (Some(before), Some(now)) => {
            fields.push(("State", format!("{}, before {}", code(now, 40), code(before, 40))));
        }
        (None, Some(now)) => fields.push(("State", code(now, 40))),
        (_, None) => {}
    }
    fields.extend(alarm.metric.iter().map(|metric| ("Metric", code(metric, 300))));
    let of: Vec<String> =
        alarm.dimensions.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !of.is_empty() {
        fields.push(("Of", some(&of, 5, 300)));
    }
    layout.fields(fields);
    layout.done()
}
