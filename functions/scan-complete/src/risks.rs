//! Reads the accepted risks from their parameter in Parameter Store.

use anyhow::Context as _;
use aws_config::SdkConfig;
use warden_core::risks::AcceptedRisk;

/// The client of the parameter of accepted risks.
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
    /// The time of the write, in seconds since 1970.
    pub at: i64,
    /// The list as JSON.
    pub value: String,
}

impl RisksVersion {
    /// Parses the accepted risks. One error names every mistake in the list.
    pub fn parse(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        Ok(AcceptedRisk::parse_list(&self.value)?)
    }
}

impl Risks {
    /// Builds the client for the parameter of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, parameter: String) -> Self {
        Self { client: aws_sdk_ssm::Client::new(config), parameter }
    }

    /// Reads the accepted risks, with one call. One error names every mistake in the list.
    pub async fn read(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        self.read_version().await?.parse()
    }

    /// Reads the newest version of the parameter, with one call.
    pub async fn read_version(&self) -> anyhow::Result<RisksVersion> {
        let get = self.client.get_parameter().name(&self.parameter);
        let got = get.send().await.map_err(warden_aws::explain)?;
        let parameter = got.parameter.context("the parameter has no value")?;
        Ok(RisksVersion {
            number: parameter.version,
            at: parameter.last_modified_date.map_or(0, |at| at.secs()),
            value: parameter.value.context("the parameter has no value")?,
        })
    }
}
