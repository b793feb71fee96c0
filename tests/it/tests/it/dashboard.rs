//! The dashboard, the alarms and the saved queries refer to metrics, functions and log fields that
//! exist.

use std::collections::BTreeSet;

use local_aws::world::evaluate;
use serde_json::{Value, json};
use warden_aws::metrics::METRICS;

const SECRET: (&str, &str) = (
    "SlackWebhookSecretArn",
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-warden/slack-AbCdEf",
);

/// The dashboard's widgets.
fn widgets(parameters: &[(&str, &str)]) -> Vec<Value> {
    let stack = evaluate(parameters).unwrap();
    let body = stack.properties("Dashboard").unwrap();
    let body: Value = serde_json::from_str(body["DashboardBody"].as_str().unwrap()).unwrap();
    body["widgets"].as_array().unwrap().clone()
}

/// Every metric of the widgets, each as its namespace, its name and its dimensions.
fn metrics(widgets: &[Value]) -> Vec<Vec<&str>> {
    let metrics = widgets.iter().filter_map(|widget| widget["properties"]["metrics"].as_array());
    let texts = metrics.flatten().map(|metric| {
        let values = metric.as_array().unwrap().iter();
        values.filter_map(Value::as_str).collect::<Vec<&str>>()
    });
    texts.filter(|texts| !texts.is_empty()).collect()
}

#[test]
fn the_widgets_fill_the_page_and_do_not_overlap() {
    let mut taken = BTreeSet::new();
    let widgets = widgets(&[]);
    for widget in &widgets {
        let [x, y, width, height] =
            ["x", "y", "width", "height"].map(|key| widget[key].as_u64().unwrap());
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cell.0 < 24 && taken.insert(cell), "{cell:?} of {widget}");
        }
        assert!(widget["properties"]["title"].is_string(), "{widget}");
    }
    let rows = taken.iter().map(|(_, y)| y).max().unwrap() + 1;
    assert_eq!(taken.len() as u64, rows * 24);
}

#[test]
fn every_metric_of_the_dashboard_is_written_by_a_function_or_a_service() {
    let ours: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let (plain, slack) = (widgets(&[]), widgets(&[SECRET]));
    let shown = metrics(&plain);
    assert!(shown.len() > 30, "{shown:?}");
    for metric in &shown {
        match metric.as_slice() {
            ["EcrWarden", name, "Repository", "infrastructure" | "deployments"] => {
                assert!(ours.contains(name), "{name}");
            }
            ["EcrWarden", name, "Stack", "ecr-warden"] => assert!(ours.contains(name), "{name}"),
            ["AWS/ECR", "RepositoryPullCount", "RepositoryName", _]
            | ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", _]
            | ["AWS/Lambda", "Errors" | "Throttles" | "Duration", "FunctionName", _] => {}
            other => panic!("{other:?}"),
        }
    }
    let only_with_slack = metrics(&slack).into_iter().filter(|metric| !shown.contains(metric));
    let only_with_slack: Vec<&str> = only_with_slack.map(|metric| metric[1]).collect();
    assert_eq!(only_with_slack, ["Errors", "Throttles"]);
}

#[test]
fn the_alarms_of_errors_and_throttles_watch_every_function() {
    for (parameters, functions) in [(&[][..], 5), (&[SECRET][..], 6)] {
        let stack = evaluate(parameters).unwrap();
        let deployed = stack.resources().unwrap().into_iter();
        let deployed: BTreeSet<&str> = deployed
            .filter(|id| stack.resource_type(id).unwrap() == "AWS::Serverless::Function")
            .collect();
        assert_eq!(deployed.len(), functions);
        for (alarm, metric) in
            [("FunctionErrorsAlarm", "Errors"), ("FunctionThrottlesAlarm", "Throttles")]
        {
            let alarm = stack.properties(alarm).unwrap();
            assert_eq!(alarm["AlarmActions"], json!(["AlertTopic"]));
            let metrics = alarm["Metrics"].as_array().unwrap();
            let watched = metrics.iter().filter_map(|query| {
                let watched = &query["MetricStat"]["Metric"];
                assert!(watched.is_null() || watched["MetricName"] == metric);
                watched["Dimensions"][0]["Value"].as_str()
            });
            assert_eq!(watched.collect::<BTreeSet<_>>(), deployed);
        }
    }
}

/// The names of the alarms of the dashboard.
fn shown_alarms(parameters: &[(&str, &str)]) -> String {
    widgets(parameters)[0]["properties"]["alarms"].to_string()
}

#[test]
fn one_alarm_reports_repositories_without_a_complete_sweep_and_a_round_that_never_comes() {
    let stack = evaluate(&[]).unwrap();
    let alarm = stack.properties("SweepsAlarm").unwrap();
    assert_eq!(alarm["Namespace"], "EcrWarden");
    assert_eq!(alarm["MetricName"], "RepositoriesOverdue");
    assert_eq!(alarm["Dimensions"], json!([{"Name": "Stack", "Value": "ecr-warden"}]));
    assert_eq!(alarm["TreatMissingData"], "breaching");
    assert_eq!(alarm["ComparisonOperator"], "GreaterThanThreshold");
    let numbers = ["Threshold", "Period", "EvaluationPeriods"].map(|name| &alarm[name]);
    assert_eq!(numbers.map(Value::as_u64), [Some(0), Some(86_400), Some(3)]);
    assert_eq!(alarm["Statistic"], "Maximum");
    assert_eq!(alarm["AlarmActions"], json!(["AlertTopic"]));
    // A policy can govern repositories although the stack creates none.
    for parameters in [&[][..], &[("CreateEcrRepositories", "false")]] {
        assert!(evaluate(parameters).unwrap().resources().unwrap().contains(&"SweepsAlarm"));
        assert!(shown_alarms(parameters).contains(r#""SweepsAlarm.Arn""#));
    }
}

#[test]
fn every_dead_letter_queue_has_an_alarm_on_the_dashboard() {
    let stack = evaluate(&[]).unwrap();
    for queue in ["FailedEvents", "UndeliveredEvents", "FailedFindings", "FailedSweeps"] {
        let alarm = stack.properties(&format!("{queue}Alarm")).unwrap();
        assert_eq!(alarm["Dimensions"][0]["Value"], format!("{queue}.QueueName"));
        assert!(shown_alarms(&[]).contains(&format!("{queue}Alarm")), "{queue}");
    }
}

#[test]
fn a_function_logs_every_field_of_a_saved_query() {
    let stack = evaluate(&[]).unwrap();
    let sources = [
        include_str!("../../../../functions/image-sweep/src/report.rs"),
        include_str!("../../../../functions/image-sweep/src/usage.rs"),
        include_str!("../../../../functions/image-push/src/lib.rs"),
    ]
    .concat();
    let mut queries: Vec<String> = widgets(&[])
        .iter()
        .filter_map(|widget| widget["properties"]["query"].as_str().map(str::to_owned))
        .collect();
    for id in ["KeepOrRemoveReasonsQuery", "OpenFindingsQuery", "TagViolationsQuery"] {
        let query = stack.properties(id).unwrap();
        queries.push(query["QueryString"].as_str().unwrap().to_owned());
    }
    assert_eq!(queries.len(), 5);
    for query in &queries {
        let fields: Vec<&str> = query.split('`').skip(1).step_by(2).collect();
        assert!(fields.len() > 2, "{query}");
        for field in fields {
            assert!(sources.contains(&format!("{field} =")), "{field} of {query}");
        }
    }
}
