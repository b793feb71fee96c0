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
        let text = |name: &str| input.get(name).cloned().unwrap_or_default();
        let arn = text("PolicyArn");
        let missing =
            || (404, "NoSuchEntity", format!("Policy {arn} does not exist or is not attachable."));
        match operation {
            "CreatePolicy" => {
                let arn =
                    format!("arn:aws:iam::{ACCOUNT}:policy{}{}", text("Path"), text("PolicyName"));
                if self.policies.contains_key(&arn) {
                    return Err((
                        409,
                        "EntityAlreadyExists",
                        format!("A policy called {} already exists.", text("PolicyName")),
                    ));
                }
                let tags = (1..)
                    .map_while(|n| {
                        Some((
                            input.get(&format!("Tags.member.{n}.Key"))?,
                            input.get(&format!("Tags.member.{n}.Value"))?,
                        ))
                    })
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                let versions = BTreeMap::from([(1, text("PolicyDocument"))]);
                self.policies.insert(
                    arn.clone(),
                    Policy { tags, versions, default: 1, ..Policy::default() },
                );
                return Ok(format!("<Policy><Arn>{arn}</Arn></Policy>"));
            }
            "AttachRolePolicy" | "DetachRolePolicy" if !self.roles.contains(&text("RoleName")) => {
                return Err((
                    404,
                    "NoSuchEntity",
                    format!("The role with name {} cannot be found.", text("RoleName")),
                ));
            }
            _ => {}
        }
        let policy = self.policies.get_mut(&arn).ok_or_else(missing)?;
        let version =
            || text("VersionId").trim_start_matches('v').parse::<u32>().unwrap_or_default();
        match operation {
            "GetPolicy" => {
                let tags: String = policy
                    .tags
                    .iter()
                    .map(|(key, value)| {
                        format!("<member><Key>{key}</Key><Value>{value}</Value></member>")
                    })
                    .collect();
                Ok(format!(
                    "<Policy><Arn>{arn}</Arn><DefaultVersionId>v{}</DefaultVersionId><Tags>{tags}</Tags></Policy>",
                    policy.default
                ))
            }
            "GetPolicyVersion" => {
                let document = policy.versions.get(&version()).ok_or_else(missing)?;
                let encoded = utf8_percent_encode(document, NON_ALPHANUMERIC);
                Ok(format!(
                    "<PolicyVersion><Document>{encoded}</Document><VersionId>v{}</VersionId></PolicyVersion>",
                    version()
                ))
            }
            "ListPolicyVersions" => {
                let versions: String = policy
                    .versions
                    .keys()
                    .rev()
                    .map(|n| {
                        let default = *n == policy.default;
                        format!("<member><VersionId>v{n}</VersionId><IsDefaultVersion>{default}</IsDefaultVersion><CreateDate>2026-01-01T00:00:{n:02}Z</CreateDate></member>")
                    })
                    .collect();
                Ok(format!("<Versions>{versions}</Versions><IsTruncated>false</IsTruncated>"))
            }
            "ListEntitiesForPolicy" => {
                if text("PolicyUsageFilter") == "PermissionsBoundary" {
                    return Ok("<IsTruncated>false</IsTruncated>".to_owned());
                }
                let roles: String = policy
                    .roles
                    .iter()
                    .map(|name| format!("<member><RoleName>{name}</RoleName></member>"))
                    .collect();
                let users: String = policy
                    .users
                    .iter()
                    .map(|name| format!("<member><UserName>{name}</UserName></member>"))
                    .collect();
                Ok(format!(
                    "<PolicyRoles>{roles}</PolicyRoles><PolicyUsers>{users}</PolicyUsers><IsTruncated>false</IsTruncated>"
                ))
            }
            "CreatePolicyVersion" => {
                if policy.versions.len() >= 5 {
                    return Err((
                        409,
                        "LimitExceeded",
                        "A managed policy can have up to 5 versions.".to_owned(),
                    ));
                }
                let number = policy.versions.keys().max().map_or(1, |last| last + 1);
                policy.versions.insert(number, text("PolicyDocument"));
                if text("SetAsDefault") == "true" {
                    policy.default = number;
                }
                Ok(format!("<PolicyVersion><VersionId>v{number}</VersionId></PolicyVersion>"))
            }
            "DeletePolicyVersion" => {
                if version() == policy.default {
                    return Err((
                        409,
                        "DeleteConflict",
                        "Cannot delete the default version of a policy.".to_owned(),
                    ));
                }
                policy.versions.remove(&version()).map(|_| String::new()).ok_or_else(missing)
            }
            "AttachRolePolicy" => {
                policy.roles.insert(text("RoleName"));
                Ok(String::new())
            }
            "DetachRolePolicy" => {
                policy.roles.remove(&text("RoleName")).then(String::new).ok_or_else(missing)
            }
            "DeletePolicy" => {
                if !policy.roles.is_empty() || !policy.users.is_empty() || policy.versions.len() > 1
                {
                    return Err((
                        409,
                        "DeleteConflict",
                        "Cannot delete a policy attached to entities.".to_owned(),
                    ));
                }
                self.policies.remove(&arn);
                Ok(String::new())
            }
            _ => Err((
                400,
                "InvalidAction",
                format!("Could not find operation {operation} for version 2010-05-08"),
            )),
        }
    }
}
