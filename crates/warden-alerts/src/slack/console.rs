//! URLs of the AWS console.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The page of an image. Returns `None` where an argument is malformed: the URL could lead elsewhere.
pub fn image(region: &str, account: &str, repository: &str, digest: &str) -> Option<String> {
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    let is_repository = repository.bytes().all(is_name) && !repository.contains("..");
    let hex = digest.strip_prefix("sha256:")?;
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let console = console(region)?;
    (is_account && is_repository && !repository.is_empty() && is_digest).then(|| {
        format!(
            "https://{console}/ecr/repositories/private/{account}/{repository}/_/image/{digest}/details?region={region}"
        )
    })
}

/// The page of an alarm.
pub fn alarm(region: &str, name: &str) -> Option<String> {
    let console = console(region)?;
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    Some(format!("https://{console}/cloudwatch/home?region={region}#alarmsV2:alarm/{name}"))
}

/// The host of the console in a region. Each partition has its own.
fn console(region: &str) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = (1..=32).contains(&region.len()) && region.bytes().all(is_letter);
    let domain = match region {
        _ if region.starts_with("cn-") => "console.amazonaws.cn",
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    (is_region && !region.starts_with('-')).then(|| format!("{region}.{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_own_console() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (region, host) in [
            ("us-east-1", "us-east-1.console.aws.amazon.com"),
            ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
            ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ] {
            assert_eq!(
                image(region, "123456789012", "team/app", &digest).unwrap(),
                format!(
                    "https://{host}/ecr/repositories/private/123456789012/team/app/_/image/{digest}/details?region={region}"
                )
            );
        }
        assert_eq!(
            alarm("us-east-1", "Failed events/1").unwrap(),
            "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#alarmsV2:alarm/Failed%20events%2F1"
        );
    }

    #[test]
    fn a_malformed_name_has_no_page() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(image("evil.com/", "123456789012", "app", &digest), None);
        assert_eq!(image("us-east-1", "12345678901", "app", &digest), None);
        assert_eq!(image("us-east-1", "123456789012", "app/../../x", &digest), None);
        assert_eq!(image("us-east-1", "123456789012", "app?", &digest), None);
        assert_eq!(image("us-east-1", "123456789012", "app", "sha256:0"), None);
        assert_eq!(alarm("", "x"), None);
    }
}
