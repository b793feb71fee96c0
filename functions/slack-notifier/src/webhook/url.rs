//! The URL of a webhook. The URL is secret, because everybody who has it can write to the channel.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{bail, ensure};
use http::Uri;

/// The fewest characters of a secret part of the path. The first part of every URL of Slack is `services`,
/// which is not secret.
const SECRET_PART: usize = 6;

/// The URL. No format prints the URL, and only [`WebhookUrl::expose`] returns it.
pub struct WebhookUrl {
    url: String,
    path: String,
}

impl WebhookUrl {
    /// Reads the value of the secret: a URL of https, or a URL of http to this machine. The error states the
    /// problem, and repeats no part of the value.
    pub fn parse(secret: &str) -> anyhow::Result<Self> {
        let text = secret.trim();
        ensure!(!text.is_empty(), "the value is empty: expected the URL of the webhook");
        ensure!(
            !text.starts_with(['{', '"', '[']),
            "the value is JSON: expected only the URL of the webhook, as plain text"
        );
        let uri = text.parse::<Uri>().ok().filter(|_| text.is_ascii());
        let Some(uri) = uri else { bail!("the value is not a URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("the value is not a URL: the scheme or the host is missing");
        };
        ensure!(!authority.as_str().contains('@'), "the URL has a user before the host");
        match scheme {
            "https" => {}
            "http" => ensure!(
                is_loopback(authority.host()),
                "the URL is of http: expected https, or a host that is this machine"
            ),
            _ => bail!("the URL is of neither https nor http"),
        }
        ensure!(!text.contains('#'), "the URL has a fragment");
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        ensure!(uri.path() != "/", "the URL has no path: expected a path such as /services/…");
        Ok(Self { url: text.to_owned(), path })
    }

    /// The URL as text, for a request.
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// The text without the secret parts of the URL. A proxy can send a response that repeats the URL.
    pub fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.path, "…");
        let parts = self.path.split(['/', '?', '&', '=']);
        let secret = parts.filter(|part| part.len() >= SECRET_PART && *part != "services");
        secret.fold(text, |text, part| text.replace(part, "…"))
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(…)")
    }
}

/// Whether a host of a URL is this machine.
fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || v6
            .and_then(|host| host.parse::<Ipv6Addr>().ok())
            .is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const SECRET: &str = "marked-secret";

    fn check(url: &str, expected: &Expect) {
        let printed = match WebhookUrl::parse(url) {
            Ok(url) => format!("{url:?}"),
            Err(error) => format!("{error:#}"),
        };
        assert!(!printed.contains(SECRET) && !printed.contains("example"), "{printed}");
        expected.assert_eq(&printed);
    }

    #[test]
    fn any_host_is_allowed_with_https_and_only_this_machine_with_http() {
        for url in [
            "https://hooks.slack.com/services/T000/B000/marked-secret",
            "  https://example.com:8443/services/marked-secret?a=b\n",
            "http://127.0.0.1:4566/services/marked-secret",
            "http://127.1.2.3/services/marked-secret",
            "http://[::1]:4566/services/marked-secret",
            "http://localhost:4566/services/marked-secret",
        ] {
            check(url, &expect!["WebhookUrl(…)"]);
        }
    }

    #[test]
    fn an_error_states_the_problem_without_the_value() {
        check(" \n", &expect!["the value is empty: expected the URL of the webhook"]);
        check(
            r#"{"url": "https://hooks.slack.com/services/marked-secret"}"#,
            &expect!["the value is JSON: expected only the URL of the webhook, as plain text"],
        );
        check(
            "marked-secret",
            &expect!["the value is not a URL: the scheme or the host is missing"],
        );
        check(
            "/services/marked-secret",
            &expect!["the value is not a URL: the scheme or the host is missing"],
        );
        check("https://exa mple.com/marked-secret", &expect!["the value is not a URL"]);
        check("https://example.com/é/marked-secret", &expect!["the value is not a URL"]);
        check("https://example.com/a\nb/marked-secret", &expect!["the value is not a URL"]);
        check("ftp://example.com/marked-secret", &expect!["the URL is of neither https nor http"]);
        for url in [
            "http://example.com/marked-secret",
            "http://127.0.0.1.example.com/marked-secret",
            "http://localhost.example.com/marked-secret",
            "http://0.0.0.0/marked-secret",
            "http://169.254.169.254/marked-secret",
            "http://[2001:db8::1]/marked-secret",
        ] {
            check(
                url,
                &expect!["the URL is of http: expected https, or a host that is this machine"],
            );
        }
        check(
            "http://localhost@example.com/marked-secret",
            &expect!["the URL has a user before the host"],
        );
        check("https://example.com/a#marked-secret", &expect!["the URL has a fragment"]);
        check(
            "https://example.com",
            &expect!["the URL has no path: expected a path such as /services/…"],
        );
    }

    #[test]
    fn the_secret_is_removed_from_a_response_that_repeats_the_url() {
        let url = "https://hooks.slack.com/services/T0000000/B0000000/marked-secret";
        let url = WebhookUrl::parse(url).unwrap();
        assert_eq!(
            url.redact("Cannot POST /services/T0000000/B0000000/marked-secret"),
            "Cannot POST …"
        );
        assert_eq!(url.redact("&#x2F;services&#x2F;marked-secret"), "&#x2F;services&#x2F;…");
        assert_eq!(url.redact("no_service"), "no_service");
    }
}
