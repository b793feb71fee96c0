//! AWS IAM, as far as managed policies and what they are attached to go.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::ACCOUNT;
use crate::query::Input;

/// An error: status, code and message.
pub type Error = (u16, &'static str, String);

/// The policies and roles of the account.
#[derive(Default)]
pub struct Iam {
    /// The policies by ARN.
    pub policies: BTreeMap<String, Policy>,
    /// The roles there are, by name.
    pub roles: BTreeSet<String>,
}

/// A managed policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its versions by number, each with its document.
    pub versions: BTreeMap<u32, String>,
    /// The number of its default version.
    pub default: u32,
    /// The roles it is attached to.
    pub roles: BTreeSet<String>,
    /// The users it is attached to.
    pub users: BTreeSet<String>,
}

impl Iam {
    /// Serves one call.
    pub fn serve(&mut self, operation: &str, input: &Input) -> Result<String, Error> {
        if operation == "CreatePolicy" {
            return self.create(input);
        }
        let (arn, role) = (text(input, "PolicyArn"), text(input, "RoleName"));
        if operation.ends_with("RolePolicy") && !self.roles.contains(&role) {
            return Err(no_such_entity(format!("The role with name {role} cannot be found.")));
        }
        let policy = self.policies.get_mut(&arn).ok_or_else(|| missing(&arn))?;
        if operation == "DeletePolicy" {
            if !policy.roles.is_empty() || !policy.users.is_empty() || policy.versions.len() > 1 {
                let message = "Cannot delete a policy attached to entities.".to_owned();
                return Err((409, "DeleteConflict", message));
            }
            self.policies.remove(&arn);
            return Ok(String::new());
        }
        policy.serve(operation, input)
    }

    fn create(&mut self, input: &Input) -> Result<String, Error> {
        let name = text(input, "PolicyName");
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy{}{name}", text(input, "Path"));
        if self.policies.contains_key(&arn) {
            let message = format!("A policy called {name} already exists.");
            return Err((409, "EntityAlreadyExists", message));
        }
        let tag = |n: u32| {
            let field = |name: &str| input.get(&format!("Tags.member.{n}.{name}")).cloned();
            Some((field("Key")?, field("Value")?))
        };
        let policy = Policy {
            tags: (1..).map_while(tag).collect(),
            versions: BTreeMap::from([(1, text(input, "PolicyDocument"))]),
            default: 1,
            ..Policy::default()
        };
        self.policies.insert(arn.clone(), policy);
        Ok(format!("<Policy><Arn>{arn}</Arn></Policy>"))
    }
}

impl Policy {
    fn serve(&mut self, operation: &str, input: &Input) -> Result<String, Error> {
        let arn = text(input, "PolicyArn");
        let version: u32 =
            text(input, "VersionId").trim_start_matches('v').parse().unwrap_or_default();
        match operation {
            "GetPolicy" => {
                let tag = |(key, value): (&String, &String)| {
                    format!("<member><Key>{key}</Key><Value>{value}</Value></member>")
                };
                let tags: String = self.tags.iter().map(tag).collect();
                let default = self.default;
                Ok(format!(
                    "<Policy><Arn>{arn}</Arn><DefaultVersionId>v{default}</DefaultVersionId>\
                     <Tags>{tags}</Tags></Policy>"
                ))
            }
            "GetPolicyVersion" => {
                let document = self.versions.get(&version).ok_or_else(|| missing(&arn))?;
                let encoded = utf8_percent_encode(document, NON_ALPHANUMERIC);
                Ok(format!("<PolicyVersion><Document>{encoded}</Document></PolicyVersion>"))
            }
            "ListPolicyVersions" => {
                let member = |n: &u32| {
                    let default = *n == self.default;
                    format!(
                        "<member><VersionId>v{n}</VersionId><IsDefaultVersion>{default}</IsDefaultVersion>\
                         <CreateDate>2026-01-01T00:00:{n:02}Z</CreateDate></member>"
                    )
                };
                let versions: String = self.versions.keys().rev().map(member).collect();
                Ok(format!("<Versions>{versions}</Versions><IsTruncated>false</IsTruncated>"))
            }
            "ListEntitiesForPolicy" => Ok(self.entities(&text(input, "PolicyUsageFilter"))),
            "CreatePolicyVersion" => {
                if self.versions.len() >= 5 {
                    let message = "A managed policy can have up to 5 versions.".to_owned();
                    return Err((409, "LimitExceeded", message));
                }
                let number = self.versions.keys().max().map_or(1, |last| last + 1);
                self.versions.insert(number, text(input, "PolicyDocument"));
                if text(input, "SetAsDefault") == "true" {
                    self.default = number;
                }
                Ok(format!("<PolicyVersion><VersionId>v{number}</VersionId></PolicyVersion>"))
            }
            "DeletePolicyVersion" if version == self.default => {
                let message = "Cannot delete the default version of a policy.".to_owned();
                Err((409, "DeleteConflict", message))
            }
            "DeletePolicyVersion" => {
                self.versions.remove(&version).map(|_| String::new()).ok_or_else(|| missing(&arn))
            }
            "AttachRolePolicy" => {
                self.roles.insert(text(input, "RoleName"));
                Ok(String::new())
            }
            "DetachRolePolicy" => {
                let detached = self.roles.remove(&text(input, "RoleName"));
                detached.then(String::new).ok_or_else(|| missing(&arn))
            }
            _ => {
                let message =
                    format!("Could not find operation {operation} for version 2010-05-08");
                Err((400, "InvalidAction", message))
            }
        }
    }

    fn entities(&self, usage: &str) -> String {
        let end = "<IsTruncated>false</IsTruncated>";
        if usage == "PermissionsBoundary" {
            return end.to_owned();
        }
        let list = |of: &BTreeSet<String>, field: &str| -> String {
            of.iter().map(|name| format!("<member><{field}>{name}</{field}></member>")).collect()
        };
        let (roles, users) = (list(&self.roles, "RoleName"), list(&self.users, "UserName"));
        format!("<PolicyRoles>{roles}</PolicyRoles><PolicyUsers>{users}</PolicyUsers>{end}")
    }
}

fn text(input: &Input, name: &str) -> String {
    input.get(name).cloned().unwrap_or_default()
}

fn missing(arn: &str) -> Error {
    no_such_entity(format!("Policy {arn} does not exist or is not attachable."))
}

fn no_such_entity(message: String) -> Error {
    (404, "NoSuchEntity", message)
}
