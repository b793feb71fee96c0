//! The page of the template's outputs.

use local_aws::world::TEMPLATE;

use super::{table, template};

pub fn page() -> String {
    let rows = TEMPLATE.declared_outputs().iter().map(|(name, output)| {
        let condition =
            output["Condition"].as_str().map_or("always".to_owned(), template::condition);
        let description = output["Description"].as_str().unwrap().to_owned();
        vec![format!("`{name}`"), description, condition]
    });
    let headings = ["output", "description", "exists if"];
    "These are the outputs of the deployed stack.\n\n".to_owned() + &table(&headings, rows)
}
