//! The parameter of accepted risks, in Parameter Store.

use anyhow::Context as _;
use aws_config::SdkConfig;
use warden_core::risks::AcceptedRisk;

/// The parameter.
#[derive(Debug)]
pub struct Risks {
    client: aws_sdk_ssm::Client,
    parameter: String,
}

/// A version of the parameter.
#[derive(Debug)]
pub struct RisksVersion {
    /// The number of the version.
    pub number: i64,
    /// When it was written, in seconds since 1970.
    pub at: i64,
    /// The list as JSON.
    pub value: String,
}

impl RisksVersion {
    /// The accepted risks. One error names every mistake in them.
    pub fn parse(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        Ok(AcceptedRisk::parse_list(&self.value)?)
    }
}

impl Risks {
    /// The parameter of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, parameter: String) -> Self {
        Self { client: aws_sdk_ssm::Client::new(config), parameter }
    }

    /// Reads the accepted risks. One error names every mistake in them. One call.
    pub async fn read(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        self.read_version().await?.parse()
    }

    /// Reads the newest version of the parameter. One call.
    pub async fn read_version(&self) -> anyhow::Result<RisksVersion> {
        let get = self.client.get_parameter().name(&self.parameter);
        let got = get.send().await.map_err(warden_aws::explain)?;
        let parameter = got.parameter.context("it has no value")?;
        Ok(RisksVersion {
            number: parameter.version,
            at: parameter.last_modified_date.map_or(0, |at| at.secs()),
            value: parameter.value.context("it has no value")?,
        })
    }
}
