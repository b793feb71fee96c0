//! The ARNs that this function reads and builds.

use std::fmt;
use std::str::FromStr;

pub use warden_aws::registry::{ADOPTED_TAG, OWNER_TAG};
use warden_core::image::RepositoryName;

/// The tag that stores `OnDelete` of the last accepted Create or Update.
pub const ON_DELETE_TAG: &str = "ecr-warden:on-delete";

/// The error for a text that is not the expected ARN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the ARN of {0}")]
pub struct InvalidArn(pub &'static str);

/// An ARN in its six parts.
struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (Some("arn"), partition) = (parts.next(), parts.next()?) else {
            return None;
        };
        Some(Self {
            partition,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next().filter(|account| is_account(account))?,
            resource: parts.next()?,
        })
    }
}

/// Whether `text` is an account ID: twelve digits.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A stack, from its ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// The region of the stack and of all its resources.
    pub region: String,
    /// The account, twelve digits.
    pub account: String,
    /// The stack's name.
    pub name: String,
    /// The first group of the stack's unique ID, which differs between stacks of the same name.
    pub short_id: String,
}

impl FromStr for Stack {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let arn = Arn::split(text).filter(|arn| arn.service == "cloudformation")?;
            let (name, id) = arn.resource.strip_prefix("stack/")?.split_once('/')?;
            Some(Self {
                partition: arn.partition.to_owned(),
                region: arn.region.to_owned(),
                account: arn.account.to_owned(),
                name: name.to_owned(),
                short_id: id.split('-').next()?.to_owned(),
            })
        };
        parse().ok_or(InvalidArn("a stack"))
    }
}

impl Stack {
    /// The ARN of a repository of this account and region.
    #[must_use]
    pub fn repository(&self, name: &RepositoryName) -> RepositoryArn {
        RepositoryArn {
            registry: format!("arn:{}:ecr:{}:{}", self.partition, self.region, self.account),
            name: name.clone(),
        }
    }
}

/// The ARN of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryArn {
    registry: String,
    /// The repository's name.
    pub name: RepositoryName,
}

impl FromStr for RepositoryArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let arn = Arn::split(text).filter(|arn| arn.service == "ecr")?;
            let name = arn.resource.strip_prefix("repository/")?.parse().ok()?;
            let Arn { partition, region, account, .. } = arn;
            Some(Self { registry: format!("arn:{partition}:ecr:{region}:{account}"), name })
        };
        parse().ok_or(InvalidArn("an ECR repository"))
    }
}

impl fmt::Display for RepositoryArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:repository/{}", self.registry, self.name)
    }
}

/// The ARN of an IAM role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn {
    /// The ARN as text.
    pub arn: String,
    /// The account, twelve digits.
    pub account: String,
    /// The role's name, without its path: unique in the account.
    pub name: String,
}

impl FromStr for RoleArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let arn =
                Arn::split(text).filter(|arn| arn.service == "iam" && arn.region.is_empty())?;
            let name = arn.resource.strip_prefix("role/")?.rsplit('/').next()?;
            let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
            ((1..=64).contains(&name.len()) && name.bytes().all(valid)).then(|| Self {
                arn: text.to_owned(),
                account: arn.account.to_owned(),
                name: name.to_owned(),
            })
        };
        parse().ok_or(InvalidArn("an IAM role"))
    }
}

/// The ARN of a KMS key. The ARN of an alias is refused, because ECR returns the ARN of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyArn {
    /// The ARN as text.
    pub arn: String,
    /// The region, which must be the region of the repository.
    pub region: String,
}

impl FromStr for KeyArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Arn::split(text)
            .filter(|arn| arn.service == "kms" && arn.resource.starts_with("key/"))
            .map(|arn| Self { arn: text.to_owned(), region: arn.region.to_owned() })
            .ok_or(InvalidArn("a KMS key (not of an alias)"))
    }
}
