//! The requests of CloudFormation, by
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html>.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::Value;

use crate::arn::Stack;

/// The physical ID of a resource that was never created. A Delete with this ID changes nothing.
pub const NOTHING_MADE: &str = "ecr-warden:nothing-made";

/// A request. Only the URL of the answer is required: the answer reports every other missing field.
#[derive(Clone, Debug)]
pub struct Request {
    /// `Create`, `Update` or `Delete`.
    pub request_type: String,
    /// The ID of the request, which stays the same when the request is delivered again.
    pub request_id: String,
    /// The ARN of the stack.
    pub stack_id: String,
    /// The URL that receives the answer.
    pub response_url: ResponseUrl,
    /// `Custom::…`.
    pub resource_type: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// The physical ID from an earlier answer. Absent on Create.
    pub physical_resource_id: Option<String>,
    /// The properties from the template. Every scalar is a string.
    pub properties: Value,
    /// The properties before an update.
    pub old_properties: Value,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Create the resource.
    Create,
    /// Change the resource. A roll-back is an Update with the new and the old properties exchanged.
    Update,
    /// Delete the resource, or stop governing it.
    Delete,
}

/// A presigned URL. Anybody with the URL can answer CloudFormation, so the URL is never printed.
#[derive(Clone)]
pub struct ResponseUrl(pub String);

impl ResponseUrl {
    /// The host of the URL, which is no secret and may be logged. None if the text is not a URL with a host.
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

    /// The kind of the request.
    pub fn kind(&self) -> anyhow::Result<Kind> {
        match self.request_type.as_str() {
            "Create" => Ok(Kind::Create),
            "Update" => Ok(Kind::Update),
            "Delete" => Ok(Kind::Delete),
            other => anyhow::bail!("RequestType: expected Create, Update or Delete, got {other:?}"),
        }
    }

    /// The stack that sent the request. Its account and region hold all resources.
    pub fn stack(&self) -> anyhow::Result<Stack> {
        self.stack_id.parse().ok().with_context(|| {
            format!("StackId: expected the ARN of a stack, got {:?}", self.stack_id)
        })
    }

    /// The value of the tag [`crate::arn::OWNER_TAG`] on a resource that this custom resource created.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}/{}", self.stack_id, self.logical_resource_id)
    }
}

/// The physical ID for the answer. The work sets the ID before it creates something, so that an early
/// answer names the resource that a later Delete has to remove.
#[derive(Clone)]
pub struct PhysicalId(Arc<Mutex<String>>);

impl PhysicalId {
    /// The physical ID of the request: a failed Update must answer with the same ID.
    #[must_use]
    pub fn from_request(request: &Request) -> Self {
        let id = request.physical_resource_id.clone();
        Self(Arc::new(Mutex::new(id.unwrap_or_else(|| NOTHING_MADE.to_owned()))))
    }

    /// The current ID.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the ID for the answer.
    pub fn set(&self, id: &str) {
        id.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
