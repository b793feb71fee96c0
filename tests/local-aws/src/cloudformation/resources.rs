//! The resources that CloudFormation creates by a call of their service, or that have no effect here.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Schedule, known};
use crate::alarms::Alarm;
use crate::ecr::present;
use crate::pattern::Pattern;
use crate::policy::Document;
use crate::policy::grammar::{self, Kind};
use crate::queue::Redrive;
use crate::{ACCOUNT, LocalAws, REGION, Rule, RuleTarget, local_arn};

/// The maximum number of characters of the inline policies of a role, without white space.
const INLINE_POLICIES: usize = 10_240;

impl LocalAws {
    /// Creates a resource of this type and name. Returns its physical ID and its attributes. An unknown
    /// property is an error.
    pub async fn make(
        &self,
        kind: &str,
        name: &str,
        properties: &Value,
    ) -> anyhow::Result<(String, Value)> {
        let (_, allowed) = PROPERTIES
            .iter()
            .find(|(of, _)| *of == kind)
            .with_context(|| format!("{kind} cannot be made here"))?;
        known(properties, allowed)?;
        let arn =
            |service: &str, rest: &str| format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}");
        Ok(match kind {
            "AWS::Logs::LogGroup" => {
                let arn = arn("logs", &format!("log-group:{name}:*"));
                (name.to_owned(), json!({"Arn": arn}))
            }
            "AWS::IAM::Role" => {
                let arn = self.make_role(name, properties)?;
                (name.to_owned(), json!({"Arn": arn}))
            }
            "AWS::SNS::Topic" => {
                self.ask_sns("CreateTopic", &[("Name", name)]).await?;
                let key = properties["KmsMasterKeyId"].as_str();
                let key = key.map(|key| arn("kms", &format!("key/{key}")));
                let arn = arn("sns", name);
                self.state().keys.extend(key.map(|key| (arn.clone(), key)));
                (arn.clone(), json!({"TopicArn": arn, "TopicName": name}))
            }
            "AWS::SNS::Subscription" => {
                let text = |name: &str| properties[name].as_str().unwrap_or_default();
                let given = ["TopicArn", "Protocol", "Endpoint"].map(|name| (name, text(name)));
                self.ask_sns("Subscribe", &given).await?;
                (format!("{}:{name}", text("TopicArn")), json!({}))
            }
            "AWS::SQS::Queue" => self.make_queue(name, properties).await?,
            "AWS::Events::EventBus" => self.make_event_bus(properties)?,
            "AWS::Events::Rule" => self.make_rule(name, properties)?,
            "AWS::DynamoDB::Table" => {
                let mut table = json!({"TableName": name});
                for of in ["AttributeDefinitions", "BillingMode", "KeySchema"] {
                    table[of] = properties[of].clone();
                }
                self.ask("dynamodb", "DynamoDB_20120810.CreateTable", &table).await?;
                let live = &properties["TimeToLiveSpecification"];
                let live = json!({"TableName": name, "TimeToLiveSpecification": live});
                self.ask("dynamodb", "DynamoDB_20120810.UpdateTimeToLive", &live).await?;
                (name.to_owned(), json!({"Arn": arn("dynamodb", &format!("table/{name}"))}))
            }
            "AWS::IAM::ManagedPolicy" => {
                let input = [
                    ("PolicyName", name.to_owned()),
                    ("Path", properties["Path"].as_str().unwrap_or("/").to_owned()),
                    ("PolicyDocument", properties["PolicyDocument"].to_string()),
                ];
                let input = input.map(|(name, value)| (name.to_owned(), value)).into();
                let created = self.state().iam.serve("CreatePolicy", &input);
                created.map_err(|(_, code, message)| anyhow!("{code}: {message}"))?;
                let arn = format!("arn:aws:iam::{ACCOUNT}:policy{}{name}", input["Path"]);
                (arn.clone(), json!({"PolicyArn": arn}))
            }
            "AWS::KMS::Key" => {
                let arn = arn("kms", &format!("key/{name}"));
                self.set_policy([arn.as_str()], &properties["KeyPolicy"])?;
                (name.to_owned(), json!({"Arn": arn, "KeyId": name}))
            }
            "AWS::SNS::TopicPolicy" => {
                let topics = properties["Topics"].as_array().into_iter().flatten();
                let topics = topics.filter_map(Value::as_str);
                self.set_policy(topics, &properties["PolicyDocument"])?;
                (name.to_owned(), json!({}))
            }
            "AWS::SQS::QueuePolicy" => {
                let queues = properties["Queues"].as_array().into_iter().flatten();
                let queues = queues.filter_map(|queue| queue.as_str()?.rsplit('/').next());
                let queues: Vec<String> = queues.map(|queue| arn("sqs", queue)).collect();
                let queues = queues.iter().map(String::as_str);
                self.set_policy(queues, &properties["PolicyDocument"])?;
                (name.to_owned(), json!({}))
            }
            "AWS::Scheduler::Schedule" => {
                let schedule = Schedule::of_resource(name, properties)?;
                let arn = schedule.arn.clone();
                self.state().schedules.push(schedule);
                let name = properties["Name"].as_str().unwrap_or(name);
                (name.to_owned(), json!({"Arn": arn}))
            }
            "AWS::ECR::PullTimeUpdateExclusion" => {
                let registered = self.by_hand(
                    "RegisterPullTimeUpdateExclusion",
                    &json!({"principalArn": properties["PrincipalArn"]}),
                );
                let registered = registered.map_err(|error| anyhow!("{}", error.message))?;
                (registered["principalArn"].as_str().unwrap_or_default().to_owned(), json!({}))
            }
            "AWS::SSM::Parameter" => self.make_parameter(name, properties).await?,
            "AWS::CloudWatch::Alarm" => {
                self.make_alarm(name);
                (name.to_owned(), json!({"Arn": arn("cloudwatch", &format!("alarm:{name}"))}))
            }
            // Dashboards and saved queries have no effect here.
            _ => (name.to_owned(), json!({})),
        })
    }

    /// CloudFormation makes no name for a bus: the property `Name` is required.
    fn make_event_bus(&self, properties: &Value) -> anyhow::Result<(String, Value)> {
        let name = properties["Name"].as_str().context("an event bus has no Name")?;
        self.state().event_buses.entry(name.to_owned()).or_default();
        let arn = format!("arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}");
        Ok((name.to_owned(), json!({"Arn": arn, "Name": name})))
    }

    fn make_alarm(&self, name: &str) {
        let mut state = self.state();
        let alarm = Alarm {
            state: "OK".to_owned(),
            reason: "Unchecked: Initial alarm creation".to_owned(),
            since: state.now(),
        };
        state.alarms.insert(name.to_owned(), alarm);
    }

    /// Creates or changes a role, and returns its ARN. The properties are those of
    /// `AWS::IAM::Role`; the error is a document that IAM refuses.
    pub fn make_role(&self, name: &str, properties: &Value) -> anyhow::Result<String> {
        let path = properties["Path"].as_str().unwrap_or("/");
        let trust = match &properties["AssumeRolePolicyDocument"] {
            Value::String(text) => text.clone(),
            document => document.to_string(),
        };
        grammar::check(&trust, Kind::Trust).map_err(anyhow::Error::msg)?;
        let mut inline_policies = BTreeMap::new();
        let mut size = 0;
        for policy in properties["Policies"].as_array().into_iter().flatten() {
            let policy_name = policy["PolicyName"].as_str().context("a policy has no name")?;
            let document = &policy["PolicyDocument"];
            let text = document.to_string();
            grammar::check(&text, Kind::Identity).map_err(anyhow::Error::msg)?;
            size += text.chars().filter(|character| !character.is_whitespace()).count();
            inline_policies.insert(policy_name.to_owned(), Document::read(document)?);
        }
        // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
        if size > INLINE_POLICIES {
            bail!("Maximum policy size of {INLINE_POLICIES} bytes exceeded for role {name}");
        }
        let iam = &mut self.state().iam;
        for policy in properties["ManagedPolicyArns"].as_array().into_iter().flatten() {
            let policy = policy.as_str().unwrap_or_default();
            let attached = iam.policies.get_mut(policy);
            let attached = attached.with_context(|| format!("no policy {policy}"))?;
            attached.roles.insert(name.to_owned());
        }
        let mut role = iam.roles.remove(name).unwrap_or_default();
        path.clone_into(&mut role.path);
        role.trust = trust;
        role.inline_policies = inline_policies;
        let arn = format!("arn:aws:iam::{ACCOUNT}:role{path}{name}");
        iam.roles.insert(name.to_owned(), role);
        Ok(arn)
    }

    /// Sets the policy of these resources.
    fn set_policy<'n>(
        &self,
        arns: impl IntoIterator<Item = &'n str>,
        document: &Value,
    ) -> anyhow::Result<()> {
        let document = Document::read(document)?;
        let arns = arns.into_iter().map(|arn| (arn.to_owned(), vec![document.clone()]));
        self.state().resource_policies.extend(arns);
        Ok(())
    }

    async fn make_queue(&self, name: &str, properties: &Value) -> anyhow::Result<(String, Value)> {
        let queue = json!({"QueueName": name});
        let made = self.ask("sqs", "AmazonSQS.CreateQueue", &queue).await?;
        let url = made["QueueUrl"].as_str().unwrap_or_default().to_owned();
        let arn = local_arn("sqs", name);
        let redrive = &properties["RedrivePolicy"];
        if let Some(dead_letter) = redrive["deadLetterTargetArn"].as_str() {
            let max_receive_count = redrive["maxReceiveCount"].as_u64();
            let max_receive_count = max_receive_count.context("no maxReceiveCount")?;
            let redrive = Redrive { dead_letter: dead_letter.to_owned(), max_receive_count };
            self.state().redrives.insert(arn.clone(), redrive);
        }
        Ok((url, json!({"Arn": arn, "QueueName": name})))
    }

    /// Creates a rule whose targets are queues.
    fn make_rule(&self, name: &str, properties: &Value) -> anyhow::Result<(String, Value)> {
        let pattern = Pattern::new(&properties["EventPattern"])?;
        for target in properties["Targets"].as_array().into_iter().flatten() {
            known(target, &["Arn", "DeadLetterConfig", "Id"])?;
            let queue = target["Arn"].as_str().unwrap_or_default();
            if !queue.starts_with("arn:aws:sqs:") {
                bail!("the target {queue} of a rule is no queue");
            }
            self.state().rules.push(Rule {
                name: name.to_owned(),
                pattern: pattern.clone(),
                target: RuleTarget::Queue(queue.to_owned()),
                dead_letter: target["DeadLetterConfig"]["Arn"].as_str().map(str::to_owned),
            });
        }
        Ok((name.to_owned(), json!({"Arn": local_arn("events", &format!("rule/{name}"))})))
    }

    /// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html>
    async fn make_parameter(
        &self,
        name: &str,
        properties: &Value,
    ) -> anyhow::Result<(String, Value)> {
        let name = properties["Name"].as_str().unwrap_or(name);
        // CloudFormation converts numbers and booleans to texts before it calls the service.
        let text = |of: &str| match &properties[of] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let kind = text("Type").context("a parameter has no Type")?;
        if kind == "SecureString" {
            bail!("CloudFormation makes no parameter of the type SecureString");
        }
        let value = text("Value").context("a parameter has no Value")?;
        let parameter = present(json!({
            "Name": name,
            "Type": kind,
            "Value": value,
            "Tier": text("Tier"),
            "Description": text("Description"),
        }));
        self.ask("ssm", "AmazonSSM.PutParameter", &parameter).await?;
        // The rules of the stack follow the parameter, so no rule has the event of its creation.
        self.services().take_parameter_changes();
        Ok((name.to_owned(), json!({"Type": kind, "Value": value})))
    }

    /// Calls a service with a JSON protocol as an operator does, such as `AmazonSSM.PutParameter` of
    /// `ssm`. The call is not recorded, and no fault applies to it.
    pub async fn ask(&self, service: &str, target: &str, input: &Value) -> anyhow::Result<Value> {
        let request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(Bytes::from(input.to_string()))?;
        let response = self.services().handle(service, request).await;
        if !response.status().is_success() {
            bail!("{target}: {}", String::from_utf8_lossy(response.body()));
        }
        // An operation without an output answers with an empty body.
        let is_empty = response.body().is_empty();
        Ok(if is_empty { Value::Null } else { serde_json::from_slice(response.body())? })
    }

    async fn ask_sns(&self, action: &str, input: &[(&str, &str)]) -> anyhow::Result<()> {
        let pairs = [("Action", action)].into_iter().chain(input.iter().copied());
        let encoded = pairs.map(|(name, value)| {
            format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
        });
        let body = encoded.collect::<Vec<_>>().join("&");
        let response = self.services().handle("sns", Request::post("/").body(body.into())?).await;
        if !response.status().is_success() {
            bail!("{action}: {}", String::from_utf8_lossy(response.body()));
        }
        Ok(())
    }
}

/// The properties of each type that are honoured here, or that change nothing here: nothing
/// is encrypted, alarmed, or asked of a log.
const PROPERTIES: &[(&str, &[&str])] = &[
    (
        "AWS::CloudWatch::Alarm",
        &[
            "AlarmActions",
            "AlarmDescription",
            "ComparisonOperator",
            "Dimensions",
            "EvaluationPeriods",
            "MetricName",
            "Metrics",
            "Namespace",
            "Period",
            "Statistic",
            "Threshold",
            "TreatMissingData",
        ],
    ),
    ("AWS::CloudWatch::Dashboard", &["DashboardBody"]),
    (
        "AWS::DynamoDB::Table",
        &[
            "AttributeDefinitions",
            "BillingMode",
            "KeySchema",
            "PointInTimeRecoverySpecification",
            "SSESpecification",
            "TimeToLiveSpecification",
        ],
    ),
    ("AWS::ECR::PullTimeUpdateExclusion", &["PrincipalArn"]),
    ("AWS::Events::EventBus", &["Description", "Name"]),
    ("AWS::Events::Rule", &["Description", "EventPattern", "Targets"]),
    ("AWS::IAM::ManagedPolicy", &["Description", "Path", "PolicyDocument"]),
    (
        "AWS::IAM::Role",
        &["AssumeRolePolicyDocument", "Description", "ManagedPolicyArns", "Path", "Policies"],
    ),
    ("AWS::KMS::Key", &["Description", "EnableKeyRotation", "KeyPolicy", "Tags"]),
    ("AWS::Logs::LogGroup", &["RetentionInDays"]),
    ("AWS::Logs::QueryDefinition", &["LogGroupNames", "Name", "QueryString"]),
    ("AWS::SNS::Subscription", &["Endpoint", "Protocol", "TopicArn"]),
    ("AWS::SNS::Topic", &["KmsMasterKeyId"]),
    ("AWS::SNS::TopicPolicy", &["PolicyDocument", "Topics"]),
    (
        "AWS::SQS::Queue",
        &[
            "DelaySeconds",
            "MessageRetentionPeriod",
            "RedrivePolicy",
            "SqsManagedSseEnabled",
            "VisibilityTimeout",
        ],
    ),
    ("AWS::SQS::QueuePolicy", &["PolicyDocument", "Queues"]),
    (
        "AWS::Scheduler::Schedule",
        &[
            "Description",
            "FlexibleTimeWindow",
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "State",
            "Target",
        ],
    ),
    ("AWS::SSM::Parameter", &["Description", "Name", "Tags", "Tier", "Type", "Value"]),
];
