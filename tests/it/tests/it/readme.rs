//! What the README says of the template.

use std::collections::BTreeMap;

use local_aws::template::Template;

#[test]
fn the_readme_has_every_parameter_with_its_default() {
    let template = Template::read(include_str!("../../../../infra/sam/template.yaml")).unwrap();
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
    assert_eq!(written, template.parameters());
}
