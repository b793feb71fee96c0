//! Decides each call of a role by the policies of the role and of the resource.
//!
//! A caller has a role if it is a function, whose role is in the template, or if its session token is
//! the ARN of an existing role. Every other caller is an administrator, such as the set-up of a test
//! or an operator. Each decision is recorded, so that a test can decide the same requests by other
//! documents.
//!
//! `requirements` lists the permissions that a call needs, and this module decides and words the
//! error, by
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>. `on_behalf`
//! is what services do for others, `repository_policy` knows whom a repository's policy names,
//! and [`mutation`] judges recorded requests by wrong documents.

pub mod mutation;
mod on_behalf;
mod repository_policy;
mod requirements;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;

use crate::call::{Called, Input};
use crate::policy::{Caller, Decision, Document, NotEvaluated, Request};
use crate::{LocalAws, State};

pub(crate) use on_behalf::{FunctionRole, UndeliveredEvent, schedule_session};
use requirements::{Permission, permissions};

/// A request that was judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Judgement {
    /// The request.
    pub request: Request,
    /// The decision about the request.
    pub verdict: Verdict,
}

/// Whether a request is allowed, and why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The request is allowed.
    Allowed,
    /// No policy of the role allows it.
    NoIdentityPolicy,
    /// No policy of the resource allows it, which has to.
    NoResourcePolicy,
    /// A policy of the role denies it.
    DeniedByIdentityPolicy,
    /// The policy of the resource denies it.
    DeniedByResourcePolicy,
}

/// Judges a request by the policies of its caller's role and by those of the resource.
///
/// Within one account a policy of either is enough, by
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-id-rdp.html>;
/// but a key's own policy has to allow it, or the account of the caller, by
/// <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>.
#[must_use]
pub fn judge(request: &Request, of_role: &[Document], of_resource: &[Document]) -> Verdict {
    let decide = |documents: &[Document]| {
        let decisions = documents.iter().map(|document| document.decide(request));
        decisions.max().unwrap_or(Decision::NoMatch)
    };
    let (of_role, of_resource) = (decide(of_role), decide(of_resource));
    let needs_resource_policy =
        request.action.starts_with("kms:") || matches!(request.caller, Caller::Service(_));
    match (of_role, of_resource) {
        (Decision::Denies, _) => Verdict::DeniedByIdentityPolicy,
        (_, Decision::Denies) => Verdict::DeniedByResourcePolicy,
        (_, Decision::NoMatch) if needs_resource_policy => Verdict::NoResourcePolicy,
        (_, Decision::Allows) | (Decision::Allows, _) => Verdict::Allowed,
        _ => Verdict::NoIdentityPolicy,
    }
}

/// A refused request, and how the service words it.
struct Denial {
    request: Request,
    verdict: Verdict,
}

impl LocalAws {
    /// The answer to a call that its caller may not make.
    pub(crate) fn denied(&self, called: &Called, input: &Input) -> Option<Response<Bytes>> {
        let mut state = self.state();
        let sender = state.caller(called)?;
        let permissions = match permissions(&state, called, input) {
            Ok(permissions) => permissions,
            Err(unknown) => return Some(called.error(input, 400, "NotJudgedHere", &unknown)),
        };
        for permission in permissions {
            let request = request(called, sender.clone(), permission);
            match state.authorize(request) {
                Ok(None) => {}
                Ok(Some(denial)) => return Some(denial.answer(called, input)),
                Err(error) => {
                    let message = error.to_string();
                    return Some(called.error(input, 400, "NotJudgedHere", &message));
                }
            }
        }
        None
    }
}

/// The request, with what the context says of every request.
fn request(called: &Called, sender: Caller, permission: Permission) -> Request {
    let Permission { action, resource, context } = permission;
    let mut context: BTreeMap<String, Vec<String>> =
        context.into_iter().map(|(key, values)| (key.to_lowercase(), values)).collect();
    let mut set = |key: &str, value: &str| {
        context.entry(key.to_owned()).or_insert_with(|| vec![value.to_owned()]);
    };
    set("aws:requestedregion", &called.region);
    set("aws:resourceaccount", &called.account);
    // The port speaks plain HTTP in place of the services' HTTPS.
    set("aws:securetransport", "true");
    match &sender {
        Caller::Role { arn, .. } => {
            set("aws:principalarn", arn);
            set("aws:principalaccount", arn.split(':').nth(4).unwrap_or_default());
            set("aws:principalisawsservice", "false");
        }
        Caller::Service(service) => {
            set("aws:principalservicename", service);
            set("aws:principalisawsservice", "true");
        }
    }
    Request { caller: sender, action, resource, context }
}

impl State {
    /// The role that makes a call; none for an administrator.
    fn caller(&self, called: &Called) -> Option<Caller> {
        let token = called.token.as_deref()?;
        let function = token.split('/').next().unwrap_or_default();
        if let Some(role) = self.roles.get(function) {
            return Some(Caller::Role { arn: role.arn.clone(), session: function.to_owned() });
        }
        self.iam.role_of(token)?;
        Some(Caller::Role { arn: token.to_owned(), session: "session".to_owned() })
    }

    /// Judges a request and records the judgement.
    fn authorize(&mut self, request: Request) -> Result<Option<Denial>, NotEvaluated> {
        let of_role = match &request.caller {
            Caller::Role { arn, .. } => self.iam.policies_of(arn)?,
            Caller::Service(_) => Vec::new(),
        };
        let of_resource = self.policies_of_resource(&request.resource)?;
        let verdict = judge(&request, &of_role, &of_resource);
        self.judgements.insert(Judgement { request: request.clone(), verdict });
        Ok((verdict != Verdict::Allowed).then_some(Denial { request, verdict }))
    }

    /// The policies of a resource.
    pub fn policies_of_resource(&mut self, arn: &str) -> Result<Vec<Document>, NotEvaluated> {
        if let Some(documents) = self.resource_policies.get(arn) {
            return Ok(documents.clone());
        }
        match arn.splitn(6, ':').collect::<Vec<_>>().as_slice() {
            [_, _, "ecr", region, account, repository] => {
                let name = repository.strip_prefix("repository/").unwrap_or_default();
                let repository = self.registry(account, region).repositories.get(name);
                let policy = repository.and_then(|repository| repository.policy.as_deref());
                policy.map(Document::parse).into_iter().collect()
            }
            [_, partition, "kms", _, account, _] => {
                // The policy of a key that somebody made by CloudFormation or an SDK without one.
                let everything = format!(
                    r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"arn:{partition}:iam::{account}:root"}},"Action":"kms:*","Resource":"*"}}}}"#
                );
                Ok(vec![Document::parse(&everything)?])
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl Denial {
    /// As the services word it.
    fn message(&self) -> String {
        let Request { caller, action, resource, .. } = &self.request;
        // Amazon SNS writes its own name in capitals.
        let action = action.replacen("sns:", "SNS:", 1);
        let why = match self.verdict {
            Verdict::Allowed | Verdict::NoIdentityPolicy => {
                format!("because no identity-based policy allows the {action} action")
            }
            Verdict::NoResourcePolicy => {
                format!("because no resource-based policy allows the {action} action")
            }
            Verdict::DeniedByIdentityPolicy => {
                "with an explicit deny in an identity-based policy".to_owned()
            }
            Verdict::DeniedByResourcePolicy => {
                "with an explicit deny in a resource-based policy".to_owned()
            }
        };
        let user = caller.arn();
        format!("User: {user} is not authorized to perform: {action} on resource: {resource} {why}")
    }

    /// The status and the code are validated against the service models of botocore, but for the
    /// status of SQS, which is a guess.
    fn answer(&self, called: &Called, input: &Input) -> Response<Bytes> {
        let is_key = self.request.action.starts_with("kms:");
        let (status, code) = match (called.service.as_str(), input) {
            (_, Input::Distribution { .. }) => (403, "DENIED"),
            ("sns", _) if is_key => (400, "KMSAccessDenied"),
            ("sns", _) => (403, "AuthorizationError"),
            ("iam" | "cloudformation", _) => (403, "AccessDenied"),
            ("inspector2" | "lambda", _) => (403, "AccessDeniedException"),
            ("ecr", _) if is_key => (400, "KmsException"),
            _ => (400, "AccessDeniedException"),
        };
        called.error(input, status, code, &self.message())
    }
}
