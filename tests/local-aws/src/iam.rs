//! The managed policies and the roles of AWS IAM, by
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Operations.html> and the limits of
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.
//!
//! This module stores the policies, and [`crate::authorization`] decides calls by them. Users and
//! groups, instance profiles and the operations of inline policies are not served.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::ACCOUNT;
use crate::policy::grammar::{self, Kind};
use crate::policy::{Document, NotEvaluated};
use crate::query::{Input, element};

/// An error: status, code and message.
pub type Error = (u16, &'static str, String);

/// The maximum number of characters of a managed policy, without white space.
const POLICY_SIZE: usize = 6_144;
/// The maximum number of versions of a managed policy.
const VERSIONS: usize = 5;
/// The default quota of managed policies of a role.
const POLICIES_OF_A_ROLE: usize = 10;
/// The creation time of every entity.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// The policies and roles of the account.
#[derive(Default)]
pub struct Iam {
    /// The policies by ARN.
    pub policies: BTreeMap<String, Policy>,
    /// The roles, by name.
    pub roles: BTreeMap<String, Role>,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// The unique ID. A role that is created again under the same name has another one.
    pub id: String,
    /// The path, mostly `/`.
    pub path: String,
    /// The trust policy.
    pub trust: String,
    /// The inline policies of the role, by name.
    pub inline_policies: BTreeMap<String, Document>,
}

impl Default for Role {
    fn default() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            id: format!("AROA{number:017}"),
            path: "/".to_owned(),
            trust: trust.to_owned(),
            inline_policies: BTreeMap::new(),
        }
    }
}

/// A managed policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The documents of the versions, by number.
    pub versions: BTreeMap<u32, String>,
    /// The number of the default version.
    pub default: u32,
    /// The roles to which the policy is attached.
    pub roles: BTreeSet<String>,
    /// The users to which the policy is attached.
    pub users: BTreeSet<String>,
}

impl Iam {
    /// The role that an ARN names.
    #[must_use]
    pub fn role_of(&self, arn: &str) -> Option<&Role> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        self.roles.get(name).filter(|role| role_arn(name, role) == arn)
    }

    /// The inline and attached policies of a role. A role that does not exist has no policies.
    pub fn policies_of(&self, arn: &str) -> Result<Vec<Document>, NotEvaluated> {
        let Some(role) = self.role_of(arn) else { return Ok(Vec::new()) };
        let name = arn.rsplit('/').next().unwrap_or_default();
        let attached = self.policies.values().filter(|policy| policy.roles.contains(name));
        let attached = attached.filter_map(|policy| policy.versions.get(&policy.default));
        let inline = role.inline_policies.values().cloned().map(Ok);
        inline.chain(attached.map(|text| Document::parse(text))).collect()
    }

    /// Serves a call.
    pub fn serve(&mut self, operation: &str, input: &Input) -> Result<String, Error> {
        match operation {
            "CreatePolicy" => self.create_policy(input),
            "DeletePolicy" => self.delete_policy(input),
            "CreateRole" => self.create_role(input),
            "GetRole" => self.role(input).map(|role| describe_role(&text(input, "RoleName"), role)),
            "DeleteRole" => self.delete_role(input),
            "ListAttachedRolePolicies" => self.attached(input),
            "AttachRolePolicy" | "DetachRolePolicy" => {
                self.role(input)?;
                if operation == "AttachRolePolicy" {
                    self.check_attachments(input)?;
                }
                self.policy(input)?.serve(operation, input)
            }
            "GetPolicy"
            | "GetPolicyVersion"
            | "ListPolicyVersions"
            | "ListEntitiesForPolicy"
            | "CreatePolicyVersion"
            | "DeletePolicyVersion" => self.policy(input)?.serve(operation, input),
            _ => Err(not_served(operation)),
        }
    }

    fn role(&self, input: &Input) -> Result<&Role, Error> {
        let name = text(input, "RoleName");
        let missing = || no_such_entity(format!("The role with name {name} cannot be found."));
        self.roles.get(&name).ok_or_else(missing)
    }

    fn policy(&mut self, input: &Input) -> Result<&mut Policy, Error> {
        let arn = text(input, "PolicyArn");
        self.policies.get_mut(&arn).ok_or_else(|| missing(&arn))
    }

    fn create_policy(&mut self, input: &Input) -> Result<String, Error> {
        let name = name(input, "policyName", 128)?;
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy{}{name}", path(input));
        if self.policies.contains_key(&arn) {
            let message =
                format!("A policy called {name} already exists. Duplicate names are not allowed.");
            return Err((409, "EntityAlreadyExists", message));
        }
        let tag = |n: u32| {
            let field = |name: &str| input.get(&format!("Tags.member.{n}.{name}")).cloned();
            Some((field("Key")?, field("Value")?))
        };
        let policy = Policy {
            tags: (1..).map_while(tag).collect(),
            versions: BTreeMap::from([(
                1,
                document(input, "PolicyDocument", Kind::Identity, POLICY_SIZE)?,
            )]),
            default: 1,
            ..Policy::default()
        };
        let described = policy.describe(&arn);
        self.policies.insert(arn, policy);
        Ok(described)
    }

    fn delete_policy(&mut self, input: &Input) -> Result<String, Error> {
        let policy = self.policy(input)?;
        if !policy.roles.is_empty() || !policy.users.is_empty() {
            let message = "Cannot delete a policy attached to entities.".to_owned();
            return Err((409, "DeleteConflict", message));
        }
        if policy.versions.len() > 1 {
            let message = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions.".to_owned();
            return Err((409, "DeleteConflict", message));
        }
        self.policies.remove(&text(input, "PolicyArn"));
        Ok(String::new())
    }

    fn create_role(&mut self, input: &Input) -> Result<String, Error> {
        let name = name(input, "roleName", 64)?;
        if self.roles.contains_key(&name) {
            let message = format!("Role with name {name} already exists.");
            return Err((409, "EntityAlreadyExists", message));
        }
        let trust = document(input, "AssumeRolePolicyDocument", Kind::Trust, 2_048)?;
        let role = Role { path: path(input), trust, ..Role::default() };
        let described = describe_role(&name, &role);
        self.roles.insert(name, role);
        Ok(described)
    }

    fn delete_role(&mut self, input: &Input) -> Result<String, Error> {
        self.role(input)?;
        let name = text(input, "RoleName");
        if self.policies.values().any(|policy| policy.roles.contains(&name)) {
            let message = "Cannot delete entity, must detach all policies first.".to_owned();
            return Err((409, "DeleteConflict", message));
        }
        self.roles.remove(&name);
        Ok(String::new())
    }

    /// A role has at most ten managed policies. Attaching one of them again changes nothing.
    fn check_attachments(&self, input: &Input) -> Result<(), Error> {
        let (role, added) = (text(input, "RoleName"), text(input, "PolicyArn"));
        let attached = self.policies.iter().filter(|(_, policy)| policy.roles.contains(&role));
        let others = attached.filter(|(arn, _)| **arn != added).count();
        if others >= POLICIES_OF_A_ROLE {
            let message = format!("Cannot exceed quota for PoliciesPerRole: {POLICIES_OF_A_ROLE}");
            return Err((409, "LimitExceeded", message));
        }
        Ok(())
    }

    fn attached(&self, input: &Input) -> Result<String, Error> {
        self.role(input)?;
        let name = text(input, "RoleName");
        let attached = self.policies.iter().filter(|(_, policy)| policy.roles.contains(&name));
        let members = attached.map(|(arn, _)| {
            let name = arn.rsplit('/').next().unwrap_or_default();
            element("PolicyName", name) + &element("PolicyArn", arn)
        });
        Ok(page(input, "AttachedPolicies", members.collect()))
    }
}

impl Policy {
    fn serve(&mut self, operation: &str, input: &Input) -> Result<String, Error> {
        let arn = text(input, "PolicyArn");
        let version: u32 =
            text(input, "VersionId").trim_start_matches('v').parse().unwrap_or_default();
        match operation {
            "GetPolicy" => Ok(self.describe(&arn)),
            "GetPolicyVersion" => {
                let document = self.versions.get(&version).ok_or_else(|| missing(&arn))?;
                let encoded = utf8_percent_encode(document, NON_ALPHANUMERIC).to_string();
                let described = self.describe_version(version) + &element("Document", &encoded);
                Ok(format!("<PolicyVersion>{described}</PolicyVersion>"))
            }
            "ListPolicyVersions" => {
                let versions = self.versions.keys().rev();
                let members = versions.map(|version| self.describe_version(*version)).collect();
                Ok(page(input, "Versions", members))
            }
            "ListEntitiesForPolicy" => self.entities(input),
            "CreatePolicyVersion" => {
                let document = document(input, "PolicyDocument", Kind::Identity, POLICY_SIZE)?;
                if self.versions.len() >= VERSIONS {
                    let message = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.".to_owned();
                    return Err((409, "LimitExceeded", message));
                }
                let number = self.versions.keys().max().map_or(1, |last| last + 1);
                self.versions.insert(number, document);
                if text(input, "SetAsDefault") == "true" {
                    self.default = number;
                }
                Ok(format!("<PolicyVersion>{}</PolicyVersion>", self.describe_version(number)))
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
            _ => Err(not_served(operation)),
        }
    }

    fn describe(&self, arn: &str) -> String {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let tags = self.tags.iter().map(|(key, value)| {
            format!("<member>{}{}</member>", element("Key", key), element("Value", value))
        });
        let attached = self.roles.len() + self.users.len();
        let fields = [
            element("PolicyName", name),
            element("Arn", arn),
            element("DefaultVersionId", &format!("v{}", self.default)),
            element("AttachmentCount", &attached.to_string()),
            element("IsAttachable", "true"),
            element("CreateDate", CREATED),
            format!("<Tags>{}</Tags>", tags.collect::<String>()),
        ];
        format!("<Policy>{}</Policy>", fields.concat())
    }

    fn describe_version(&self, number: u32) -> String {
        [
            element("VersionId", &format!("v{number}")),
            element("IsDefaultVersion", &(number == self.default).to_string()),
            // A version is younger than the one before it.
            element(
                "CreateDate",
                &format!("2026-01-01T{:02}:{:02}:00Z", number / 60 % 24, number % 60),
            ),
        ]
        .concat()
    }

    fn entities(&self, input: &Input) -> Result<String, Error> {
        let none = BTreeSet::new();
        let boundary = text(input, "PolicyUsageFilter") == "PermissionsBoundary";
        let (roles, users) = if boundary { (&none, &none) } else { (&self.roles, &self.users) };
        let (roles, users) = match text(input, "EntityFilter").as_str() {
            "" => (roles, users),
            "Role" => (roles, &none),
            "User" => (&none, users),
            "Group" => (&none, &none),
            other => {
                let message = format!("EntityFilter {other} is not served");
                return Err((400, "ValidationError", message));
            }
        };
        let members = |names: &BTreeSet<String>, field: &str| {
            let names = names.iter().map(|name| element(field, name));
            names.map(|name| format!("<member>{name}</member>")).collect::<String>()
        };
        let (roles, users) = (members(roles, "RoleName"), members(users, "UserName"));
        Ok(format!(
            "<PolicyGroups/><PolicyRoles>{roles}</PolicyRoles><PolicyUsers>{users}</PolicyUsers>\
             <IsTruncated>false</IsTruncated>"
        ))
    }
}

fn not_served(operation: &str) -> Error {
    let message = format!("Could not find operation {operation} for version 2010-05-08");
    (400, "InvalidAction", message)
}

fn role_arn(name: &str, role: &Role) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role{}{name}", role.path)
}

fn describe_role(name: &str, role: &Role) -> String {
    let trust = utf8_percent_encode(&role.trust, NON_ALPHANUMERIC).to_string();
    let fields = [
        element("RoleName", name),
        element("Path", &role.path),
        element("Arn", &role_arn(name, role)),
        element("RoleId", &role.id),
        element("CreateDate", CREATED),
        element("AssumeRolePolicyDocument", &trust),
    ];
    format!("<Role>{}</Role>", fields.concat())
}

/// A list, from `Marker` on and with at most `MaxItems`.
fn page(input: &Input, name: &str, members: Vec<String>) -> String {
    let number = |name: &str, default: usize| text(input, name).parse().unwrap_or(default);
    let (skipped, most) = (number("Marker", 0), number("MaxItems", 100));
    let end = skipped.saturating_add(most);
    let more = members.len() > end;
    let members = members.into_iter().skip(skipped).take(most);
    let members: String = members.map(|member| format!("<member>{member}</member>")).collect();
    let marker = if more { element("Marker", &end.to_string()) } else { String::new() };
    format!("<{name}>{members}</{name}><IsTruncated>{more}</IsTruncated>{marker}")
}

/// Checks that IAM would store the policy document.
fn document(input: &Input, name: &str, kind: Kind, most: usize) -> Result<String, Error> {
    let document = text(input, name);
    grammar::check(&document, kind).map_err(|message| (400, "MalformedPolicyDocument", message))?;
    let size = document.chars().filter(|character| !character.is_whitespace()).count();
    if size > most {
        let message = format!("Cannot exceed quota for PolicySize: {most}");
        return Err((409, "LimitExceeded", message));
    }
    Ok(document)
}

/// A name of an entity: letters, digits and `+=,.@-_`, by the API reference. The words are those of
/// the service's validation of its model.
fn name(input: &Input, field: &str, most: usize) -> Result<String, Error> {
    let (first, rest) = field.split_at(1);
    let name = text(input, &format!("{}{rest}", first.to_uppercase()));
    let is_allowed = |it: char| {
        it.is_ascii_alphanumeric() || matches!(it, '+' | '=' | ',' | '.' | '@' | '-' | '_')
    };
    let fault = if name.is_empty() || name.chars().count() > most {
        format!("Member must have length less than or equal to {most}")
    } else if !name.chars().all(is_allowed) {
        "Member must satisfy regular expression pattern: [\\w+=,.@-]+".to_owned()
    } else {
        return Ok(name);
    };
    let message = format!(
        "1 validation error detected: Value at '{field}' failed to satisfy constraint: {fault}"
    );
    Err((400, "ValidationError", message))
}

fn path(input: &Input) -> String {
    match text(input, "Path") {
        path if path.is_empty() => "/".to_owned(),
        path => path,
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
