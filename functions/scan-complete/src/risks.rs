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

impl Risks {
    /// The parameter of this name.
    #[must_use]
    pub fn new(config: &SdkConfig, parameter: String) -> Self {
        Self { client: aws_sdk_ssm::Client::new(config), parameter }
    }

    /// Reads the accepted risks. One error names every mistake in them. One call.
    pub async fn read(&self) -> anyhow::Result<Vec<AcceptedRisk>> {
        let get = self.client.get_parameter().name(&self.parameter);
        let got = get.send().await.map_err(warden_aws::explain)?;
        let value = got.parameter.and_then(|it| it.value).context("it has no value")?;
        Ok(AcceptedRisk::parse_list(&value)?)
    }
}
