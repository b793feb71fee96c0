//! The permissions that a call asks for: its action and the resource, and the actions that AWS
//! asks for beside it.
//!
//! Validated against the service authorization reference of October 2026
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/>), which says of each
//! action whether it takes a resource. A comment marks each guess.

use serde_json::Value;

use crate::State;
use crate::call::{Called, Input};
use crate::event_bus;
use crate::query;

/// A permission that a call asks for.
pub(super) struct Permission {
    pub action: String,
    pub resource: String,
    /// The condition keys that the call itself has values for.
    pub context: Vec<(String, Vec<String>)>,
}

impl Permission {
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), context: Vec::new() }
    }

    pub fn with(mut self, key: impl Into<String>, values: Vec<String>) -> Self {
        self.context.push((key.into(), values));
        self
    }
}

/// The operations of Amazon ECR that take no resource.
const OF_THE_REGISTRY: &[&str] = &[
    "CreatePullThroughCacheRule",
    "CreateRepositoryCreationTemplate",
    "DeleteRegistryPolicy",
    "DeregisterPullTimeUpdateExclusion",
    "DescribePullThroughCacheRules",
    "DescribeRegistry",
    "DescribeRepositoryCreationTemplates",
    "GetAccountSetting",
    "GetAuthorizationToken",
    "GetRegistryPolicy",
    "GetRegistryScanningConfiguration",
    "ListPullTimeUpdateExclusions",
    "PutAccountSetting",
    "PutRegistryPolicy",
    "PutRegistryScanningConfiguration",
    "PutReplicationConfiguration",
    "RegisterPullTimeUpdateExclusion",
];

/// The permissions that a call asks for. The error names a call that nobody has listed here yet.
pub(super) fn permissions(
    state: &State,
    called: &Called,
    input: &Input,
) -> Result<Vec<Permission>, String> {
    let call = Call { state, called };
    let permissions = match (called.service.as_str(), input) {
        ("ecr", Input::Json(input)) => Some(call.ecr(input)),
        ("ecr", Input::Distribution { repository }) => Some(vec![call.distribution(repository)]),
        ("dynamodb", Input::Json(input)) => call.dynamodb(input),
        ("ssm", Input::Json(input)) => call.ssm(input),
        ("secretsmanager", Input::Json(input)) => Some(call.secretsmanager(input)),
        ("sqs", Input::Json(input)) => call.sqs(input),
        ("sns", Input::Query(input)) => call.sns(input),
        ("iam", Input::Query(input)) => call.iam(input),
        ("monitoring", Input::Json(input)) => Some(call.alarms(input)),
        ("events", Input::Json(input)) => call.events(input),
        ("cloudformation", Input::Query(input)) => Some(vec![call.cloudformation(input)]),
        // Neither action takes a resource.
        ("inspector2", Input::Rest { .. }) => Some(vec![call.on("*")]),
        ("lambda", Input::Rest { path }) => call.lambda(path),
        // An answer to CloudFormation and the download of a layer are signed beforehand.
        ("" | "s3", _) => Some(Vec::new()),
        _ => None,
    };
    permissions.ok_or_else(|| {
        format!("nobody has listed the permissions of {}:{}", called.service, called.operation)
    })
}

/// Adds the partition keys of the items in a request as `dynamodb:LeadingKeys`, by
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html>.
/// The partition key of every table here is named `fact`.
fn with_leading_keys(mut permission: Permission, input: &Value) -> Permission {
    fn collect(value: &Value, keys: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                let key = fields.get("fact").and_then(|fact| fact["S"].as_str());
                match key {
                    Some(key) => keys.push(key.to_owned()),
                    None => fields.values().for_each(|field| collect(field, keys)),
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
            _ => {}
        }
    }
    let mut keys = Vec::new();
    collect(input, &mut keys);
    if !keys.is_empty() {
        permission.context.push(("dynamodb:LeadingKeys".to_owned(), keys));
    }
    permission
}

struct Call<'a> {
    state: &'a State,
    called: &'a Called,
}

fn text<'v>(input: &'v Value, name: &str) -> &'v str {
    input[name].as_str().unwrap_or_default()
}

fn texts<'v>(input: &'v Value, name: &str) -> Vec<&'v str> {
    input[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn field<'v>(input: &'v query::Input, name: &str) -> &'v str {
    input.get(name).map_or("", String::as_str)
}

impl Call<'_> {
    fn arn(&self, service: &str, rest: &str) -> String {
        let Called { region, account, .. } = self.called;
        format!("arn:aws:{service}:{region}:{account}:{rest}")
    }

    /// The operation's own action on a resource.
    fn on(&self, resource: impl Into<String>) -> Permission {
        Permission::new(format!("{}:{}", self.called.service, self.called.operation), resource)
    }

    fn ecr(&self, input: &Value) -> Vec<Permission> {
        let operation = self.called.operation.as_str();
        if OF_THE_REGISTRY.contains(&operation) {
            return vec![self.on("*")];
        }
        let names = texts(input, "repositoryNames");
        let mut permissions: Vec<Permission> = match operation {
            "DescribeRepositories" if names.is_empty() => vec![self.on_repository("*")],
            "BatchGetRepositoryScanningConfiguration" | "DescribeRepositories" => {
                names.iter().map(|name| self.on_repository(name)).collect()
            }
            "ListTagsForResource" | "TagResource" | "UntagResource" => {
                let arn = text(input, "resourceArn");
                let name = arn.split_once(":repository/").map_or("", |(_, name)| name);
                let on = self.on_repository(name);
                vec![Permission { resource: arn.to_owned(), ..on }]
            }
            _ => vec![self.on_repository(text(input, "repositoryName"))],
        };
        let tags = tags(input);
        let untagged = texts(input, "tagKeys").into_iter().map(str::to_owned);
        if let Some(first) = permissions.first_mut() {
            for (key, value) in &tags {
                first.context.push((format!("aws:RequestTag/{key}"), vec![value.clone()]));
            }
            let of_tags = tags.iter().map(|(key, _)| key.clone());
            let keys: Vec<String> = of_tags.chain(untagged).collect();
            if !keys.is_empty() {
                first.context.push(("aws:TagKeys".to_owned(), keys));
            }
        }
        match operation {
            "CreateRepository" => {
                if let (false, Some(created)) = (tags.is_empty(), permissions.first()) {
                    // "CreateRepository with tags also needs ecr:TagResource":
                    // <https://docs.aws.amazon.com/AmazonECR/latest/userguide/supported-iam-actions-tagging.html>.
                    let tag = Permission::new("ecr:TagResource", created.resource.clone());
                    let context = created.context.clone();
                    permissions.push(Permission { context, ..tag });
                }
                let key = text(&input["encryptionConfiguration"], "kmsKey");
                permissions
                    .extend(self.repository_key(key, &["kms:DescribeKey", "kms:CreateGrant"]));
            }
            "DeleteRepository" => {
                let name = text(input, "repositoryName");
                let described = self.repository(name).map(|repository| &repository.described);
                let key = described
                    .and_then(|described| described["encryptionConfiguration"]["kmsKey"].as_str());
                let key = key.filter(|key| !key.ends_with("key/aws-managed"));
                permissions
                    .extend(self.repository_key(key.unwrap_or_default(), &["kms:RetireGrant"]));
            }
            "DescribeImageScanFindings" if self.has_enhanced_scanning() => {
                // ECR asks Inspector with the rights of the caller:
                // <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced-iam.html>.
                permissions.push(Permission::new("inspector2:ListFindings", "*"));
            }
            _ => {}
        }
        permissions
    }

    fn distribution(&self, repository: &str) -> Permission {
        if repository.is_empty() {
            // The version of the protocol is behind the token alone. A guess.
            return Permission::new("ecr:GetAuthorizationToken", "*");
        }
        self.on_repository(repository)
    }

    /// The operation's action on a repository, which may not exist, with its tags.
    fn on_repository(&self, name: &str) -> Permission {
        let mut permission = self.on(self.arn("ecr", &format!("repository/{name}")));
        if self.called.operation == "ListImageReferrers" {
            // There is no action of this name: the service authorization reference has none, and
            // the API reference asks for this one.
            "ecr:BatchGetImage".clone_into(&mut permission.action);
        }
        for (key, value) in self.repository(name).iter().flat_map(|repository| &repository.tags) {
            for service in ["aws", "ecr"] {
                let key = format!("{service}:ResourceTag/{key}");
                permission.context.push((key, vec![value.clone()]));
            }
        }
        permission
    }

    fn repository(&self, name: &str) -> Option<&crate::ecr::Repository> {
        self.registry()?.repositories.get(name)
    }

    fn registry(&self) -> Option<&crate::ecr::Registry> {
        let Called { account, region, .. } = self.called;
        self.state.registries.get(&(account.clone(), region.clone()))
    }

    fn has_enhanced_scanning(&self) -> bool {
        self.registry().is_some_and(|registry| registry.is_enhanced())
    }

    /// A customer's key, which ECR uses with the rights of the caller:
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html>.
    fn repository_key(&self, key: &str, actions: &[&str]) -> Vec<Permission> {
        if key.is_empty() {
            return Vec::new();
        }
        let via = self.host("ecr");
        let permission =
            |action: &&str| Permission::new(*action, key).with("kms:ViaService", vec![via.clone()]);
        actions.iter().map(permission).collect()
    }

    fn host(&self, service: &str) -> String {
        format!("{service}.{}.amazonaws.com", self.called.region)
    }

    fn dynamodb(&self, input: &Value) -> Option<Vec<Permission>> {
        let table = |name: &str| {
            if name.starts_with("arn:") {
                return name.to_owned();
            }
            self.arn("dynamodb", &format!("table/{name}"))
        };
        Some(match self.called.operation.as_str() {
            "BatchGetItem" | "BatchWriteItem" => {
                let tables = input["RequestItems"].as_object().into_iter().flatten();
                let permission = |(name, items): (&String, &Value)| {
                    with_leading_keys(self.on(table(name)), items)
                };
                tables.map(permission).collect()
            }
            // There are no actions of these names: each item asks for its own.
            "TransactGetItems" | "TransactWriteItems" => {
                let items = input["TransactItems"].as_array().into_iter().flatten();
                let items = items.filter_map(Value::as_object).flatten();
                let permission = |(kind, item): (&String, &Value)| {
                    let action = match kind.as_str() {
                        "ConditionCheck" => "dynamodb:ConditionCheckItem".to_owned(),
                        kind => format!("dynamodb:{kind}Item"),
                    };
                    Permission::new(action, table(text(item, "TableName")))
                };
                items.map(permission).collect()
            }
            "Query" | "Scan" if input["IndexName"].is_string() => {
                let index = format!(
                    "{}/index/{}",
                    table(text(input, "TableName")),
                    text(input, "IndexName")
                );
                vec![self.on(index)]
            }
            _ if input["TableName"].is_string() => {
                vec![with_leading_keys(self.on(table(text(input, "TableName"))), input)]
            }
            _ => return None,
        })
    }

    fn ssm(&self, input: &Value) -> Option<Vec<Permission>> {
        let names = match self.called.operation.as_str() {
            "GetParameters" => texts(input, "Names"),
            _ => vec![input["Name"].as_str()?],
        };
        let permission = |name: &str| {
            if name.starts_with("arn:") {
                return self.on(name);
            }
            self.on(self.arn("ssm", &format!("parameter/{}", name.trim_start_matches('/'))))
        };
        Some(names.into_iter().map(permission).collect())
    }

    fn secretsmanager(&self, input: &Value) -> Vec<Permission> {
        let id = input["SecretId"].as_str().unwrap_or_else(|| text(input, "Name"));
        let arn = match id {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            // The six characters that AWS appends to the name are not known. A guess.
            name => self.arn("secretsmanager", &format!("secret:{name}")),
        };
        let mut permissions = vec![self.on(arn.clone())];
        if self.called.operation == "GetSecretValue"
            && let Some(key) = self.state.keys.get(&arn)
        {
            // <https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html>
            let decrypt = Permission::new("kms:Decrypt", key)
                .with("kms:ViaService", vec![self.host("secretsmanager")])
                .with("kms:EncryptionContext:SecretARN", vec![arn]);
            permissions.push(decrypt);
        }
        permissions
    }

    fn sqs(&self, input: &Value) -> Option<Vec<Permission>> {
        let name = match input["QueueUrl"].as_str() {
            Some(url) => url.rsplit('/').next()?,
            None => input["QueueName"].as_str()?,
        };
        // A batch needs the right to the single operation:
        // <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html>.
        let action = self.called.operation.trim_end_matches("Batch");
        Some(vec![Permission::new(format!("sqs:{action}"), self.arn("sqs", name))])
    }

    fn alarms(&self, input: &Value) -> Vec<Permission> {
        let action = format!("cloudwatch:{}", self.called.operation);
        let names = texts(input, "AlarmNames").into_iter();
        let arn = |name: &str| self.arn("cloudwatch", &format!("alarm:{name}"));
        names.map(|name| Permission::new(action.as_str(), arn(name))).collect()
    }

    fn events(&self, input: &Value) -> Option<Vec<Permission>> {
        if self.called.operation != "PutEvents" {
            return None;
        }
        let entries = input["Entries"].as_array().into_iter().flatten();
        let permission = |entry: &Value| {
            self.on(event_bus::bus_arn(entry))
                .with("events:source", vec![text(entry, "Source").to_owned()])
                .with("events:detail-type", vec![text(entry, "DetailType").to_owned()])
        };
        Some(entries.map(permission).collect())
    }

    fn sns(&self, input: &query::Input) -> Option<Vec<Permission>> {
        let topic = match field(input, "TopicArn") {
            "" => self.arn("sns", input.get("Name")?),
            topic => topic.to_owned(),
        };
        let mut permissions = vec![self.on(topic.clone())];
        if self.called.operation == "Publish" {
            permissions.extend(self.topic_key(&topic));
        }
        Some(permissions)
    }

    /// The key of a topic, which SNS uses with the rights of the publisher:
    /// <https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html>.
    fn topic_key(&self, topic: &str) -> Vec<Permission> {
        let Some(key) = self.state.keys.get(topic) else { return Vec::new() };
        let permission = |action: &str| {
            Permission::new(action, key)
                .with("kms:ViaService", vec![self.host("sns")])
                .with("kms:EncryptionContext:aws:sns:topicArn", vec![topic.to_owned()])
        };
        ["kms:GenerateDataKey", "kms:Decrypt"].map(permission).into()
    }

    fn iam(&self, input: &query::Input) -> Option<Vec<Permission>> {
        let account = &self.called.account;
        let role = || {
            let name = field(input, "RoleName");
            let path = self.state.iam.roles.get(name).map_or("/", |role| role.path.as_str());
            format!("arn:aws:iam::{account}:role{path}{name}")
        };
        let (name, policy) = (field(input, "PolicyName"), field(input, "PolicyArn"));
        Some(match self.called.operation.as_str() {
            "AttachRolePolicy" | "DetachRolePolicy" => {
                vec![self.on(role()).with("iam:PolicyARN", vec![policy.to_owned()])]
            }
            "CreatePolicy" => {
                let path = input.get("Path").map_or("/", String::as_str);
                let arn = format!("arn:aws:iam::{account}:policy{path}{name}");
                let mut permissions = vec![self.on(arn.clone())];
                if input.contains_key("Tags.member.1.Key") {
                    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags_customer-managed-policies.html>
                    permissions.push(Permission::new("iam:TagPolicy", arn));
                }
                permissions
            }
            _ if input.contains_key("RoleName") => vec![self.on(role())],
            _ if !policy.is_empty() => vec![self.on(policy)],
            _ => return None,
        })
    }

    /// A stack that is asked for by its name is judged as the pattern of its ARNs.
    fn cloudformation(&self, input: &query::Input) -> Permission {
        match field(input, "StackName") {
            "" => self.on("*"),
            arn if arn.starts_with("arn:") => self.on(arn),
            name => self.on(self.arn("cloudformation", &format!("stack/{name}/*"))),
        }
    }

    fn lambda(&self, path: &str) -> Option<Vec<Permission>> {
        let path = path.strip_prefix("/2015-03-31/functions/")?;
        let (name, action) = match path.strip_suffix("/configuration") {
            Some(name) => (name, "lambda:GetFunctionConfiguration"),
            None => (path.strip_suffix("/invocations")?, "lambda:InvokeFunction"),
        };
        Some(vec![Permission::new(action, self.arn("lambda", &format!("function:{name}")))])
    }
}

/// The tags of a request.
fn tags(input: &Value) -> Vec<(String, String)> {
    let tags = input["tags"].as_array().into_iter().flatten();
    tags.map(|tag| (text(tag, "Key").to_owned(), text(tag, "Value").to_owned())).collect()
}
