//! What the README says of the template.

use std::collections::{BTreeMap, BTreeSet};

use local_aws::world::TEMPLATE;

#[test]
fn the_readme_has_every_parameter_with_its_default() {
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("### Parameters").unwrap();
    let (section, _) = section.split_once("### Outputs").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let written: BTreeMap<&str, Option<String>> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let default = if cells[2] == "empty" { "" } else { cells[2].trim_matches('`') };
            (cells[1].trim_matches('`'), Some(default.to_owned()))
        })
        .collect();
    assert_eq!(written, TEMPLATE.parameters());
}

/// The actions, such as `ecr:PutImage`, that a table names.
fn actions(table: &str) -> BTreeSet<String> {
    let codes = table.split('`').skip(1).step_by(2);
    let is_action = |it: &&str| {
        let rest = it.split_once(':').map(|(_, operation)| operation);
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase()))
    };
    codes.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn the_readme_has_every_action_that_a_role_grants_and_no_other() {
    let template = include_str!("../../../../infra/sam/template.yaml");
    let roles = template.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix("Role:"));
    let roles: Vec<&str> = roles.filter(|name| !name.starts_with(' ')).collect();
    assert_eq!(roles.len(), 8, "{roles:?}");
    let readme = include_str!("../../../../README.md");
    let table = |of: &str| {
        let found = readme.split("\n\n").find(|it| it.starts_with(&format!("| {of} may")));
        actions(found.unwrap_or_else(|| panic!("the README has no table of {of}")))
    };
    for name in roles {
        let role = format!("{name}Role");
        let function = format!("`{name}Function`");
        let written = if readme.contains(&format!("| {function} may")) {
            table(&function).union(&table("each function")).cloned().collect()
        } else {
            table(&format!("`{role}`"))
        };
        assert_eq!(written, TEMPLATE.actions(&role), "{role}");
    }
}

#[test]
fn the_version_of_the_application_is_that_of_the_workspace() {
    let template = include_str!("../../../../infra/sam/template.yaml");
    let version = concat!("SemanticVersion: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(template.contains(version), "the template has no {version}");
}

#[test]
fn the_documentation_that_alerts_link_to_is_in_the_repository_of_the_workspace() {
    let parameters = TEMPLATE.parameters();
    let default = parameters["DocumentationUrl"].as_deref().unwrap();
    assert!(default.starts_with(concat!(env!("CARGO_PKG_REPOSITORY"), "/")), "{default}");
}
