//! Updates and removals of custom resources in a deployed stack, with the requests and events of
//! an update of the stack:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-monitor-stack.html>,
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-requesttypes.html>.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Created;
use super::stacks::DeployedResource;
use crate::LocalAws;
use crate::template::as_cloudformation_sends;

impl LocalAws {
    /// Updates a custom resource to these properties. An update that fails is rolled back. The
    /// error is the function's reason.
    pub async fn update_custom(&self, logical_id: &str, properties: Value) -> anyhow::Result<()> {
        let (stack, before) = self.find_custom(logical_id)?;
        let properties = as_cloudformation_sends(properties);
        let status = |status: &str| self.state().set_stack_status(&stack, status);
        status("UPDATE_IN_PROGRESS");
        match self.send_request(&stack, "Update", &before, &properties, &before.properties).await {
            Ok(created) => {
                status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
                if created.physical_id != before.physical_id {
                    // CloudFormation does not fail an update for a replaced resource that stays.
                    let _ = self.send_delete(&stack, &before).await;
                }
                self.change_stack(&stack, |stack| {
                    let resources = &mut stack.resources;
                    let resource = resources.iter_mut().find(|found| found.id == logical_id);
                    if let Some(resource) = resource {
                        resource.physical_id = created.physical_id;
                        resource.properties = properties;
                    }
                });
                status("UPDATE_COMPLETE");
                Ok(())
            }
            Err(error) => {
                status("UPDATE_ROLLBACK_IN_PROGRESS");
                let back =
                    self.send_request(&stack, "Update", &before, &before.properties, &properties);
                if back.await.is_ok() {
                    status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS");
                    status("UPDATE_ROLLBACK_COMPLETE");
                } else {
                    status("UPDATE_ROLLBACK_FAILED");
                }
                Err(error)
            }
        }
    }

    /// Removes a custom resource from the stack, as an update without the resource does.
    pub async fn remove_custom(&self, logical_id: &str) -> anyhow::Result<()> {
        let (stack, resource) = self.find_custom(logical_id)?;
        let status = |status: &str| self.state().set_stack_status(&stack, status);
        status("UPDATE_IN_PROGRESS");
        status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS");
        let removed = self.send_delete(&stack, &resource).await;
        self.change_stack(&stack, |stack| stack.resources.retain(|found| found.id != logical_id));
        status("UPDATE_COMPLETE");
        removed
    }

    /// The ID of the stack that has the resource, and the resource.
    fn find_custom(&self, logical_id: &str) -> anyhow::Result<(String, DeployedResource)> {
        let state = self.state();
        let mut resources = state.stacks.iter().flat_map(|stack| {
            stack.resources.iter().map(|resource| (stack.id.clone(), resource.clone()))
        });
        let found = resources.find(|(_, resource)| resource.id == logical_id);
        found.with_context(|| format!("no stack has the resource {logical_id}"))
    }

    async fn send_delete(&self, stack: &str, resource: &DeployedResource) -> anyhow::Result<()> {
        self.send_request(stack, "Delete", resource, &resource.properties, &Value::Null)
            .await
            .map(drop)
    }

    async fn send_request(
        &self,
        stack: &str,
        operation: &str,
        resource: &DeployedResource,
        properties: &Value,
        old_properties: &Value,
    ) -> anyhow::Result<Created> {
        let mut request = json!({
            "RequestType": operation,
            "StackId": stack,
            "LogicalResourceId": resource.id,
            "PhysicalResourceId": resource.physical_id,
            "ResourceType": resource.kind,
            "ResourceProperties": properties,
        });
        if operation == "Update" {
            request["OldResourceProperties"] = old_properties.clone();
        }
        self.state().record_request(&request);
        let created = self.ask_custom(request.clone()).await;
        self.record_end(&request, &created);
        created
    }
}
