//! The page of alerts as JSON. The documentation of a field is that of its type; [`DETAILS`]
//! documents the details that have no type.

use std::collections::{BTreeMap, BTreeSet};

use local_aws::world::World;
use serde_json::{Value, json};

use super::source::{self, Item};
use super::table;
use crate::faults::function::{Function, deploy};
use crate::faults::scenarios::scenarios;

const TYPES: &str = "crates/warden-alerts/src/lib.rs";
const SCAN: &str = "crates/warden-alerts/src/scan/details.rs";
/// The kinds whose details are `ScanDetails`.
const OF_SCANS: [&str; 2] = ["scan-findings", "scan-resolved"];

/// The keys of the details, for each kind.
const DETAILS: [(&str, &[(&str, &str)]); 8] = [
    (
        "tag-violation",
        &[
            ("tag", "The pushed tag."),
            ("rule", "The violated rule: `forbidden`, `grammar` or `component`."),
            ("suggestion", "The tag that was probably intended, or null."),
            ("action", "The enforcement: `reported`, `untagged`, `quarantined` or `archived`."),
            ("quarantineTag", "The quarantine tag that the image has, or null."),
            (
                "replicatedTo",
                "The registries that ECR copies the image to: a list of objects with `account`, `region` and `deletions` (whether ECR replicates deletions too). The key is absent if ECR copies the image nowhere.",
            ),
        ],
    ),
    ("repository-violation", &[]),
    (
        "scan-failed",
        &[
            ("status", "The status of the scan, such as `FAILED`."),
            ("reason", "The description that ECR gives, or an empty text."),
        ],
    ),
    (
        "risk-expiring",
        &[
            ("id", "The ID of the finding, such as `CVE-2026-1234`."),
            ("until", "The last day of the acceptance, such as `2026-12-31`."),
            ("reason", "The reason of the acceptance."),
            ("owner", "The person or team that accepted the finding."),
            ("component", "The component that the acceptance is limited to, or null."),
        ],
    ),
    (
        "risks-changed",
        &[
            ("parameter", "The name of the parameter that holds the accepted risks."),
            ("version", "The version of the parameter."),
            (
                "added",
                "The added risks: at most 50 objects with `id`, `until`, `reason`, `owner` and `component`.",
            ),
            ("removed", "The removed risks, in the same form."),
            (
                "changed",
                "The changed risks: at most 50 objects with `before` and `after`, each in the same form.",
            ),
        ],
    ),
    (
        "cleanup",
        &[
            ("mode", "The enforcement: `report`, `archive` or `delete`."),
            ("hash", "The hash of the plan, which a confirmation names."),
            ("stopped", "The reason why nothing was removed, or null."),
            ("waits", "Whether the plan waits for a confirmation."),
            ("examined", "The number of images in the repository, with those in the archive."),
            ("kept", "The number of images that stay."),
            ("removed", "The number of images that were removed."),
            (
                "bytes",
                "The size of the images that the plan removes. Layers that other images share are included.",
            ),
            (
                "images",
                "The images that were removed, or that the plan would remove: at most 50 objects with `digest`, `tags` (at most 5), `tagsTotal`, `decision` and `reason`.",
            ),
            ("imagesTotal", "The number of images in the whole list."),
            ("restored", "The archived images that are being restored, in the same form."),
            ("failed", "The images that could not be removed, in the same form and with `error`."),
            ("failedTotal", "The number of images that could not be removed."),
            ("left", "The number of images that the run left for the next run."),
            (
                "replicatedTo",
                "The registries that ECR copies the images to, in the form of `tag-violation`. The key is absent if ECR copies the images nowhere.",
            ),
            (
                "replicatedFrom",
                "The registry that ECR copies the images from: an object with `account` and `region`. The key is absent if the repository is not known to be a replica.",
            ),
        ],
    ),
    (
        "report",
        &[
            ("week", "The ISO week, in UTC, such as `2026-W48`."),
            ("governed", "The number of governed repositories of the owner."),
            ("images", "The number of images that the plans of the last sweeps would remove."),
            ("bytes", "The size of these images. Layers that other images share are included."),
            ("violations", "The number of pushed tags that violated their rule in the week."),
            (
                "uncovered",
                "The number of images with a tag that neither `Keep` nor `Expire` covers, at the last sweeps.",
            ),
            (
                "repositories",
                "The repositories with something to report, the most affected first: at most 30 objects with `repository`, `images`, `bytes`, `violations`, `examples` (at most 5 violations with `tag`, `digest` and `reason`) and `uncovered` (the images with a tag that neither `Keep` nor `Expire` covers: `images`, `bytes` and at most 5 tags in `examples`, or null).",
            ),
            ("repositoriesTotal", "The number of repositories in the whole list."),
        ],
    ),
    (
        "self-audit",
        &[
            (
                "deviations",
                "The differences between the repository and its policy: a list of objects with `rule` and `text`.",
            ),
            (
                "rule",
                "`accepted-risks`, if the list of accepted risks cannot be read, or `policy-warnings`. The alert then has no `deviations`.",
            ),
            ("parameter", "The name of the parameter that holds the accepted risks."),
            ("error", "The reason why the list cannot be read."),
            ("warnings", "The warnings of the policy: at most 30 texts."),
            ("warningsTotal", "The number of warnings."),
        ],
    ),
];

pub fn page() -> String {
    let mut text = "This page describes an alert as a Lambda function or a queue receives it from \
                    the topic: one JSON object. The page [Alerts](../concepts/alerts.md) says when \
                    alerts are published, and how often. \
                    An optional key is absent or null if there is no value.\n\n## The alert\n\n"
        .to_owned();
    text += &fields(source::fields(TYPES, "Alert"));
    for (name, title) in [("Subject", "image"), ("Remedy", "remedies"), ("Source", "source")] {
        text += &format!("### `{title}`\n\n");
        text += &fields(source::fields(TYPES, name));
    }
    text += "## The kinds\n\n`kind` is one of these words. The details of each kind follow.\n\n";
    let kinds = source::words(TYPES, "AlertKind");
    let rows = kinds.iter().map(|kind| {
        let page = format!("[runbook](../runbooks/{}.md)", kind.name);
        vec![format!("`{}`", kind.name), kind.documentation.clone(), page]
    });
    text += &table(&["kind", "meaning", "page"], rows);
    let documented = DETAILS.iter().map(|(kind, _)| *kind).chain(OF_SCANS);
    let documented: BTreeSet<&str> = documented.collect();
    assert_eq!(documented, kinds.iter().map(|kind| kind.name.as_str()).collect());
    for (kind, details) in DETAILS {
        text += &format!("### Details of `{kind}`\n\n");
        let rows = details.iter().map(|(key, words)| vec![format!("`{key}`"), (*words).to_owned()]);
        text += &table(&["key", "description"], rows);
    }
    text += "### Details of `scan-findings` and `scan-resolved`\n\n";
    text += &fields(source::fields(SCAN, "ScanDetails"));
    for (name, title) in [
        ("Baseline", "The object `baseline` has these fields"),
        ("FindingDetails", "Each object of `findings` has these fields"),
        ("AcceptedDetails", "Each object of `accepted` has these fields"),
    ] {
        text += &format!("{title}:\n\n{}", fields(source::fields(SCAN, name)));
    }
    text
}

fn fields(items: Vec<Item>) -> String {
    let rows = items.into_iter().map(|item| {
        let optional = if item.is_optional { " (optional)" } else { "" };
        vec![format!("`{}`{optional}", item.name), item.documentation]
    });
    table(&["key", "description"], rows)
}

/// Adds the keys of the details of the alerts since the last time.
fn add(found: &mut BTreeMap<String, BTreeSet<String>>, world: &World) {
    for alert in world.alerts() {
        let keys = found.entry(alert["kind"].as_str().unwrap().to_owned()).or_default();
        keys.extend(alert["details"].as_object().unwrap().keys().cloned());
    }
}

/// A violation and a removal in a repository whose images ECR replicates.
async fn replicated(found: &mut BTreeMap<String, BTreeSet<String>>) {
    let world =
        deploy(&[("*.Retention.WhenReplicated", "act"), ("*.Retention.Enforcement", "delete")])
            .await;
    let destination = json!({"region": "eu-west-1", "registryId": "123456789012"});
    let rules = json!([{"destinations": [destination]}]);
    let configuration = json!({"replicationConfiguration": {"rules": rules}});
    world.aws.by_hand("PutReplicationConfiguration", &configuration).unwrap();
    let _ = world.push("infrastructure", &["litellm-1.80.5"]);
    let event = std::mem::take(&mut world.aws.state().ecr().events).pop().unwrap();
    Function::ImagePush.attempt(&world, &event, "push").await.unwrap();
    add(found, &world);
    crate::sweeps::fill(&world, 0).await;
    let request = json!({"repository": "deployments"});
    Function::ImageSweep.attempt(&world, &request, "sweep").await.unwrap();
    add(found, &world);
}

/// A sweep that stops because the repository is a replica.
async fn replica(found: &mut BTreeMap<String, BTreeSet<String>>) {
    let world = deploy(&[]).await;
    let copied = local_aws::world::event("image-push", "replicated");
    Function::ImagePush.attempt(&world, &copied, "copy").await.unwrap();
    crate::sweeps::fill(&world, 0).await;
    let request = json!({"repository": "deployments"});
    Function::ImageSweep.attempt(&world, &request, "sweep").await.unwrap();
    add(found, &world);
}

/// A list of accepted risks that cannot be read.
async fn unreadable(found: &mut BTreeMap<String, BTreeSet<String>>) {
    let scenarios = scenarios(Function::ScanComplete);
    let daily = scenarios.iter().find(|scenario| scenario.file == "each-day").unwrap();
    let (world, event) = daily.prepare().await;
    let name = &world.outputs["AcceptedRisksParameter"];
    let risks = json!({"Name": name, "Value": "none", "Overwrite": true});
    world.aws.ask("ssm", "AmazonSSM.PutParameter", &risks).await.unwrap();
    Function::ScanComplete.attempt(&world, &event, "daily").await.unwrap();
    add(found, &world);
}

#[tokio::test(start_paused = true)]
async fn the_page_has_every_key_of_the_details_of_an_alert_and_no_other_key() {
    let mut found = BTreeMap::new();
    for function in
        [Function::ImagePush, Function::ScanComplete, Function::ImageSweep, Function::SweepDispatch]
    {
        for scenario in scenarios(function) {
            let (world, event) = scenario.prepare().await;
            let time = function.timeout(&world);
            function.invoke(&world, &event, "request", time, || ()).await.unwrap();
            add(&mut found, &world);
        }
    }
    replicated(&mut found).await;
    replica(&mut found).await;
    unreadable(&mut found).await;
    let keys = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let mut documented: BTreeMap<String, BTreeSet<String>> = DETAILS
        .iter()
        .map(|(kind, details)| {
            let names = details.iter().map(|(key, _)| *key).collect();
            ((*kind).to_owned(), keys(names))
        })
        .collect();
    let of_scans = source::fields(SCAN, "ScanDetails");
    for kind in OF_SCANS {
        let names = of_scans.iter().map(|item| item.name.as_str()).collect();
        documented.insert(kind.to_owned(), keys(names));
    }
    assert_eq!(json!(found), json!(documented));
}

#[test]
fn the_page_has_every_key_of_an_alert() {
    let alert = local_aws::world::event("slack-notifier", "scan-findings");
    let alert: Value =
        serde_json::from_str(alert["Records"][0]["Sns"]["Message"].as_str().unwrap()).unwrap();
    let documented = source::fields(TYPES, "Alert");
    let documented: BTreeSet<&str> = documented.iter().map(|item| item.name.as_str()).collect();
    let keys: BTreeSet<&str> = alert.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, documented);
}
