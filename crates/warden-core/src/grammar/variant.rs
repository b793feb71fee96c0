//! The names of variants and platforms, and how a version ends with them.

/// The names of variants. Digits and dots may follow a name, such as in `alpine3.20`.
const VARIANTS: [&str; 62] = [
    "alpine",
    "amazonlinux",
    "apache",
    "azurelinux",
    "bionic",
    "bookworm",
    "bullseye",
    "buster",
    "busybox",
    "centos",
    "chainguard",
    "cli",
    "corretto",
    "cpu",
    "cuda",
    "cudnn",
    "debian",
    "debug",
    "dind",
    "distroless",
    "fips",
    "focal",
    "fpm",
    "full",
    "glibc",
    "gpu",
    "jammy",
    "java",
    "jdk",
    "jre",
    "lite",
    "ltsc",
    "minimal",
    "musl",
    "nanoserver",
    "noble",
    "node",
    "nonroot",
    "openjdk",
    "oraclelinux",
    "otel",
    "perl",
    "php",
    "py",
    "python",
    "rockylinux",
    "rocm",
    "rootless",
    "runtime",
    "scratch",
    "slim",
    "soci",
    "static",
    "stretch",
    "temurin",
    "trixie",
    "ubi",
    "ubuntu",
    "windowsservercore",
    "wolfi",
    "xenial",
    "zts",
];

/// The words of platforms, as in the platforms of Go and of Docker.
const PLATFORMS: [&str; 25] = [
    "aarch64", "amd64", "arm", "arm32v5", "arm32v6", "arm32v7", "arm64", "arm64v8", "armel",
    "armhf", "armv6", "armv7", "armv7l", "armv8", "i386", "linux", "loong64", "mips64", "mips64le",
    "ppc64", "ppc64le", "riscv64", "s390x", "windows", "x86_64",
];

/// The revisions of ARM, which follow another word, as in `linux-arm-v7`.
const ARM_REVISIONS: [&str; 4] = ["v5", "v6", "v7", "v8"];

/// Whether the text is the name of a variant, or several names joined by hyphens.
pub(super) fn is_variant(text: &str) -> bool {
    text.split('-').all(|word| {
        let name = word.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
        let release = word.strip_prefix(name).unwrap_or_default();
        VARIANTS.contains(&name)
            && (release.is_empty() || release.split('.').all(super::placeholder::is_digits))
    })
}

/// Whether the text is the name of a platform, such as `arm64` or `linux-arm-v7`.
pub(super) fn is_platform(text: &str) -> bool {
    let words = || text.split('-');
    let is_revision =
        |(before, word): (&str, &str)| ARM_REVISIONS.contains(&word) && before.starts_with("arm");
    words().next().is_some_and(|word| PLATFORMS.contains(&word))
        && words().zip(words().skip(1)).all(|pair| PLATFORMS.contains(&pair.1) || is_revision(pair))
}

/// A version, and the variant and the platform at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suffixed<'t> {
    /// The version, with its pre-release.
    pub version: &'t str,
    /// The variant.
    pub variant: Option<&'t str>,
    /// The platform.
    pub platform: Option<&'t str>,
}

/// Splits a version such as `1.0.0-rc.1-alpine-arm64`. The longest text of a variant, of a platform or
/// of both, in any order, is not a part of the version.
pub(super) fn split_suffix(text: &str) -> Suffixed<'_> {
    let hyphens = |text: &str| text.match_indices('-').map(|(at, _)| at).collect::<Vec<_>>();
    for (version, suffix) in hyphens(text).into_iter().filter_map(|at| split_at_hyphen(text, at)) {
        let (mut variant, mut platform) = (None, None);
        if is_variant(suffix) {
            variant = Some(suffix);
        } else if is_platform(suffix) {
            platform = Some(suffix);
        } else {
            let mut pairs =
                hyphens(suffix).into_iter().filter_map(|at| split_at_hyphen(suffix, at));
            match pairs.find_map(|(one, other)| match (is_variant(one), is_platform(one)) {
                (true, _) if is_platform(other) => Some((one, other)),
                (_, true) if is_variant(other) => Some((other, one)),
                _ => None,
            }) {
                Some((one, other)) => (variant, platform) = (Some(one), Some(other)),
                None => continue,
            }
        }
        return Suffixed { version, variant, platform };
    }
    Suffixed { version: text, variant: None, platform: None }
}

fn split_at_hyphen(text: &str, at: usize) -> Option<(&str, &str)> {
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_ends_before_its_variant_and_its_platform() {
        for (text, version, variant, platform) in [
            ("1.0.0", "1.0.0", None, None),
            ("1.0.0-rc.1", "1.0.0-rc.1", None, None),
            ("1.0.0-alpine", "1.0.0", Some("alpine"), None),
            ("1.0.0-rc.1-slim-bookworm", "1.0.0-rc.1", Some("slim-bookworm"), None),
            ("1.0.0-arm64", "1.0.0", None, Some("arm64")),
            ("1.0.0-alpine3.20-linux-arm-v7", "1.0.0", Some("alpine3.20"), Some("linux-arm-v7")),
            ("1.0.0-arm64-alpine", "1.0.0", Some("alpine"), Some("arm64")),
            // A name before other words is a part of the pre-release.
            ("1.0.0-alpine-rc.1", "1.0.0-alpine-rc.1", None, None),
            ("1.0.0-alpine-arm64-slim", "1.0.0-alpine", Some("slim"), Some("arm64")),
        ] {
            assert_eq!(split_suffix(text), Suffixed { version, variant, platform }, "{text}");
        }
    }
}
