//! The page of the documentation that explains an alert.

use serde_json::Value;

use super::{Alert, AlertKind};

/// The folder of the runbooks in the documentation. The file of a page has the name of its alert.
const FOLDER: &str = "runbooks/";

impl Alert {
    /// The page of the runbook, relative to the documentation, such as `runbooks/scan-failed.md`. A
    /// page about several causes has a section for each, which the page's anchor names.
    #[must_use]
    pub fn runbook_page(&self) -> String {
        let anchor = self.runbook_anchor().map(|anchor| format!("#{anchor}")).unwrap_or_default();
        format!("{FOLDER}{}.md{anchor}", self.kind)
    }

    /// The alert with the URL of its runbook, in the documentation at this URL.
    #[must_use]
    pub fn with_runbook(self, documentation: &str) -> Self {
        let runbook = Some(format!("{documentation}/{}", self.runbook_page()));
        Self { runbook, ..self }
    }

    /// The alert with the version of the policy that it follows.
    #[must_use]
    pub fn with_policy(self, version: &str) -> Self {
        Self { policy: Some(version.to_owned()), ..self }
    }

    fn runbook_anchor(&self) -> Option<&str> {
        let detail = |name: &str| self.details.get(name).unwrap_or(&Value::Null);
        match self.kind {
            AlertKind::Cleanup => match () {
                () if detail("waits") == true => Some("confirmation"),
                // A plan has a hash. Without a plan, the sweep could not read the repository.
                () if detail("stopped").is_string() && detail("hash") == "" => Some("blind"),
                () if detail("stopped").is_string()
                    && (detail("replicatedTo").is_array()
                        || detail("replicatedFrom").is_object()) =>
                {
                    Some("replicated-repository")
                }
                () if detail("stopped").is_string() => Some("guard"),
                () if detail("failedTotal").as_u64() > Some(0) => Some("failures"),
                () if detail("left").as_u64() > Some(0) => Some("no-time-left"),
                () => None,
            },
            AlertKind::SelfAudit if detail("rule") == "accepted-risks" => Some("parameter"),
            AlertKind::SelfAudit if detail("rule") == "policy-warnings" => Some("policy-warnings"),
            AlertKind::SelfAudit => match detail("deviations").as_array()?.as_slice() {
                [deviation] => deviation.get("rule")?.as_str().filter(|rule| is_name(rule)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Whether a URL is a page of the runbooks in the documentation at this URL. A stranger can write
/// any URL into an alert.
#[must_use]
pub fn is_runbook_url(url: &str, documentation: &str) -> bool {
    let path = url.strip_prefix(documentation).and_then(|path| path.strip_prefix('/'));
    let Some(page) = path.and_then(|path| path.strip_prefix(FOLDER)) else { return false };
    let (file, anchor) =
        page.split_once('#').map_or((page, None), |(file, rest)| (file, Some(rest)));
    file.strip_suffix(".md").is_some_and(is_name) && anchor.is_none_or(is_name)
}

/// The URL of a runbook in a text, such as the description of an alarm.
#[must_use]
pub fn find_runbook_url<'t>(text: &'t str, documentation: &str) -> Option<&'t str> {
    text.split_whitespace().find(|word| is_runbook_url(word, documentation))
}

/// Whether a text is a name of a page or of a section: nothing in it leads to another folder.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = "https://github.com/ecr-warden/ecr-warden/blob/main/docs";

    #[test]
    fn only_a_page_of_the_own_documentation_is_a_runbook() {
        for (path, is_page) in [
            ("/runbooks/tag-violation.md", true),
            ("/runbooks/cleanup.md#confirmation", true),
            ("/runbooks/self-audit.md#dead-rule", true),
            ("", false),
            ("/", false),
            ("/runbooks/", false),
            ("/runbooks/.md", false),
            ("/runbooks/cleanup.md#", false),
            ("/runbooks/cleanup.md#a#b", false),
            ("/runbooks/cleanup.html", false),
            ("/runbooks/cleanup.md?a=b", false),
            ("/runbooks/../../evil.md", false),
            ("/runbooks/%2e%2e/evil.md", false),
            ("/runbooks/a/b.md", false),
            ("/guides/deploy.md", false),
            (".evil.example/runbooks/cleanup.md", false),
            ("@evil.example/runbooks/cleanup.md", false),
        ] {
            let url = format!("{DOCUMENTATION}{path}");
            assert_eq!(is_runbook_url(&url, DOCUMENTATION), is_page, "{path}");
        }
        assert!(!is_runbook_url("https://evil.example/runbooks/cleanup.md", DOCUMENTATION));
    }

    #[test]
    fn the_runbook_of_an_alarm_is_found_in_its_description() {
        let url = format!("{DOCUMENTATION}/runbooks/alarm-failed-events.md");
        let text = format!("A function failed. Runbook {url}");
        assert_eq!(find_runbook_url(&text, DOCUMENTATION), Some(url.as_str()));
        assert_eq!(find_runbook_url("A function failed.", DOCUMENTATION), None);
    }
}
