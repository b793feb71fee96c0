//! A webhook's URL, which is a secret: whoever has it can write into the channel.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{bail, ensure};
use http::Uri;

/// What a part of the path must have at least to be one that nobody could guess. The first of
/// Slack's, `services`, is everybody's.
const SECRET_PART: usize = 6;

/// The URL. It does not print, and there is one place that reads it.
pub struct WebhookUrl {
    url: String,
    path: String,
}

impl WebhookUrl {
    /// Reads what is in the secret: a URL of https, or of http if it leads to this machine. The
    /// error says what is wrong with it and nothing of what it is.
    pub fn parse(secret: &str) -> anyhow::Result<Self> {
        let text = secret.trim();
        ensure!(!text.is_empty(), "its value is empty: expected the webhook's URL");
        ensure!(
            !text.starts_with(['{', '"', '[']),
            "its value is JSON: expected the webhook's URL and nothing else, as plain text"
        );
        let uri = text.parse::<Uri>().ok().filter(|_| text.is_ascii());
        let Some(uri) = uri else { bail!("its value is no URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("its value is no URL: it lacks a scheme or a host");
        };
        ensure!(!authority.as_str().contains('@'), "its URL names a user before the host");
        match scheme {
            "https" => {}
            "http" => ensure!(
                is_loopback(authority.host()),
                "its URL is of http: expected https, or a host that is this machine"
            ),
            _ => bail!("its URL is of neither https nor http"),
        }
        ensure!(!text.contains('#'), "its URL has a fragment");
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        ensure!(uri.path() != "/", "its URL has no path: expected one such as /services/…");
        Ok(Self { url: text.to_owned(), path })
    }

    /// The URL itself, for sending to it.
    pub fn expose(&self) -> &str {
        &self.url
    }

    /// The text without what is secret of the URL: somebody between us and Slack may have
    /// answered with a page that repeats it.
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

/// Whether a host, as it stands in a URL, is this machine.
fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback())
        || v6.and_then(|it| it.parse::<Ipv6Addr>().ok()).is_some_and(|it| it.is_loopback())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const SECRET: &str = "marked-secret";

    fn check(url: &str, expected: &Expect) {
        let said = match WebhookUrl::parse(url) {
            Ok(url) => format!("{url:?}"),
            Err(error) => format!("{error:#}"),
        };
        assert!(!said.contains(SECRET) && !said.contains("example"), "{said}");
        expected.assert_eq(&said);
    }

    #[test]
    fn https_is_for_any_host_and_http_for_this_machine() {
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
    fn what_is_wrong_is_said_without_what_it_is() {
        check(" \n", &expect!["its value is empty: expected the webhook's URL"]);
        check(
            r#"{"url": "https://hooks.slack.com/services/marked-secret"}"#,
            &expect![
                "its value is JSON: expected the webhook's URL and nothing else, as plain text"
            ],
        );
        check("marked-secret", &expect!["its value is no URL: it lacks a scheme or a host"]);
        check(
            "/services/marked-secret",
            &expect!["its value is no URL: it lacks a scheme or a host"],
        );
        check("https://exa mple.com/marked-secret", &expect!["its value is no URL"]);
        check("https://example.com/é/marked-secret", &expect!["its value is no URL"]);
        check("https://example.com/a\nb/marked-secret", &expect!["its value is no URL"]);
        check("ftp://example.com/marked-secret", &expect!["its URL is of neither https nor http"]);
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
                &expect!["its URL is of http: expected https, or a host that is this machine"],
            );
        }
        check(
            "http://localhost@example.com/marked-secret",
            &expect!["its URL names a user before the host"],
        );
        check("https://example.com/a#marked-secret", &expect!["its URL has a fragment"]);
        check(
            "https://example.com",
            &expect!["its URL has no path: expected one such as /services/…"],
        );
    }

    #[test]
    fn a_page_that_repeats_the_url_does_not_repeat_the_secret() {
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
