//! The fields and the words of types, with their documentation, from the source code.

use local_aws::snippets::workspace;

/// A field of a struct as JSON has it, or a word of an enum.
pub struct Item {
    pub name: String,
    pub documentation: String,
    pub is_optional: bool,
}

/// The text of a file, by its path in the workspace.
pub fn read(path: &str) -> String {
    let text = std::fs::read_to_string(workspace().join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The fields of a struct that serde serializes.
pub fn fields(path: &str, name: &str) -> Vec<Item> {
    let source = read(path);
    let start = format!("pub struct {name} {{\n");
    let (before, rest) =
        source.split_once(&start).unwrap_or_else(|| panic!("{path} has no {name}"));
    let (body, _) = rest.split_once("\n}\n").unwrap();
    // The attributes of the struct stand after the last empty line.
    let (_, attributes) = before.rsplit_once("\n\n").unwrap();
    let is_camel_case = attributes.contains("rename_all = \"camelCase\"");
    let name = |line: &str| {
        let (name, kind) = line.strip_prefix("pub ")?.split_once(": ")?;
        let name = if is_camel_case { camel_case(name) } else { name.to_owned() };
        Some((name, kind.starts_with("Option<")))
    };
    items(body, name)
}

/// The words of an enum that the macro `keywords!` defines.
pub fn words(path: &str, name: &str) -> Vec<Item> {
    let source = read(path);
    let (_, rest) = source.split_once(&format!("    {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n    }\n").unwrap();
    let word = |line: &str| {
        let word = line.split_once(" = \"")?.1.split_once('"')?.0;
        Some((word.to_owned(), false))
    };
    items(body, word)
}

/// The items of the lines that `read` recognizes, each with the documentation before it.
fn items(body: &str, read: impl Fn(&str) -> Option<(String, bool)>) -> Vec<Item> {
    let (mut items, mut documentation, mut renamed) = (Vec::new(), Vec::new(), None);
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            documentation.push(text.replace("[`", "`").replace("`]", "`"));
        } else if line.starts_with("#[") {
            let name = line.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
            renamed = name.map(|(name, _)| name.to_owned()).or(renamed);
        } else if let Some((name, is_optional)) = read(line) {
            let documentation = std::mem::take(&mut documentation).join(" ");
            assert!(!documentation.is_empty(), "{name} has no documentation");
            let name = renamed.take().unwrap_or(name);
            items.push(Item { name, documentation, is_optional });
        }
    }
    assert!(!items.is_empty(), "{body}");
    items
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
