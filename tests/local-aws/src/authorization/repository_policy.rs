//! The principals of repository policies: Amazon ECR stores a role by its unique ID.
//!
//! A policy that names a role which does not exist is refused. If the role vanishes later, or is
//! made anew under the same name, `GetRepositoryPolicy` returns its unique ID in place of its
//! ARN, and that text cannot be put again. Validated against public reports of `Principal not
//! found` and <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-roles>;
//! that ECR shows the unique ID is validated for IAM and a guess for ECR.
//!
//! A test makes a principal vanish by removing the role from [`Iam::roles`].

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ecr::{Call, Error, model};
use crate::iam::Iam;
use crate::policy::grammar::{self, Kind};
use crate::{ACCOUNT, State};

impl State {
    /// Serves a call of ECR. Registries do not know which roles exist.
    pub(crate) fn serve_ecr(
        &mut self,
        (account, region): (&str, &str),
        call: &Call<'_>,
        input: &Value,
    ) -> Result<Value, Error> {
        self.registry(account, region);
        let key = (account.to_owned(), region.to_owned());
        let Self { registries, iam, .. } = self;
        let Some(registry) = registries.get_mut(&key) else {
            return Err(model::unsatisfied("registryId", "is not valid"));
        };
        let is_put = matches!(call.operation, "SetRepositoryPolicy" | "PutRegistryPolicy");
        let mut principals = BTreeMap::new();
        if is_put && model::check(call.operation, input).is_ok() {
            let kind = match call.operation {
                "SetRepositoryPolicy" => Kind::Repository,
                _ => Kind::Registry,
            };
            let text = input["policyText"].as_str().unwrap_or_default();
            let document = grammar::check(text, kind).map_err(|_| {
                model::unsatisfied("PolicyText", "Invalid repository policy provided")
            })?;
            principals = iam
                .unique_ids(&document)
                .map_err(|_| model::unsatisfied("PolicyText", "Principal not found"))?;
        }
        let mut answer = registry.serve(call, input)?;
        let name = input["repositoryName"].as_str().unwrap_or_default();
        if let Some(repository) = registry.repositories.get_mut(name) {
            match call.operation {
                "SetRepositoryPolicy" => repository.principals = principals,
                "GetRepositoryPolicy" => {
                    let text = answer["policyText"].as_str().unwrap_or_default();
                    answer["policyText"] = iam.with_unique_ids(text, &repository.principals).into();
                }
                _ => {}
            }
        }
        Ok(answer)
    }
}

/// A principal that does not exist.
struct NotFound;

impl Iam {
    /// The unique ID of each role that a policy names, by its ARN.
    fn unique_ids(&self, document: &Value) -> Result<BTreeMap<String, String>, NotFound> {
        let statements = match &document["Statement"] {
            Value::Array(statements) => statements.iter().collect(),
            statement => vec![statement],
        };
        let mut found = BTreeMap::new();
        for statement in statements {
            for element in ["Principal", "NotPrincipal"] {
                let named = match &statement[element]["AWS"] {
                    Value::Array(named) => named.iter().collect(),
                    named => vec![named],
                };
                for arn in named.into_iter().filter_map(Value::as_str) {
                    found.extend(self.unique_id(arn)?.map(|id| (arn.to_owned(), id)));
                }
            }
        }
        Ok(found)
    }

    /// The unique ID of a role of the account. Accounts, and roles of other accounts, are taken
    /// to exist; users do not exist here.
    fn unique_id(&self, principal: &str) -> Result<Option<String>, NotFound> {
        let is_account =
            principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit());
        if principal == "*" || is_account {
            return Ok(None);
        }
        let parts: Vec<&str> = principal.splitn(6, ':').collect();
        let &["arn", _, "iam" | "sts", "", account, named] = parts.as_slice() else {
            return Err(NotFound);
        };
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotFound);
        }
        if account != ACCOUNT || named == "root" {
            return Ok(None);
        }
        let role = self.role_of(principal).ok_or(NotFound)?;
        Ok(Some(role.id.clone()))
    }

    /// The text of a policy, with the unique IDs of roles that are gone in place of their ARNs.
    fn with_unique_ids(&self, text: &str, principals: &BTreeMap<String, String>) -> String {
        let gone = principals
            .iter()
            .filter(|(arn, id)| self.role_of(arn).is_none_or(|role| role.id != **id));
        gone.fold(text.to_owned(), |text, (arn, id)| {
            text.replace(&format!("\"{arn}\""), &format!("\"{id}\""))
        })
    }
}
