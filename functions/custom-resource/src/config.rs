//! The configuration, from the environment variables.

use anyhow::Context as _;
use warden_aws::environment::Variables;

use crate::arn::Stack;
use crate::response::ResponseOrigins;

/// The configuration, valid as a whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ARN of the stack that the function belongs to (`STACK_ID`).
    pub stack_id: String,
    /// The origins that may receive an answer: the hosts of CloudFormation, built from the stack's region
    /// and the domain of AWS in the partition (`URL_SUFFIX`), and the origin of a test bed
    /// (`CUSTOM_RESOURCE_RESPONSE_ORIGIN`, which the template does not set).
    pub response_origins: ResponseOrigins,
    /// The name of the ledger's table (`LEDGER_TABLE`).
    pub table: String,
}

impl Config {
    /// Reads the variables. The error names the wrong variable.
    pub fn read(variables: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let variables = Variables::new(variables);
        let stack_id = variables.filled("STACK_ID")?;
        let stack: Stack = stack_id.parse().context("STACK_ID")?;
        let suffix = variables.filled("URL_SUFFIX")?;
        let test_bed = variables.filled("CUSTOM_RESOURCE_RESPONSE_ORIGIN").ok();
        let response_origins = ResponseOrigins::new(&stack.region, &suffix, test_bed);
        let table = variables.filled("LEDGER_TABLE")?;
        Ok(Self { stack_id, response_origins, table })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::request::ResponseUrl;

    fn read(region: &str, suffix: &str, test_bed: Option<&str>) -> Config {
        let stack_id =
            format!("arn:aws:cloudformation:{region}:123456789012:stack/warden/5f2c1a30-0");
        let variables = [
            ("STACK_ID", Some(stack_id.as_str())),
            ("URL_SUFFIX", Some(suffix)),
            ("LEDGER_TABLE", Some("ledger")),
            ("CUSTOM_RESOURCE_RESPONSE_ORIGIN", test_bed),
        ];
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Config::read(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
    }

    fn is_allowed(config: &Config, url: &str) -> bool {
        config.response_origins.allow(&ResponseUrl(url.to_owned()))
    }

    #[test]
    fn an_answer_goes_to_the_bucket_of_cloudformation_in_the_region_of_the_stack() {
        for (region, suffix, host) in [
            ("us-east-1", "amazonaws.com", "response-useast1.s3.amazonaws.com"),
            ("us-east-1", "amazonaws.com", "response-useast1.s3.us-east-1.amazonaws.com"),
            ("eu-west-1", "amazonaws.com", "response-euwest1.s3-eu-west-1.amazonaws.com"),
            ("cn-north-1", "amazonaws.com.cn", "response-cnnorth1.s3.cn-north-1.amazonaws.com.cn"),
            (
                "us-gov-west-1",
                "amazonaws.com",
                "response-usgovwest1.s3-us-gov-west-1.amazonaws.com",
            ),
            ("us-iso-east-1", "c2s.ic.gov", "response-usisoeast1.s3.us-iso-east-1.c2s.ic.gov"),
        ] {
            let url = format!("https://cloudformation-custom-resource-{host}/stack?Signature=x");
            assert!(is_allowed(&read(region, suffix, None), &url), "{url}");
        }
    }

    #[test]
    fn an_answer_goes_to_no_other_host() {
        let config = read("us-east-1", "amazonaws.com", None);
        let bucket = "cloudformation-custom-resource-response-useast1";
        for url in [
            &format!("http://{bucket}.s3.amazonaws.com/x"),
            &format!("https://{bucket}.s3.amazonaws.com:8443/x"),
            &format!("https://{bucket}.s3.amazonaws.com@example.com/x"),
            &format!("https://x@{bucket}.s3.amazonaws.com/x"),
            &format!("https://{bucket}.s3.amazonaws.com.example.com/x"),
            &format!("https://{bucket}.s3.us-west-2.amazonaws.com/x"),
            &format!("https://{bucket}.example.com/x"),
            "https://cloudformation-custom-resource-response-useast12.s3.amazonaws.com/x",
            "https://cloudformation-custom-resource-response-us-east-1.s3.amazonaws.com/x",
            "https://s3.amazonaws.com/cloudformation-custom-resource-response-useast1/x",
            "https://example.com/",
            "http://127.0.0.1:4566/x",
            "",
        ] {
            assert!(!is_allowed(&config, url), "{url}");
        }
    }

    #[test]
    fn the_test_bed_adds_its_own_origin() {
        let config = read("us-east-1", "amazonaws.com", Some("http://127.0.0.1:4566"));
        assert!(is_allowed(&config, "http://127.0.0.1:4566/arn"));
        for url in ["http://127.0.0.1:45667/arn", "http://127.0.0.1:4566", "http://127.0.0.1/"] {
            assert!(!is_allowed(&config, url), "{url}");
        }
    }

    #[test]
    fn the_wrong_variable_is_named() {
        let read = |variables: &[(&str, &str)]| {
            let variables =
                variables.iter().map(|(name, to)| ((*name).to_owned(), (*to).to_owned()));
            format!("{:#}\n", Config::read(variables).unwrap_err())
        };
        let stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-0";
        let errors = read(&[]) + &read(&[("STACK_ID", "x")]) + &read(&[("STACK_ID", stack)]);
        expect![[r#"
            STACK_ID is not set
            STACK_ID: expected the ARN of a stack
            URL_SUFFIX is not set
        "#]]
        .assert_eq(&errors);
    }
}
