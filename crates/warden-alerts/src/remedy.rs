//! The commands that this project writes into the remedies of alerts.
//!
//! A stranger who can publish to the topic, or invoke the notifier, can write an alert. A person
//! copies the commands of the alert into a shell that has their own rights. So the notifier shows a
//! command only if it has one of the forms below, and names the region and the repository of its alert.

use serde_json::{Map, Value};

use super::{Alert, AlertKind, Remedy};

/// The operations of the AWS CLI in remedies.
const OPERATIONS: [(&str, &str); 9] = [
    ("ecr", "batch-delete-image"),
    ("ecr", "batch-get-image"),
    ("ecr", "describe-image-scan-findings"),
    ("ecr", "put-image"),
    ("ecr", "start-image-scan"),
    ("ecr", "update-image-storage-class"),
    ("lambda", "invoke"),
    ("ssm", "get-parameter"),
    ("ssm", "put-parameter"),
];

/// The options of these operations. `--overwrite` has no value.
const OPTIONS: [&str; 19] = [
    "--accepted-media-types",
    "--cli-read-timeout",
    "--function-name",
    "--image-digest",
    "--image-id",
    "--image-ids",
    "--image-manifest",
    "--image-manifest-media-type",
    "--image-tag",
    "--name",
    "--output",
    "--payload",
    "--query",
    "--region",
    "--repository-name",
    "--target-storage-class",
    "--tier",
    "--value",
    "--overwrite",
];

/// The labels of the commands that add `{tag}` to an image.
pub(super) const RESTORE_IMAGE_AS: &str = "Restore the image as {tag}";
pub(super) const RESTORE_TAG: &str = "Restore the tag {tag} (first change the grammar, or the \
    enforcement to report: under this policy, the tag is removed again)";
const TAG_LABELS: &[&str] = &[RESTORE_IMAGE_AS, RESTORE_TAG];

/// The labels of the commands that restore images from the archive.
pub(super) const RESTORE_ARCHIVED_IMAGE: &str = "Restore the image from the archive";
pub(super) const RESTORE_ALL_IMAGES: &str = "Restore all images from the archive";
pub(super) const RESTORE_FIRST_IMAGE: &str = "Restore the first image from the archive";
const ARCHIVE_LABELS: &[&str] = &[RESTORE_ARCHIVED_IMAGE, RESTORE_ALL_IMAGES, RESTORE_FIRST_IMAGE];

/// The labels of the other commands.
pub(super) const READ_PLAN: &str = "Read the plan";
pub(super) const TEST_POLICY: &str = "See what a changed policy would do, before you deploy it";
pub(super) const CONFIRM_PLAN: &str = "Confirm the plan, and the next sweep carries it out";
pub(super) const LIST_FINDINGS: &str = "List all findings";
pub(super) const SCAN_AGAIN: &str =
    "Scan the image again (basic scanning scans an image once in 24 hours)";
pub(super) const EDIT_RISKS: &str = "Edit the accepted risks";
pub(super) const ACCEPT_FINDING: &str = "Accept a finding until a date, by an entry such as {\"id\": \
    \"CVE-2026-1234\", \"until\": \"2026-12-31\", \"reason\": \"not reachable\", \"owner\": \
    \"platform\"}";

/// The labels of remedies, each with a part that only the commands of these labels contain. The first
/// part that a command contains decides.
const LABELS: [(&str, &[&str]); 11] = [
    ("ecr-warden confirm ", &[CONFIRM_PLAN]),
    ("ecr-warden plan ", &[READ_PLAN]),
    ("ecr-warden policy test ", &[TEST_POLICY]),
    (" --tag ", TAG_LABELS),
    ("ecr-warden restore ", ARCHIVE_LABELS),
    ("ecr put-image ", TAG_LABELS),
    ("ecr describe-image-scan-findings ", &[LIST_FINDINGS]),
    ("ecr start-image-scan ", &[SCAN_AGAIN]),
    ("ecr update-image-storage-class ", ARCHIVE_LABELS),
    ("lambda invoke ", &[READ_PLAN]),
    ("ssm put-parameter ", &[EDIT_RISKS, ACCEPT_FINDING]),
];

impl Remedy {
    /// Whether this crate could have written the label for both commands.
    #[must_use]
    pub fn has_own_label(&self) -> bool {
        let mut commands = [&self.command].into_iter().chain(&self.aws_cli);
        commands.all(|command| is_label_of(&self.label, command))
    }
}

fn is_label_of(label: &str, command: &str) -> bool {
    let is_tag_option = |word: &&str| ["--image-tag", "--tag"].contains(word);
    let mut words = command.split(' ').skip_while(|word| !is_tag_option(word));
    let tag = words.nth(1).unwrap_or_default();
    let label = without_number(label);
    let labels = LABELS.iter().find(|(part, _)| command.contains(part));
    labels.is_some_and(|(_, labels)| labels.iter().any(|form| form.replace("{tag}", tag) == label))
}

/// The label without the number of a command of several, such as `(1 of 3)`.
fn without_number(label: &str) -> &str {
    let numbered = label.rsplit_once(" (").filter(|(_, number)| {
        let number = number.strip_suffix(')').and_then(|number| number.split_once(" of "));
        number.is_some_and(|(nth, count)| {
            [nth, count].iter().all(|digits| digits.parse::<u8>().is_ok())
        })
    });
    numbered.map_or(label, |(label, _)| label)
}

impl Alert {
    /// The alert with the name of the stack in each command of `ecr-warden`.
    #[must_use]
    pub fn with_stack(mut self, stack: &str) -> Self {
        for remedy in &mut self.remedies {
            let Some(rest) = remedy.command.strip_prefix("ecr-warden ") else { continue };
            let tested = rest.strip_prefix("policy test ").map(|rest| ("policy test", rest));
            if let Some((command, arguments)) = tested.or_else(|| rest.split_once(' ')) {
                remedy.command = format!("ecr-warden {command} --stack {stack} {arguments}");
            }
        }
        self
    }

    /// Whether this crate could have written both commands of a remedy for this alert.
    #[must_use]
    pub fn could_have_written(&self, remedy: &Remedy) -> bool {
        let allows = |command: &String| {
            words(command).is_some_and(|words| {
                let mut commands = words.split(|word| *word == "&&");
                commands.all(|command| self.allows_list(command))
            })
        };
        let is_of_tool = remedy.command.starts_with("ecr-warden ");
        let is_allowed = if is_of_tool {
            words(&remedy.command).is_some_and(|words| self.allows_tool(&words))
        } else {
            allows(&remedy.command)
        };
        is_allowed && remedy.aws_cli.as_ref().is_none_or(allows)
    }

    /// Whether the alert is about this repository: its own, or one of a digest.
    fn is_about(&self, repository: &str) -> bool {
        match (&self.repository, self.details.get("repositories")) {
            (Some(own), _) => own.as_str() == repository,
            (None, Some(Value::Array(listed))) if self.kind == AlertKind::Report => {
                listed.iter().any(|listed| listed["repository"] == repository)
            }
            _ => false,
        }
    }

    /// Whether a command of `ecr-warden` is about this alert's repository and region.
    fn allows_tool(&self, words: &[&str]) -> bool {
        if let ["ecr-warden", "policy", "test", arguments @ ..] = words {
            let arguments = match arguments {
                ["--stack", stack, arguments @ ..] if is_plain(stack) => arguments,
                arguments => arguments,
            };
            return self.kind == AlertKind::Report
                && arguments == ["infra/sam/policy.yaml", "--region", self.region.as_str()];
        }
        let ["ecr-warden", command @ ("restore" | "plan" | "confirm"), arguments @ ..] = words
        else {
            return false;
        };
        // Without a repository, a command is about all repositories. Without a region, a command is
        // about the region of the reader.
        let (mut names_region, mut names_repository) = (false, false);
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let is_allowed = match *argument {
                "--region" => {
                    names_region = true;
                    arguments.next().is_some_and(|value| *value == self.region)
                }
                "--stack" | "--plan" | "--tag" => {
                    arguments.next().is_some_and(|value| is_plain(value))
                }
                name if *command == "restore" => {
                    names_repository = true;
                    let image = name.split_once('@');
                    image.is_some_and(|(name, digest)| self.is_about(name) && is_digest(digest))
                }
                name => !std::mem::replace(&mut names_repository, true) && self.is_about(name),
            };
            if !is_allowed {
                return false;
            }
        }
        names_region && names_repository
    }

    /// Whether a simple command, or a loop over digests, is allowed.
    fn allows_list(&self, words: &[&str]) -> bool {
        match words {
            ["for", "digest", "in", rest @ ..] => {
                let Some(end) = rest.iter().position(|word| word.ends_with(';')) else {
                    return false;
                };
                let (digests, body) = rest.split_at(end + 1);
                let are_digests = digests.iter().all(|word| is_digest(word.trim_end_matches(';')));
                let ["do", body @ .., "STANDARD;", "done"] = body else { return false };
                are_digests && self.allows(&[body, &["STANDARD"]].concat())
            }
            ["m=$(aws", rest @ ..] => self.allows(&[&["aws"], rest].concat()),
            _ => self.allows(words),
        }
    }

    fn allows(&self, words: &[&str]) -> bool {
        match words {
            ["printf", "x)"]
            | ["cat", "answer.json"]
            | ["${EDITOR:-vi}", "accepted-risks.json"] => true,
            ["printf", "'%s'", request, ">", "sweep.json"] => self.allows_request(request),
            ["aws", service, operation, arguments @ ..] => {
                let arguments = match arguments {
                    [arguments @ .., "answer.json"] if *operation == "invoke" => arguments,
                    [arguments @ .., ">", "accepted-risks.json"] | arguments => arguments,
                };
                OPERATIONS.contains(&(*service, *operation))
                    && self.allows_arguments(operation, arguments)
            }
            _ => false,
        }
    }

    /// Whether a text in single quotes is a request to `image-sweep` about the alert's repository.
    fn allows_request(&self, text: &str) -> bool {
        let request = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        let request: Option<Map<String, Value>> =
            request.and_then(|request| serde_json::from_str(request).ok());
        request.is_some_and(|request| {
            let mut names = request.keys();
            names.all(|name| ["repository", "mode"].contains(&name.as_str()))
                && request
                    .get("repository")
                    .and_then(Value::as_str)
                    .is_some_and(|repository| self.is_about(repository))
                // A request without a mode starts a sweep.
                && request.get("mode").and_then(Value::as_str) == Some("report")
        })
    }

    fn allows_arguments(&self, operation: &str, arguments: &[&str]) -> bool {
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            if !OPTIONS.contains(option) {
                return false;
            }
            if *option == "--overwrite" {
                continue;
            }
            let Some(value) = arguments.next() else { return false };
            let is_allowed = match *option {
                "--region" => *value == self.region,
                "--repository-name" => {
                    self.repository.as_ref().is_some_and(|name| name.as_str() == *value)
                }
                // A remedy removes quarantine tags, and never an image.
                "--image-ids" if operation == "batch-delete-image" => {
                    value.starts_with("imageTag=quarantine-") && is_plain(value)
                }
                "--image-manifest" => *value == "\"${m%??}\"",
                "--image-id" if *value == "imageDigest=$digest" => true,
                // No remedy archives an image.
                "--target-storage-class" => *value == "STANDARD",
                "--payload" => *value == "fileb://sweep.json",
                "--value" => *value == "file://accepted-risks.json",
                // The AWS CLI reads a value such as `file://` from a file.
                _ => !value.contains("://") && (is_plain(value) || is_quoted(value)),
            };
            if !is_allowed {
                return false;
            }
        }
        true
    }
}

/// The words of a command, with their quotes. None if a quote does not end.
fn words(command: &str) -> Option<Vec<&str>> {
    let mut is_in_quotes = false;
    let split = command.split(move |c: char| {
        is_in_quotes ^= c == '\'';
        c == ' ' && !is_in_quotes
    });
    let is_closed = command.matches('\'').count().is_multiple_of(2);
    is_closed.then(|| split.collect())
}

fn is_digest(word: &str) -> bool {
    let hex = word.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a word has no character that a shell interprets.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with('-')
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/:=,@+-".contains(&byte))
}

/// Whether a word is one text in single quotes. A shell interprets no character in single quotes.
fn is_quoted(word: &str) -> bool {
    let inner = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.is_some_and(|inner| !inner.contains('\''))
}
