//! Connects the HTTP client of the SDK to the embedded AWS without a port and without a thread, so
//! that a test's runtime may pause the time.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::{LocalAws, REGION, slack};

impl LocalAws {
    /// A client configuration that calls the embedded AWS only, as a caller without a role.
    #[must_use]
    pub fn config(&self) -> SdkConfig {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "local-aws");
        let connector = SharedHttpConnector::new(self.clone());
        let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .http_client(client)
            .build()
    }

    /// A client configuration of the role or user with this ARN.
    #[must_use]
    pub fn config_of(&self, principal: &str) -> SdkConfig {
        let token = Some(principal.to_owned());
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", token, None, "local-aws");
        let credentials = SharedCredentialsProvider::new(credentials);
        self.config().into_builder().credentials_provider(credentials).build()
    }

    async fn connect(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request =
            request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap_or_default()));
        let reset = |reset: crate::server::Reset| ConnectorError::io(reset.into());
        let response = match request.uri().host() {
            Some(slack::HOST) => self.slack().answer(&request).await,
            _ => self.handle(request).await,
        };
        let response = response.map_err(reset)?.map(SdkBody::from);
        HttpResponse::try_from(response).map_err(|error| ConnectorError::user(error.into()))
    }
}

impl HttpConnector for LocalAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().connect(request))
    }
}
