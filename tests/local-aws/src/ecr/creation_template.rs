//! Repository creation templates: the settings of repositories that ECR creates on its own.
//!
//! Validated against the service model (botocore 1.44.8) and
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-creation-templates.html>: a
//! template applies to the names below its prefix, `ROOT` to names without a template, and only
//! when a repository is created for a reason that the template lists. Without a template,
//! replication creates a repository with ECR's defaults, and a push creates none.
//!
//! Guesses: the longest prefix decides. A push needs no right to create a repository, since ECR
//! creates it by its own role; the upload of a layer is enough of a push. The document of a
//! template's lifecycle policy is checked when the template is created. Nobody pulls through a
//! cache here, so `PULL_THROUGH_CACHE` is only kept.

use serde_json::{Value, json};

use super::{Call, Error, Page, Registry, Time, error, lifecycle, present, text, words};

/// Why ECR creates a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    Replication,
    Push,
}

impl Registry {
    pub(super) fn create_template(
        &mut self,
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        let prefix = text(input, "prefix").trim_end_matches('/');
        if self.settings.templates.contains_key(prefix) {
            let message = format!("The template with prefix '{prefix}' already exists");
            return Err(error("TemplateAlreadyExistsException", message));
        }
        if let Some(policy) = input["lifecyclePolicy"].as_str() {
            lifecycle::validate(policy)?;
        }
        let mut template = input.clone();
        template["prefix"] = prefix.into();
        template["imageTagMutability"] =
            input["imageTagMutability"].as_str().unwrap_or("MUTABLE").into();
        (template["createdAt"], template["updatedAt"]) = (call.now.into(), call.now.into());
        let template = present(template);
        self.settings.templates.insert(prefix.to_owned(), template.clone());
        Ok(json!({"registryId": self.account, "repositoryCreationTemplate": template}))
    }

    pub(super) fn describe_templates(&self, input: &Value) -> Result<Value, Error> {
        let asked = words(&input["prefixes"]);
        let page = Page::read(input, 100)?;
        let rest = (page.start(), std::ops::Bound::Unbounded);
        let rest = self.settings.templates.range::<str, _>(rest);
        let rest = rest.filter(|(prefix, _)| asked.is_empty() || asked.contains(prefix.as_str()));
        let (found, token) = page.cut(rest.map(|(prefix, template)| (prefix.clone(), template)));
        Ok(present(json!({
            "registryId": self.account,
            "repositoryCreationTemplates": found,
            "nextToken": token,
        })))
    }

    /// Creates a repository that does not exist yet, by its template.
    pub(crate) fn create_if_missing(&mut self, name: &str, reason: Reason, now: Time) {
        if self.repositories.contains_key(name) {
            return;
        }
        let template = self.template_for(name, reason);
        let template = match (template, reason) {
            (Some(template), _) => template,
            (None, Reason::Replication) => json!({}),
            (None, Reason::Push) => return,
        };
        let call = Call { operation: "CreateRepository", principal: None, now, endpoint: "" };
        let input = json!({
            "repositoryName": name,
            "imageTagMutability": template["imageTagMutability"],
            "imageTagMutabilityExclusionFilters": template["imageTagMutabilityExclusionFilters"],
            "encryptionConfiguration": template["encryptionConfiguration"],
            "tags": template["resourceTags"],
        });
        if self.create(&call, &present(input)).is_ok()
            && let Some(repository) = self.repositories.get_mut(name)
        {
            let text = |member: &str| template[member].as_str().map(str::to_owned);
            repository.lifecycle = text("lifecyclePolicy");
            repository.policy = text("repositoryPolicy");
        }
    }

    fn template_for(&self, name: &str, reason: Reason) -> Option<Value> {
        let reason = match reason {
            Reason::Replication => "REPLICATION",
            Reason::Push => "CREATE_ON_PUSH",
        };
        let is_below = |prefix: &str| {
            prefix == "ROOT" || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        let templates = self.settings.templates.iter().filter(|(prefix, template)| {
            is_below(prefix) && words(&template["appliedFor"]).contains(reason)
        });
        let length = |prefix: &str| if prefix == "ROOT" { 0 } else { prefix.len() };
        templates.max_by_key(|(prefix, _)| length(prefix)).map(|(_, template)| template.clone())
    }
}
