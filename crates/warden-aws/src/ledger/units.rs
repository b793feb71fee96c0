//! Units that are removed. Each unit is recorded before the first call, so that the next run can finish
//! the removal or restore the unit.
//!
//! Each unit has an item with its images, for 400 days. The item of the sweeps of the repository has the
//! roots of the units that are not completed, in the set `unfinished`.

use std::collections::HashMap;

use anyhow::Context as _;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use chrono::{DateTime, Utc};
use warden_core::image::{Digest, RepositoryName};
use warden_core::retention::UnitRecord;

use super::{Ledger, REMEMBERED, runs, seconds, text};

impl Ledger {
    /// Records the units whose removal is about to begin. One call for 25 units, and one more.
    pub async fn begin_units(
        &self,
        repository: &RepositoryName,
        units: &[UnitRecord],
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let beginning = || format!("recording units of {repository} before they are removed");
        let put = |unit: &UnitRecord| {
            let request = PutRequest::builder()
                .item("fact", text(&key(repository, &unit.root)))
                .item("unit_record", text(&serde_json::to_string(unit)?))
                .item("expires", seconds(now, REMEMBERED));
            anyhow::Ok(WriteRequest::builder().put_request(request.build()?).build())
        };
        let requests = units.iter().map(put).collect::<anyhow::Result<Vec<_>>>();
        self.write_items(requests.with_context(beginning)?).await.with_context(beginning)?;
        // Last, so that a root in this set always has an item.
        let Some(roots) = roots(units.iter().map(|unit| &unit.root)) else { return Ok(()) };
        let update = self
            .update(&runs::key(repository))
            .update_expression("SET expires = :expires ADD unfinished :roots")
            .expression_attribute_values(":expires", seconds(now, REMEMBERED))
            .expression_attribute_values(":roots", roots);
        update.send().await.map_err(crate::explain).with_context(beginning)?;
        Ok(())
    }

    /// Records that these units are complete. One call.
    pub async fn end_units(
        &self,
        repository: &RepositoryName,
        units: impl IntoIterator<Item = &Digest>,
    ) -> anyhow::Result<()> {
        let Some(roots) = roots(units) else { return Ok(()) };
        let update = self
            .update(&runs::key(repository))
            .update_expression("DELETE unfinished :roots")
            .expression_attribute_values(":roots", roots);
        let ended = update.send().await.map_err(crate::explain);
        ended.with_context(|| format!("recording that units of {repository} are complete"))?;
        Ok(())
    }

    /// Reads the records of the units with these roots. A root without a record is left out. One call
    /// for 100 units.
    pub async fn units(
        &self,
        repository: &RepositoryName,
        roots: &[Digest],
    ) -> anyhow::Result<HashMap<Digest, UnitRecord>> {
        let reading = || format!("reading the removed units of {repository}");
        let keys: Vec<String> = roots.iter().map(|root| key(repository, root)).collect();
        let items = self.read_items(&keys, "unit_record").await.with_context(reading)?;
        let mut units = HashMap::new();
        for item in items {
            let unit = item.get("unit_record").and_then(|unit| unit.as_s().ok());
            let unit = unit.context("an item has no unit_record").with_context(reading)?;
            let unit: UnitRecord = serde_json::from_str(unit).with_context(reading)?;
            units.insert(unit.root.clone(), unit);
        }
        Ok(units)
    }
}

/// The key of a unit, by its root.
fn key(repository: &RepositoryName, root: &Digest) -> String {
    format!("unit {repository} {root}")
}

/// A set of digests. None if there is no digest: `DynamoDB` has no empty sets.
fn roots<'d>(digests: impl IntoIterator<Item = &'d Digest>) -> Option<AttributeValue> {
    let digests: Vec<String> = digests.into_iter().map(Digest::to_string).collect();
    (!digests.is_empty()).then_some(AttributeValue::Ss(digests))
}
