//! The dashboard, the alarms and the saved queries: that they look at what there is.

use std::collections::BTreeSet;

use local_aws::world::evaluate;
use serde_json::{Value, json};

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

/// Every metric that is shown, each as its namespace, its name and its dimensions.
fn metrics(widgets: &[Value]) -> Vec<Vec<&str>> {
    let metrics = widgets.iter().filter_map(|it| it["properties"]["metrics"].as_array()).flatten();
    let texts = metrics.map(|it| it.as_array().unwrap().iter().filter_map(Value::as_str).collect());
    texts.filter(|it: &Vec<&str>| !it.is_empty()).collect()
}

#[test]
fn the_widgets_fill_the_page_and_none_lies_on_another() {
    let mut taken = BTreeSet::new();
    let widgets = widgets(&[]);
    for widget in &widgets {
        let [x, y, width, height] =
            ["x", "y", "width", "height"].map(|it| widget[it].as_u64().unwrap());
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cell.0 < 24 && taken.insert(cell), "{cell:?} of {widget}");
        }
        assert!(widget["properties"]["title"].is_string(), "{widget}");
    }
    let rows = taken.iter().map(|(_, y)| y).max().unwrap() + 1;
    assert_eq!(taken.len() as u64, rows * 24);
}

#[test]
fn every_metric_is_one_that_a_function_or_a_service_writes() {
    // What the README says that the functions write; their own tests hold them to it.
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("### Metrics").unwrap();
    let (section, _) = section.split_once("\n#").unwrap();
    let ours: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let (plain, slack) = (widgets(&[]), widgets(&[SECRET]));
    let shown = metrics(&plain);
    assert!(shown.len() > 30, "{shown:?}");
    for metric in &shown {
        match metric.as_slice() {
            ["EcrWarden", name, "Repository", "infrastructure" | "deployments"] => {
                assert!(ours.contains(name), "{name}");
            }
            ["AWS/ECR", "RepositoryPullCount", "RepositoryName", _]
            | ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", _]
            | ["AWS/Lambda", "Errors" | "Throttles" | "Duration", "FunctionName", _] => {}
            other => panic!("{other:?}"),
        }
    }
    let beside: Vec<_> =
        metrics(&slack).into_iter().filter(|it| !shown.contains(it)).map(|it| it[1]).collect();
    assert_eq!(beside, ["Errors", "Throttles"]);
}

#[test]
fn an_alarm_watches_every_function_there_is() {
    for (parameters, functions) in [(&[][..], 4), (&[SECRET][..], 5)] {
        let stack = evaluate(parameters).unwrap();
        let there = stack.resources().unwrap().into_iter();
        let there: BTreeSet<&str> = there
            .filter(|id| stack.resource_type(id).unwrap() == "AWS::Serverless::Function")
            .collect();
        assert_eq!(there.len(), functions);
        for (alarm, metric) in
            [("FunctionErrorsAlarm", "Errors"), ("FunctionThrottlesAlarm", "Throttles")]
        {
            let alarm = stack.properties(alarm).unwrap();
            assert_eq!(alarm["AlarmActions"], json!(["AlertTopic"]));
            let metrics = alarm["Metrics"].as_array().unwrap();
            let watched = metrics.iter().filter_map(|it| {
                let metric_of = &it["MetricStat"]["Metric"];
                assert!(metric_of.is_null() || metric_of["MetricName"] == metric);
                metric_of["Dimensions"][0]["Value"].as_str()
            });
            assert_eq!(watched.collect::<BTreeSet<_>>(), there);
        }
    }
}

/// The names of the alarms of the dashboard.
fn shown_alarms(parameters: &[(&str, &str)]) -> String {
    widgets(parameters)[0]["properties"]["alarms"].to_string()
}

#[test]
fn an_alarm_is_raised_where_an_enforced_repository_is_not_swept_for_three_days() {
    let names =
        [("InfrastructureRepositoryName", "platform"), ("DeploymentsRepositoryName", "apps")];
    let alarms = [("InfrastructureSweepAlarm", "platform"), ("DeploymentsSweepAlarm", "apps")];
    for enforcement in ["archive", "delete"] {
        let parameters = [&names[..], &[("CleanupEnforcement", enforcement)]].concat();
        let stack = evaluate(&parameters).unwrap();
        for (id, repository) in alarms {
            let alarm = stack.properties(id).unwrap();
            assert_eq!(alarm["Namespace"], "EcrWarden");
            assert_eq!(alarm["MetricName"], "SweepsCompleted");
            let dimension = json!([{"Name": "Repository", "Value": repository}]);
            assert_eq!(alarm["Dimensions"], dimension);
            assert_eq!(alarm["TreatMissingData"], "breaching");
            assert_eq!(alarm["ComparisonOperator"], "LessThanThreshold");
            let numbers = ["Threshold", "Period", "EvaluationPeriods"].map(|name| &alarm[name]);
            assert_eq!(numbers.map(Value::as_u64), [Some(1), Some(86_400), Some(3)]);
            assert_eq!(alarm["Statistic"], "Sum");
            assert_eq!(alarm["AlarmActions"], json!(["AlertTopic"]));
            assert!(alarm["AlarmDescription"].as_str().unwrap().contains(repository));
            assert!(shown_alarms(&parameters).contains(id));
        }
    }
    let report = [("CleanupEnforcement", "report")];
    let stack = evaluate(&report).unwrap();
    let there = stack.resources().unwrap();
    assert!(alarms.iter().all(|(id, _)| !there.contains(id)), "{there:?}");
    assert!(!shown_alarms(&report).contains("SweepAlarm"));
}

#[test]
fn what_a_query_asks_of_a_log_its_function_writes() {
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
