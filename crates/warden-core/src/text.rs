//! The one sanitiser: makes text from outside safe to show.
//!
//! Names of packages, descriptions of scanners, errors of AWS and reasons that people wrote are
//! untrusted. Hidden and bidirectional characters could make a person read a text that differs from
//! the text that a program reads.

/// Characters in the syntax of links and formats, in any of the renderings.
const MARKUP: &[char] = &['[', ']', '(', ')', '<', '>', '`', '|', '"', '*'];
/// The most characters of a link.
const LONGEST_LINK: usize = 300;

/// Whether a character is invisible, or changes how its neighbours appear: a control character, or
/// one of Unicode's invisible, joining and directional characters.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without hidden characters. Line feeds stay.
#[must_use]
pub fn visible(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !is_hidden(*c)).collect()
}

/// The text as one line without hidden characters. All white space is spaces, with none at either
/// end.
#[must_use]
pub fn one_line(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    let line: String = spaced.filter(|c| !is_hidden(*c)).collect();
    line.trim().to_owned()
}

/// [`one_line`] with at most `limit` characters. A longer line ends with an ellipsis.
#[must_use]
pub fn short_line(text: &str, limit: usize) -> String {
    let line = one_line(text);
    match line.char_indices().nth(limit) {
        None => line,
        Some(_) => line.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// [`short_line`] without the characters that begin a link or a format in any rendering: for a
/// name, a version, a reason.
#[must_use]
pub fn inert(text: &str, limit: usize) -> String {
    let mut line = one_line(&text.replace(MARKUP, ""));
    // Removing one `://` can join another, as in `:////`.
    while line.contains("://") {
        line = line.replace("://", ":");
    }
    short_line(&line, limit)
}

/// The link, if it is safe to show: `https`, at most 300 characters, and no character that has a
/// meaning in the syntax of links. A longer link is `None`, because a shortened link would lead to
/// another page.
#[must_use]
pub fn link(url: &str) -> Option<String> {
    const LINK_MARKUP: &str = "<>()[]{}\"'|\\^`*";
    let is_plain = |c: char| c.is_ascii_graphic() && !LINK_MARKUP.contains(c);
    let rest = url.strip_prefix("https://")?;
    let host_is_there = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_link = host_is_there && url.len() <= LONGEST_LINK && url.chars().all(is_plain);
    is_link.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_characters_are_removed_and_visible_ones_are_kept() {
        let text = "a\u{0}b\u{1b}[31m\r\nc\u{202e}d\u{200b}é\u{1f469}\u{200d}\u{1f467}";
        assert_eq!(visible(text), "ab[31m\ncdé\u{1f469}\u{1f467}");
        assert_eq!(one_line("  one\ttwo\r\nthree\u{2028}four "), "one two  three four");
    }

    /// The first and the last of each range, and their neighbours.
    #[test]
    fn only_the_characters_of_the_ranges_are_hidden() {
        let hidden = "\u{0}\u{1f}\u{7f}\u{9f}\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\u{200f}\
            \u{2028}\u{202e}\u{2060}\u{206f}\u{feff}\u{fff9}\u{fffb}\u{e0000}\u{e007f}\u{e0100}\
            \u{e0fff}";
        assert_eq!(visible(hidden), "");
        let shown = " ~\u{a0}\u{ac}\u{ae}\u{61b}\u{61d}\u{180d}\u{180f}\u{200a}\u{2010}\u{2027}\
            \u{202f}\u{205f}\u{2070}\u{fefe}\u{fff8}\u{fffc}\u{dffff}\u{e1000}";
        assert_eq!(visible(shown), shown);
    }

    #[test]
    fn a_short_line_has_at_most_the_given_number_of_characters() {
        assert_eq!(short_line("  a\n\tb\u{202e}c\u{0}\u{200b}d  ", 10), "a  bcd");
        assert_eq!(
            ["abcd", "abcdef", "ébcde"].map(|text| short_line(text, 4)),
            ["abcd", "abc…", "ébc…"]
        );
    }

    #[test]
    fn inert_text_begins_neither_a_link_nor_a_format() {
        for (text, expected) in [
            ("see [x](http://evil.example)", "see xhttp:evil.example"),
            ("http:////evil.example", "http:evil.example"),
            (":[/]/", ":"),
            ("<!channel> `a|b` *c* \"d\"", "!channel ab c d"),
        ] {
            assert_eq!(inert(text, 100), expected, "{text}");
        }
        assert_eq!(inert("<abcdef>", 4), "abc…");
    }

    #[test]
    fn only_a_plain_https_link_is_shown() {
        assert_eq!(link("https://nvd.nist.gov/vuln/detail/CVE-1").unwrap().len(), 38);
        let longest = format!("https://{}", "a".repeat(292));
        assert_eq!(link(&longest), Some(longest.clone()));
        for bad in [
            "http://nvd.nist.gov",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://a b",
            "https://a|b",
            "https://a>b",
            "https://ä.example",
            "HTTPS://A",
            &format!("{longest}a"),
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_sanitised_text_has_a_hidden_character(text in any::<String>(), limit in 1..50_usize) {
            let shown = short_line(&text, limit);
            prop_assert!(shown.chars().count() <= limit);
            prop_assert!(!shown.contains(is_hidden));
            prop_assert!(!inert(&text, limit).contains(|c| is_hidden(c) || MARKUP.contains(&c)));
            prop_assert!(!visible(&text).contains(|c| c != '\n' && is_hidden(c)));
        }
    }
}
