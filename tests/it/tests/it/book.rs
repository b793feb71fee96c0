//! The pages of the book and the documents beside it: their links, and the files that they include.

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use expect_test::expect_file;
use local_aws::snippets::{snippet, workspace};
use local_aws::world::TEMPLATE;
use regex_lite::Regex;

use self::page::{Page, with_snippets};

/// The documents at the top of the repository. A page of the book is a file under `docs`.
const DOCUMENTS: [&str; 4] = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];

/// Snippets that no test and no driver executes: a test checks only their form, for this reason.
pub const NOT_EXECUTED: [(&str, &str); 29] = [
    ("adopt/removed.tf", "Terraform is not installed"),
    (
        "adopt/report.sh",
        "cargo e2e deploys the same parameters without the defaults of the SAM CLI",
    ),
    ("check/install.sh", "the installation compiles the tool again"),
    ("deploy/graviton.sh", "the build for another architecture takes minutes"),
    ("deploy/override.sh", "cargo e2e deploys with other parameters"),
    ("deploy/trial.sh", "cargo e2e deploys one stack"),
    ("deployer/deploy-policy.sh", "tests evaluate the policy; the emulator does not need it"),
    ("deployer/trial-policy.sh", "tests evaluate the policy; the emulator does not need it"),
    ("gitlab/gitlab-ci.yaml", "GitLab runs it"),
    (
        "github-actions/image.yaml",
        "GitHub runs it; cargo e2e executes the step that waits for a scan",
    ),
    ("kubernetes/deployment.yaml", "Kubernetes is not installed"),
    ("kubernetes/helm-values.yaml", "Helm is not installed"),
    ("images/push.sh", "Docker is not installed"),
    ("leave/delete.sh", "cargo e2e deletes its stacks without the SAM CLI"),
    ("local-aws/lambda-invoke.sh", "cargo-lambda compiles the function for minutes"),
    ("local-aws/lambda-watch.sh", "cargo-lambda compiles the function for minutes"),
    ("local-aws/start.sh", "it serves until it is interrupted; tests of the drivers start it"),
    ("many-accounts/stack-set.sh", "the emulator has no stack sets"),
    ("operate/upgrade.sh", "cargo e2e builds and deploys the same sources"),
    ("readme/demo.sh", "CI runs the program itself"),
    ("readme/deploy.sh", "the SAM CLI asks questions; cargo e2e answers them with parameters"),
    (
        "registry/deploy.sh",
        "cargo e2e deploys the same parameters without the defaults of the SAM CLI",
    ),
    (
        "registry/enforce.sh",
        "cargo e2e deploys the same parameters without the defaults of the SAM CLI",
    ),
    ("runbooks/repair-drift.sh", "cargo e2e deploys with other parameters"),
    ("security/logs-insights.txt", "the emulator evaluates no queries of CloudWatch Logs"),
    ("testing/fuzz.sh", "the nightly workflow runs the same command with other numbers"),
    ("testing/mutants.sh", "the nightly workflow runs the same command"),
    ("testing/properties.sh", "CI and the nightly workflow run these commands"),
    ("testing/tests.sh", "CI runs these commands"),
];

/// The files under a folder of the repository, as paths in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Every page, by its path in the repository.
fn pages() -> BTreeMap<PathBuf, Page> {
    let root = workspace();
    let book = files(&root.join("docs"));
    let documents = DOCUMENTS.iter().map(|name| root.join(name)).filter(|path| path.exists());
    let paths = book.into_iter().chain(documents);
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let page = |path: PathBuf| {
        let page = Page::read(&std::fs::read_to_string(&path).unwrap());
        (path.strip_prefix(&root).unwrap().to_owned(), page)
    };
    paths.map(page).collect()
}

/// A path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
        path
    })
}

/// The names of all snippets.
fn snippets() -> BTreeSet<String> {
    let folder = workspace().join("docs/snippets");
    let name = |path: PathBuf| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
    files(&folder).into_iter().map(name).collect()
}

fn is_of_book(path: &Path) -> bool {
    path.starts_with("docs")
}

/// The problem of a link of a page, if the link has one.
fn problem(pages: &BTreeMap<PathBuf, Page>, path: &Path, link: &str) -> Option<String> {
    if let Some((scheme, _)) = link.split_once(':').filter(|(scheme, _)| !scheme.contains('/')) {
        return (!["https", "mailto"].contains(&scheme)).then(|| "is not https".to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => path.to_owned(),
        file => normalized(&path.parent().unwrap().join(file)),
    };
    if !workspace().join(&target).exists() {
        return Some(format!("{} does not exist", target.display()));
    }
    if is_of_book(path) && !is_of_book(&target) {
        return Some(format!("{} is no part of the book", target.display()));
    }
    match pages.get(&target) {
        _ if anchor.is_empty() => None,
        Some(page) if page.anchors.contains(anchor) => None,
        _ => Some(format!("{} has no heading {anchor}", target.display())),
    }
}

#[test]
fn every_link_resolves() {
    let pages = pages();
    let mut problems = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            if let Some(problem) = problem(&pages, path, link) {
                problems.push(format!("{}: {link}: {problem}", path.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_summary_lists_every_page_of_the_book() {
    let pages = pages();
    let summary = Path::new("docs/SUMMARY.md");
    let listed = pages[summary].links.iter().map(|link| Path::new("docs").join(link));
    let listed: BTreeSet<PathBuf> = listed.collect();
    let of_book = pages.keys().filter(|path| is_of_book(path) && *path != summary);
    assert_eq!(listed, of_book.cloned().collect());
}

/// A page shows a command or a file only as the text of a snippet, which a test executes.
/// `UPDATE_EXPECT=1` writes the snippets into the pages.
#[test]
fn every_page_has_the_present_text_of_its_snippets() {
    for (path, _) in pages() {
        let path = workspace().join(path);
        let text = std::fs::read_to_string(&path).unwrap();
        let written = with_snippets(&text, |name| snippet(name).unwrap());
        expect_file![&path].assert_eq(&written);
    }
}

#[test]
fn every_command_of_a_page_is_a_snippet() {
    let texts: Vec<String> = snippets().iter().map(|name| snippet(name).unwrap()).collect();
    let programs = ["aws ", "cargo ", "docker ", "ecr-warden ", "git ", "kubectl ", "sam "];
    let mut problems = Vec::new();
    for (path, page) in pages() {
        for block in &page.blocks {
            let is_command = programs.iter().any(|program| block.text.starts_with(program));
            let is_snippet = texts.contains(&block.text.trim_end().to_owned());
            let is_text = block.language == "text" && !is_command;
            // The page of the tool is the output of the tool, and the page of the policy has the shipped policy.
            let is_generated = ["reference/cli.md", "reference/policy.md"];
            let is_generated = is_generated.iter().any(|page| path.ends_with(page));
            if !is_snippet && !is_text && !is_generated {
                problems.push(format!("{}: {}", path.display(), block.text));
            }
        }
    }
    assert!(problems.is_empty(), "no snippet has this text:\n{}", problems.join("\n"));
}

#[test]
fn every_snippet_exists_and_has_a_page() {
    let (all, pages) = (snippets(), pages());
    let shown: BTreeSet<&String> = pages.values().flat_map(|page| &page.snippets).collect();
    let absent: Vec<&&String> = shown.iter().filter(|name| !all.contains(**name)).collect();
    assert!(absent.is_empty(), "pages show {absent:?}, which do not exist");
    let unused: Vec<&String> = all.iter().filter(|name| !shown.contains(name)).collect();
    assert!(unused.is_empty(), "no page shows {unused:?}");
}

/// The sources of the tests and drivers that execute snippets.
fn test_sources() -> String {
    let folders =
        ["tests/drivers/src", "tests/drivers/tests", "tests/it/tests", "crates/ecr-warden/tests"];
    let sources = folders.iter().flat_map(|folder| files(&workspace().join(folder)));
    let sources =
        sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_snippet_is_named_by_a_test_or_a_driver() {
    let sources = test_sources();
    let literal = Regex::new(r#""([a-z0-9-]+/[a-z0-9-]+\.)(sh|json|yaml|tf|txt)""#).unwrap();
    let (all, mut found) = (snippets(), BTreeSet::new());
    for capture in literal.captures_iter(&sources) {
        let name = format!("{}{}", &capture[1], &capture[2]);
        assert!(&capture[2] != "sh" || all.contains(&name), "there is no snippet {name}");
        found.insert(name);
    }
    let unnamed: Vec<&String> = all.difference(&found).collect();
    assert!(unnamed.is_empty(), "no test or driver names {unnamed:?}");
}

#[test]
fn every_snippet_that_is_not_executed_exists() {
    let all = snippets();
    for (name, reason) in NOT_EXECUTED {
        assert!(all.contains(name), "{name}");
        assert!(!reason.is_empty(), "{name}");
    }
}

/// A price such as `13.56`, in cents.
fn cents(price: &str) -> u32 {
    price.replace('.', "").parse().unwrap()
}

#[test]
fn the_fixed_costs_are_the_sum_of_their_lines_and_the_same_on_every_page() {
    let costs = std::fs::read_to_string(workspace().join("docs/operate/costs.md")).unwrap();
    let (lines, rest) = costs.split_once("| **fixed part** | | **").unwrap();
    let (fixed, _) = rest.split_once("**").unwrap();
    let price = Regex::new(r"(?m)\| ([0-9]+\.[0-9]{2}) \|$").unwrap();
    let sum: u32 = price.captures_iter(lines).map(|line| cents(&line[1])).sum();
    assert_eq!(sum, cents(fixed));
    // Each amount that is as large as the fixed part is the fixed part.
    let amount = Regex::new(r"\b([0-9]{2}\.[0-9]{2}) USD").unwrap();
    for page in ["README.md", "docs/operate/costs.md", "docs/guides/many-accounts.md"] {
        let text = std::fs::read_to_string(workspace().join(page)).unwrap();
        let amounts: Vec<String> =
            amount.captures_iter(&text).map(|amount| amount[1].to_owned()).collect();
        assert_eq!(amounts, [fixed], "{page}");
    }
}

#[test]
fn every_alarm_has_a_runbook() {
    let folder = workspace().join("docs/runbooks");
    let runbooks = files(&folder)
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("alarm-"));
    let texts: String = runbooks.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for (id, resource) in TEMPLATE.resources() {
        if resource["Type"] == "AWS::CloudWatch::Alarm" {
            assert!(texts.contains(id.as_str()), "no page docs/runbooks/alarm-….md names {id}");
        }
    }
}

#[test]
fn a_broken_link_is_a_problem() {
    let page = |text: &str| Page::read(text);
    let pages = BTreeMap::from([
        ("README.md".into(), page("# One")),
        ("docs/SUMMARY.md".into(), page("# Two `words`\n\n## Two\n\n## Two\n")),
    ]);
    let check = |path: &str, link: &str| problem(&pages, Path::new(path), link).is_some();
    for (path, link, is_broken) in [
        ("README.md", "docs/SUMMARY.md#two-words", false),
        ("README.md", "docs/SUMMARY.md#two-1", false),
        ("README.md", "docs/SUMMARY.md#two-2", true),
        ("README.md", "docs/no-such-page.md", true),
        ("README.md", "#one", false),
        ("README.md", "Cargo.toml", false),
        ("README.md", "https://example.com/a:b", false),
        ("README.md", "http://example.com", true),
        ("docs/SUMMARY.md", "../Cargo.toml", true),
        ("docs/SUMMARY.md", "book.toml", false),
    ] {
        assert_eq!(check(path, link), is_broken, "{path} {link}");
    }
}
