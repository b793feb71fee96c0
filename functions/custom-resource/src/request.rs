//! What CloudFormation sends: the request objects of
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html>.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::Value;

use crate::arn::Stack;

/// The physical ID of a resource that was never made. Its Delete touches nothing.
pub const NOTHING_MADE: &str = "ecr-warden:nothing-made";

/// One request. Read leniently: what is missing is reported by the answer, so nothing but
/// somewhere to send it is required.
#[derive(Clone, Debug)]
pub struct Request {
    /// `Create`, `Update` or `Delete`.
    pub request_type: String,
    /// Unique for this request, and the same when it is delivered again.
    pub request_id: String,
    /// The ARN of the stack.
    pub stack_id: String,
    /// Where the answer goes.
    pub response_url: ResponseUrl,
    /// `Custom::…`.
    pub resource_type: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// What an earlier answer called the resource; absent on Create.
    pub physical_resource_id: Option<String>,
    /// The properties in the template, every scalar a string.
    pub properties: Value,
    /// The properties before an update.
    pub old_properties: Value,
}

/// What CloudFormation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Make it.
    Create,
    /// Change it. A roll-back is an update like any other, new and old swapped.
    Update,
    /// Remove it, or let it go.
    Delete,
}

/// A presigned URL: whoever has it can answer in our name. It does not print.
#[derive(Clone)]
pub struct ResponseUrl(pub String);

impl ResponseUrl {
    /// The host of the URL, to be logged: it is no secret. None if the text is no URL with a host.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        let uri: http::Uri = self.0.parse().ok()?;
        uri.host().map(|host| host.chars().take(255).collect())
    }
}

impl fmt::Debug for ResponseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseUrl(…)")
    }
}

impl Request {
    /// Reads a request; `None` if there is no URL to answer to.
    #[must_use]
    pub fn read(payload: &Value) -> Option<Self> {
        let text = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let value = |name: &str| payload.get(name).cloned().unwrap_or_default();
        Some(Self {
            response_url: ResponseUrl(text("ResponseURL")?),
            request_type: text("RequestType").unwrap_or_default(),
            request_id: text("RequestId").unwrap_or_default(),
            stack_id: text("StackId").unwrap_or_default(),
            resource_type: text("ResourceType").unwrap_or_default(),
            logical_resource_id: text("LogicalResourceId").unwrap_or_default(),
            physical_resource_id: text("PhysicalResourceId"),
            properties: value("ResourceProperties"),
            old_properties: value("OldResourceProperties"),
        })
    }

    /// What is asked for.
    pub fn kind(&self) -> anyhow::Result<Kind> {
        match self.request_type.as_str() {
            "Create" => Ok(Kind::Create),
            "Update" => Ok(Kind::Update),
            "Delete" => Ok(Kind::Delete),
            other => anyhow::bail!("RequestType: expected Create, Update or Delete, got {other:?}"),
        }
    }

    /// The stack that asks: its account and region are where everything is made.
    pub fn stack(&self) -> anyhow::Result<Stack> {
        self.stack_id.parse().ok().with_context(|| {
            format!("StackId: expected the ARN of a stack, got {:?}", self.stack_id)
        })
    }

    /// What marks a resource as made for this request's resource, in the tag
    /// [`crate::arn::OWNER_TAG`].
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}/{}", self.stack_id, self.logical_resource_id)
    }
}

/// The physical ID that an answer would carry if it were sent now. The work sets it before
/// it makes something, so that an answer in the middle names what a Delete has to remove.
#[derive(Clone)]
pub struct PhysicalId(Arc<Mutex<String>>);

impl PhysicalId {
    /// The one that the request came with: an update that fails must answer with it.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let id = request.physical_resource_id.clone();
        Self(Arc::new(Mutex::new(id.unwrap_or_else(|| NOTHING_MADE.to_owned()))))
    }

    /// The ID as it stands.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets what a later answer carries.
    pub fn set(&self, id: &str) {
        id.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
