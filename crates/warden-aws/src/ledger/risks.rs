//! The last published list of accepted risks, with which a changed list is compared.

use anyhow::Context as _;

use super::{Ledger, text};

impl Ledger {
    /// The last published value of a parameter. None if no change of it was recorded. One call.
    pub async fn published_risks(&self, parameter: &str) -> anyhow::Result<Option<String>> {
        let get = self.client.get_item().table_name(&self.table).key("fact", text(&key(parameter)));
        let got = get.consistent_read(true).send().await.map_err(crate::explain);
        let got = got.with_context(|| format!("reading the last accepted risks of {parameter}"))?;
        let item = got.item.unwrap_or_default();
        Ok(item.get("list").and_then(|list| list.as_s().ok()).cloned())
    }

    /// Records the published value of a parameter. One call.
    pub async fn record_published_risks(&self, parameter: &str, list: &str) -> anyhow::Result<()> {
        let update = self
            .update(&key(parameter))
            .update_expression("SET #list = :list")
            .expression_attribute_names("#list", "list")
            .expression_attribute_values(":list", text(list));
        let recorded = update.send().await.map_err(crate::explain);
        recorded.with_context(|| format!("recording the accepted risks of {parameter}"))?;
        Ok(())
    }
}

fn key(parameter: &str) -> String {
    format!("published-risks {parameter}")
}
