//! Texts from outside in the syntax of Slack: sanitised, escaped, and within a limit.
//!
//! <https://docs.slack.dev/messaging/formatting-message-text>

use std::borrow::Cow;
use std::fmt::Write as _;

use warden_core::text::one_line;

/// The most characters of the URL of a link. Slack documents 3,000 for buttons, and nothing for
/// links.
const LONGEST_URL: usize = 1_000;

/// The length as Slack counts it, at most. Slack does not document its unit; UTF-16 gives the
/// largest number of all units but bytes.
pub fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Escapes a character for Slack.
fn escaped(c: char) -> Cow<'static, str> {
    match c {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        c => c.to_string().into(),
    }
}

/// The text, escaped, with at most `limit` characters after the escaping. A longer text ends with
/// an ellipsis, after a whole line if a line ends not far from there.
pub fn fitted(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    // The end of the text, if the text turns out to be too long.
    let mut end = 0;
    for c in text.chars() {
        let c = escaped(c);
        used += length(&c);
        if used > limit {
            out.truncate(end);
            let by_line = out.rfind('\n').filter(|at| at * 4 >= end * 3);
            out.truncate(by_line.unwrap_or(end));
            return out + "…";
        }
        out.push_str(&c);
        if used < limit {
            end = out.len();
        }
    }
    out
}

/// The text as one line of code, with at most `limit` characters.
pub fn code(text: &str, limit: usize) -> String {
    // A code span cannot contain a backtick, and Slack shows no empty one.
    let text = one_line(text).replace('`', "'");
    let text = if text.is_empty() { "none" } else { &text };
    format!("`{}`", fitted(text, limit.saturating_sub(2)))
}

/// A link to an `https` URL, or the text as code where there is no such URL.
pub fn link(url: Option<&str>, text: &str, limit: usize) -> String {
    let shown = one_line(text).replace('`', "'");
    match url.and_then(https) {
        Some(url) if !shown.is_empty() => {
            format!("<{url}|{}>", fitted(&shown.replace('|', "/"), limit))
        }
        _ => code(text, limit),
    }
}

/// An `https` URL in the syntax of a link. Returns `None` where the URL could hide its host. No
/// character in the result ends the link.
fn https(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
    if host.is_empty() || !host.chars().all(is_host) || host.starts_with(['.', '-', ':']) {
        return None;
    }
    let mut out = "https://".to_owned();
    for c in rest.chars() {
        match c {
            // Slack undoes this escaping.
            '&' => out.push_str("&amp;"),
            c if c.is_ascii_alphanumeric() || "-._~:/?#[]@!$'()*+,;=%".contains(c) => out.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    (length(&out) <= LONGEST_URL).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_after_its_escaping_and_never_inside_an_entity() {
        assert_eq!(fitted("a<b>&c", 100), "a&lt;b&gt;&amp;c");
        assert_eq!(fitted("a<b", 6), "a&lt;b");
        assert_eq!(fitted("a<bc", 6), "a&lt;…");
        assert_eq!(fitted("<<<", 11), "&lt;&lt;…");
        assert_eq!(fitted("👩👩👩", 5), "👩👩…");
        assert_eq!(fitted("abc", 0), "…");
        // After a whole line, if a line ends not far from there.
        assert_eq!(fitted("one two three\nfour", 16), "one two three…");
        assert_eq!(fitted("one\ntwo three four", 16), "one\ntwo three f…");
    }

    #[test]
    fn only_https_is_linked_and_no_character_ends_the_link_early() {
        let check = |url: &str, expected: &str| {
            assert_eq!(link(Some(url), "x", 9), expected, "{url}");
        };
        check("https://example.com/a?b=c&d#e", "<https://example.com/a?b=c&amp;d#e|x>");
        check("https://example.com/a|b>c <d>", "<https://example.com/a%7Cb%3Ec%20%3Cd%3E|x>");
        check("https://example.com/\n\u{202e}é", "<https://example.com/%0A%E2%80%AE%C3%A9|x>");
        check("https://example.com:8443", "<https://example.com:8443|x>");
        for none in [
            "http://example.com",
            "javascript:alert(1)",
            "HTTPS://example.com",
            "https://",
            "https:///a",
            "https://user@example.com/",
            "https://exa mple.com/",
            "https://exämple.com/",
            "//example.com",
            "",
        ] {
            check(none, "`x`");
        }
        check(&format!("https://example.com/{}", "é".repeat(200)), "`x`");
        assert_eq!(
            link(Some("https://example.com"), "a|b`<c>\n", 99),
            "<https://example.com|a/b'&lt;c&gt;>"
        );
        assert_eq!(link(Some("https://example.com"), " \u{1}", 9), "`none`");
    }

    #[test]
    fn no_character_in_code_ends_the_code() {
        assert_eq!(code("a`b\nc", 99), "`a'b c`");
        assert_eq!(code("<!channel>", 99), "`&lt;!channel&gt;`");
        assert_eq!(code("", 99), "`none`");
        assert_eq!(code("abcdef", 6), "`abc…`");
    }
}
