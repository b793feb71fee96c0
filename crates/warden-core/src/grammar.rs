//! The grammar of tags. It decides whether a tag conforms, finds the component, the kind and the
//! version of the tag, and suggests a conforming tag in place of one that nearly conforms.
//!
//! A [`Template`] is literal text with placeholders, such as `{component}-v{semver}`, or
//! `re:` and a regular expression. It must match the whole tag. The time of a match is bounded for
//! every template.

mod placeholder;
mod suggestion;
mod template;
mod variant;
mod version;

use std::fmt;

use serde::{Serialize, Serializer};

pub use placeholder::{Channel, DEFAULT_CHANNELS, InvalidChannel, Placeholder, default_channels};
pub(crate) use placeholder::{is_build_word, is_calver, is_digits};
pub use template::{InvalidTemplate, Template};
pub use version::VersionOrder;

use crate::image::{Component, RepositoryName, Tag, Wildcard};
use crate::quarantine::Quarantine;

/// The templates for the tags of a repository, in order. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Grammar {
    templates: Vec<Template>,
    channels: Vec<Channel>,
    ignored: Vec<Wildcard>,
}

/// The parts of a tag that conforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConformingTag {
    /// The component.
    pub component: Component,
    /// The position in the grammar of the template that decided.
    pub template: usize,
    /// The other placeholders, each with the text that it matched, in the order of the template. A
    /// `{semver}` that ends with a variant or a platform is followed by it.
    pub values: Vec<(Placeholder, String)>,
}

/// The kind of a tag. The versions of a kind are counted together, and a finding is compared with the
/// previous version of the same kind. A unit that has tags of several kinds takes one place in each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagKind {
    /// The component.
    pub component: Component,
    /// The position of the template in the grammar.
    pub template: usize,
    /// The variant, such as `alpine`. None for the image without a variant.
    pub variant: Option<String>,
    /// The platform, such as `arm64`. None for an image of all platforms.
    pub platform: Option<String>,
}

/// The placeholders whose values tell one version from another. A tag without any of them has no
/// version.
const VERSIONS: [Placeholder; 7] = [
    Placeholder::Semver,
    Placeholder::Version,
    Placeholder::Calver,
    Placeholder::Sha,
    Placeholder::Timestamp,
    Placeholder::Date,
    Placeholder::Number,
];

impl Grammar {
    /// Makes a grammar of these templates. `None` for an empty list: no tag would conform. `{channel}`
    /// matches one of `channels`, and no template matches a tag that one of the wildcards ignores.
    #[must_use]
    pub fn new(
        templates: Vec<Template>,
        channels: Vec<Channel>,
        ignored: Vec<Wildcard>,
    ) -> Option<Self> {
        (!templates.is_empty()).then_some(Self { templates, channels, ignored })
    }

    /// The templates, in order.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.templates.iter()
    }

    /// The names of channels.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Matches a tag. The first template that matches the whole tag decides, with the shortest
    /// component. But a `{sha}` of digits alone gives way to a template that reads digits as a number,
    /// a date or a time. `None` if no template matches. `None` also for a tag that is ignored, for
    /// the tag of a signature or an attestation ([`Tag::subject`]), and for a tag with the form of a quarantine
    /// tag.
    #[must_use]
    pub fn match_tag(&self, repository: &RepositoryName, tag: &Tag) -> Option<ConformingTag> {
        if tag.subject().is_some()
            || Quarantine::read(tag).is_some()
            || self.ignored.iter().any(|wildcard| wildcard.matches(tag))
        {
            return None;
        }
        let templates = self.templates.iter().enumerate();
        let channels = &self.channels;
        let mut found = templates
            .filter_map(|(nth, template)| template.match_tag(nth, channels, repository, tag));
        let first = found.next()?;
        let reads_digits = |other: &ConformingTag| {
            use Placeholder::{Calver, Date, Number, Timestamp};
            [Number, Timestamp, Date, Calver].iter().any(|name| other.value(*name).is_some())
        };
        let other = first.has_only_digits_as_sha().then(|| found.find(reads_digits)).flatten();
        Some(other.unwrap_or(first))
    }

    /// Suggests a conforming tag for a tag that nearly conforms: the same component and version,
    /// spelled by the first template that fits. `None` for a tag that conforms, and for a tag whose
    /// component or version is not clear. The caller checks that no other image has the tag.
    #[must_use]
    pub fn suggest(&self, repository: &RepositoryName, tag: &Tag) -> Option<Tag> {
        if tag.subject().is_some() || self.match_tag(repository, tag).is_some() {
            return None;
        }
        let lower = tag.as_str().to_lowercase();
        let is_clear = |candidate: &Tag| {
            self.match_tag(repository, candidate).is_some_and(|conforming| {
                let is_repository = conforming.component.as_str() == repository.as_str();
                let is_doubtful = doubt_component(&conforming.component).is_some();
                !conforming.has_only_digits_as_sha() && (is_repository || !is_doubtful)
            })
        };
        self.templates
            .iter()
            .filter_map(|template| template.respell(tag))
            .chain([lower])
            .filter_map(|spelled| spelled.parse().ok())
            .find(is_clear)
    }

    /// The kind for people: the component, the variant, the platform, and the template unless it is the
    /// first. For example `litellm`, or `myapp alpine, tags {component}-{sha}`.
    #[must_use]
    pub fn describe_kind(&self, kind: &TagKind) -> String {
        let TagKind { component, template, variant, platform } = kind;
        let mut text = component.to_string();
        for part in [variant, platform].into_iter().flatten() {
            text = format!("{text} {part}");
        }
        match self.templates.get(*template).filter(|_| *template > 0) {
            Some(template) => format!("{text}, tags {template}"),
            None => text,
        }
    }
}

impl ConformingTag {
    /// The text that a placeholder matched.
    #[must_use]
    pub fn value(&self, name: Placeholder) -> Option<&str> {
        let mut values = self.values.iter();
        values.find(|(other, _)| *other == name).map(|(_, text)| text.as_str())
    }

    /// The kind of the tag.
    #[must_use]
    pub fn kind(&self) -> TagKind {
        let value = |name| self.value(name).map(str::to_owned);
        TagKind {
            component: self.component.clone(),
            template: self.template,
            variant: value(Placeholder::Variant),
            platform: value(Placeholder::Platform),
        }
    }

    /// Whether the tag names a version. A channel alone is not a version.
    #[must_use]
    pub fn has_version(&self) -> bool {
        self.values.iter().any(|(name, _)| VERSIONS.contains(name))
    }

    /// The version of the tag, in the order of releases. `None` if the template has only a commit, a
    /// channel or names, which have no order.
    #[must_use]
    pub fn version(&self) -> Option<VersionOrder> {
        VersionOrder::from_values(&self.values)
    }

    /// Whether the only commit of the tag has no letter. One honest commit in 27 has none in its first
    /// seven characters, and a build number or a time has none either. The reading is a guess, so no
    /// enforcement acts on such a tag.
    #[must_use]
    pub fn has_only_digits_as_sha(&self) -> bool {
        self.value(Placeholder::Sha).is_some_and(is_digits)
    }
}

/// Why the name of a component is doubtful: probably the grammar reads something else in its place.
/// The text completes 'the component is named like …'.
#[must_use]
pub fn doubt_component(component: &Component) -> Option<&'static str> {
    const BRANCHES: [&str; 9] = [
        "main",
        "master",
        "develop",
        "development",
        "trunk",
        "nightly",
        "feature",
        "hotfix",
        "bugfix",
    ];
    const BRANCH_PREFIXES: [&str; 8] =
        ["pr-", "mr-", "feature-", "feat-", "hotfix-", "bugfix-", "renovate-", "dependabot-"];
    const LABELS: [&str; 9] =
        ["sha", "git", "commit", "build", "version", "release", "tag", "rev", "v"];
    let name = component.as_str();
    let last = name.rsplit('-').next().unwrap_or(name);
    let before = name.rsplit('-').nth(1);
    let is_pull_request = |name: &str| {
        ["pr", "mr"].iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_digits))
    };
    let is_year = |word: &str| word.len() == 4 && word.starts_with("20") && is_digits(word);
    if BRANCHES.contains(&name)
        || BRANCH_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || is_pull_request(name)
    {
        Some("a branch")
    } else if DEFAULT_CHANNELS.contains(&name) {
        Some("a channel")
    } else if LABELS.contains(&name) || LABELS.contains(&last) {
        Some("a word before a version")
    } else if name.split('-').any(is_build_word)
        || is_digits(last) && before.is_some_and(|before| LABELS.contains(&before))
    {
        Some("a build")
    } else if name
        .split('-')
        .zip(name.split('-').skip(1))
        .any(|(year, month)| is_year(year) && month.len() == 2 && is_digits(month))
    {
        Some("a date")
    } else if !name.bytes().any(|byte| byte.is_ascii_alphabetic())
        || last.len() >= 3 && is_digits(last)
    {
        Some("a build")
    } else {
        None
    }
}

impl fmt::Display for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, template) in self.templates.iter().enumerate() {
            write!(f, "{}{template}", if nth == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Serialize for Grammar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
