//! The page of the metrics that the functions write.

use local_aws::snippets::workspace;
use warden_aws::metrics::{METRICS, NAMESPACE};

use super::table;

pub fn page() -> String {
    let rows = METRICS.iter().map(|metric| {
        let dimensions = metric.dimensions.iter().map(|name| format!("`{name}`"));
        let dimensions = dimensions.collect::<Vec<_>>().join(", ");
        vec![format!("`{}`", metric.name), dimensions, metric.description.to_owned()]
    });
    let intro = format!(
        "The functions write these metrics to the namespace `{NAMESPACE}`, as log lines in the \
         embedded metric format of CloudWatch. The unit of every metric is `Count`. Add the values \
         of a period with the statistic `Sum`.\n\n"
    );
    intro + &table(&["metric", "dimensions", "description"], rows)
}

/// The sources of all functions.
pub fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![workspace().join("functions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}
