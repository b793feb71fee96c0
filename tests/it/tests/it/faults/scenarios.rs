//! The scenarios: each file of `events/` with the image, the scan or the full repository that the
//! event is about.

use std::time::Duration;

use local_aws::ecr::scan::finding::{basic_finding, enhanced_finding};
use local_aws::world::World;
use serde_json::{Value, json};
use warden_aws::ledger::Ledger;
use warden_core::retention::{Confirmation, confirmed_image};

use super::function::{Function, deploy};
use crate::sweeps::fill;

/// A file of `events/` in a stack with these parameters.
#[derive(Clone)]
pub struct Scenario {
    pub function: Function,
    pub file: String,
    event: Value,
    pub parameters: Parameters,
}

type Parameters = &'static [(&'static str, &'static str)];

const UNMATCHED: (&str, &str) = (".Unmatched", "report");
const ARCHIVE: Parameters = &[
    UNMATCHED,
    ("platform.Tags.Enforcement", "archive"),
    ("applications.Tags.Enforcement", "archive"),
];
const REPORT: Parameters = &[
    UNMATCHED,
    ("platform.Tags.Enforcement", "report"),
    ("platform.Repositories", r#"["infra*"]"#),
    ("EnforceRepositories", "infra*,deployments"),
];
/// Wildcards match the repositories.
const WILDCARDS: Parameters = &[
    ("platform.Repositories", r#"["infra*"]"#),
    ("applications.Repositories", r#"["deploy*"]"#),
    ("EnforceRepositories", "infra*,deploy*"),
];
/// Wildcards match the repositories, and one wildcard has no effect.
const WARNED: Parameters = &[
    ("platform.Repositories", r#"["infra*"]"#),
    ("applications.Repositories", r#"["deploy*", "deploy-copies/*"]"#),
    (".Replicas", r#"["deploy-copies/*"]"#),
    ("EnforceRepositories", "infra*,deploy*"),
];
const DELETE: Parameters = &[("*.Retention.Enforcement", "delete")];
const NO_CLEANUP: Parameters = &[
    ("*.Retention.Enforcement", "report"),
    ("applications.Repositories", r#"["deploy*"]"#),
    ("platform.Repositories", r#"["infra*"]"#),
    ("EnforceRepositories", "infra*,deploy*"),
];
const INSPECTOR: Parameters = &[("InUseSources", "inspector")];
/// The stack adopted the repository, and a person confirmed the first plan.
const ADOPTED: Parameters = &[("OnExistingRepository", "adopt")];

/// The settings in which a function does different things about an event.
fn settings(function: Function, file: &str) -> &'static [Parameters] {
    match (function, file) {
        (Function::ImagePush, _) => &[&[UNMATCHED], ARCHIVE, REPORT],
        (Function::ImageSweep, "sweep") => &[&[], DELETE, NO_CLEANUP, INSPECTOR, ADOPTED],
        (Function::ScanComplete, _) => &[WILDCARDS],
        (Function::SweepDispatch, _) => &[WARNED],
        _ => &[&[]],
    }
}

/// The scenarios of a function: each of its files in each of its settings.
pub fn scenarios(function: Function) -> Vec<Scenario> {
    let in_settings = |(file, event): (String, Value)| {
        settings(function, &file).iter().map(move |&parameters| {
            let (file, event) = (file.clone(), event.clone());
            Scenario { function, file, event, parameters }
        })
    };
    function.events().into_iter().flat_map(in_settings).collect()
}

impl Scenario {
    /// Deploys a stack, creates the subject of the event, and returns the stack and the event.
    pub async fn prepare(&self) -> (World, Value) {
        let world = deploy(self.parameters).await;
        let event = match self.function {
            // The futures are large.
            Function::ImagePush => Box::pin(self.pushed(&world)).await,
            Function::ScanComplete => Box::pin(self.scanned(&world)).await,
            Function::ImageSweep => self.swept(&world).await,
            Function::SlackNotifier => self.event.clone(),
            Function::SweepDispatch => self.reported(&world).await,
        };
        // The events, the calls and the alerts until now have another cause.
        world.forget();
        let _ = local_aws::log::text();
        (world, event)
    }

    /// The event with another digest, also in its tag.
    fn of_image(&self, before: &str, digest: &str) -> Value {
        let text = self.event.to_string().replace(before, digest);
        let text = text.replace(&before[7..19], &digest[7..19]);
        serde_json::from_str(&text).unwrap()
    }

    async fn pushed(&self, world: &World) -> Value {
        let detail = &self.event["detail"];
        if self.event["detail-type"] == "ECR Replication Action" {
            return self.event.clone();
        }
        let repository = detail["repository-name"].as_str().unwrap();
        expect_repository(world, repository);
        let (digest, parts) = {
            let mut state = world.aws.state();
            let now = state.now();
            let registry = state.ecr();
            let mut image = || registry.push_made_up(repository, &[], now).unwrap();
            if detail["manifest-media-type"].as_str().unwrap().contains("index") {
                let parts = [image(), image()];
                (registry.push_index(repository, &parts, &[], now).unwrap(), parts.to_vec())
            } else {
                (image(), Vec::new())
            }
        };
        // One of the images of an index was scanned before the push of the index.
        if let Some(part) = parts.first() {
            let scanned = world.complete_scan(repository, part, Ok(Vec::new()));
            Box::pin(Function::ScanComplete.attempt(world, &scanned, "scan")).await.unwrap();
        }
        let event = self.of_image(detail["image-digest"].as_str().unwrap(), &digest);
        if let Some(tag) = event["detail"]["image-tag"].as_str().filter(|tag| !tag.is_empty()) {
            world.tag(repository, &digest, tag);
        }
        event
    }

    async fn scanned(&self, world: &World) -> Value {
        let detail = &self.event["detail"];
        if ["aws.events", "aws.ssm"].iter().any(|source| self.event["source"] == *source) {
            // The risk expires in a week, so its owner gets an alert.
            let risk = json!([{"id": "CVE-1", "until": "2026-11-30", "reason": "x", "owner": "y"}]);
            let name = &world.outputs["AcceptedRisksParameter"];
            let risks = json!({"Name": name, "Value": risk.to_string(), "Overwrite": true});
            world.aws.ask("ssm", "AmazonSSM.PutParameter", &risks).await.unwrap();
            return self.event.clone();
        }
        let of_ecr = "aws_ecr_container_image";
        let is_finding = self.event["detail-type"] == "Inspector2 Finding";
        let container = &detail["resources"][0]["details"]["awsEcrContainerImage"];
        let named =
            if is_finding { &container["repositoryName"] } else { &detail["repository-name"] };
        let Some(named) = named.as_str() else {
            assert_eq!(self.file, "inspector-scan-of-a-server", "{of_ecr}");
            return self.event.clone();
        };
        let repository = named.rsplit('/').next().unwrap();
        expect_repository(world, repository);
        let is_enhanced = self.event["source"] == "aws.inspector2";
        if is_enhanced {
            world.enable_enhanced_scanning();
        }
        self.scanned_before(world, repository, is_enhanced).await;

        let tags = if is_finding { &container["imageTags"] } else { &detail["image-tags"] };
        let tags: Vec<&str> =
            tags.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let digest = world.push(repository, &tags);
        if self.file == "part-of-an-index" {
            self.put_into_index(world, repository, &digest).await;
        }
        let before = if is_finding { &container["imageHash"] } else { &detail["image-digest"] };
        let event = self.of_image(before.as_str().unwrap(), &digest);
        if is_finding {
            let id = detail["packageVulnerabilityDetails"]["vulnerabilityId"].as_str().unwrap();
            let level = detail["severity"].as_str().unwrap();
            let finding = enhanced_finding(id, level, "openssl", "3.0.17", Some("3.0.18"));
            let status = detail["status"].as_str().unwrap();
            let opened = world.report_finding(repository, &digest, &finding, "ACTIVE");
            if status == "CLOSED" {
                self.function.attempt(world, &opened, "before").await.unwrap();
                let _ = world.report_finding(repository, &digest, &finding, status);
            }
        } else {
            let outcome = if detail["scan-status"] == "FAILED" {
                Err(("FAILED", "UnsupportedImageError: the operating system is not supported"))
            } else {
                Ok(self.findings(is_enhanced))
            };
            let completed = world.complete_scan(repository, &digest, outcome);
            if self.file == "recheck" {
                Box::pin(self.function.attempt(world, &completed, "before")).await.unwrap();
                Box::pin(self.put_into_index(world, repository, &digest)).await;
            }
        }
        event
    }

    /// The findings that the event counts; one where it does not.
    fn findings(&self, is_enhanced: bool) -> Vec<Value> {
        let one = |level: &str, nth: u64| {
            let id = format!("CVE-2026-{level}-{nth}");
            if is_enhanced {
                enhanced_finding(&id, level, "openssl", "3.0.17", Some("3.0.18"))
            } else {
                basic_finding(&id, level, "openssl", "3.0.17")
            }
        };
        let Some(counts) = self.event["detail"]["finding-severity-counts"].as_object() else {
            return vec![one("HIGH", 0)];
        };
        let levels = counts.iter().filter(|(level, _)| *level != "TOTAL");
        levels
            .flat_map(|(level, count)| (0..count.as_u64().unwrap()).map(|nth| one(level, nth)))
            .collect()
    }

    /// Creates the previous version of litellm, which had a finding that was published.
    async fn scanned_before(&self, world: &World, repository: &str, is_enhanced: bool) {
        if is_enhanced || repository == "scratch" {
            return;
        }
        let digest = world.push(repository, &["litellm-v1.80.3"]);
        let finding = basic_finding("CVE-2026-BEFORE", "HIGH", "curl", "8.5.0");
        let completed = world.complete_scan(repository, &digest, Ok(vec![finding]));
        self.function.attempt(world, &completed, "before").await.unwrap();
        world.aws.advance(Duration::from_secs(1));
    }

    /// `image-push` has noted of which index the image is.
    async fn put_into_index(&self, world: &World, repository: &str, digest: &str) {
        let mut pushed = Function::ImagePush.events()["index"].clone();
        let index = world.push_index(repository, &[digest.to_owned()], "litellm-v1.80.5");
        pushed["detail"]["image-digest"] = index.into();
        pushed["detail"]["image-tag"] = "litellm-v1.80.5".into();
        Function::ImagePush.attempt(world, &pushed, "index").await.unwrap();
    }

    /// The event of a second delivery: the daily event comes on the next day.
    pub fn again(&self, world: &World, event: &Value) -> Value {
        if self.file == "each-day" {
            world.aws.advance(Duration::from_secs(24 * 60 * 60));
        }
        event.clone()
    }

    /// A tag violates a rule that only reports. The schedule starts the first round of the next week.
    async fn reported(&self, world: &World) -> Value {
        let _ = world.push("deployments", &["mcp_github_latest"]);
        let pushed = std::mem::take(&mut world.aws.state().ecr().events).pop().unwrap();
        Function::ImagePush.attempt(world, &pushed, "push").await.unwrap();
        let _ = world.take_messages("SweepQueue").await;
        if self.file == "scheduled" {
            world.aws.advance(Duration::from_secs(7 * 24 * 60 * 60));
        }
        self.event.clone()
    }

    /// The ID of a later delivery of the event. A digest that a person asks for is published once for each
    /// request ID.
    pub fn id<'i>(&self, first: &'i str, later: &'i str) -> &'i str {
        if self.file == "digest-now" { first } else { later }
    }

    /// Confirms the plan of the repository, as an operator does who has read it.
    async fn confirm(&self, world: &World) {
        let read = json!({"repository": "deployments", "mode": "report"});
        let plan = self.function.attempt(world, &read, "read").await.unwrap();
        let removals = plan["removals"].as_array().unwrap().iter();
        let digest = |removal: &Value| removal["digest"].as_str().unwrap().parse().unwrap();
        let confirmation = Confirmation {
            retention: plan["retention"].as_str().unwrap().to_owned(),
            images: removals.map(|removal| confirmed_image(&digest(removal))).collect(),
            is_whole: true,
            guard: plan["guard"].as_str().unwrap().to_owned(),
            confirmed_at: world.now(),
        };
        let table = world.function("image-sweep").environment["LEDGER_TABLE"].clone();
        let ledger = Ledger::new(&world.aws.config(), table);
        ledger.confirm(&"deployments".parse().unwrap(), &confirmation).await.unwrap();
    }

    async fn swept(&self, world: &World) -> Value {
        let images = fill(world, 0);
        world.enable_enhanced_scanning();
        if self.parameters == INSPECTOR {
            // An image that would be removed is in use.
            world.report_running("deployments", &images["app-v0.4.0"]);
        }
        if self.parameters == ADOPTED {
            let arn = "arn:aws:ecr:us-east-1:123456789012:repository/deployments";
            let tags = json!({"resourceArn": arn, "tagKeys": ["ecr-warden:owner"]});
            world.aws.by_hand("UntagResource", &tags).unwrap();
            self.confirm(world).await;
        }
        let mut event = self.event.clone();
        if self.file == "explain" {
            event["image"] = "app-v0.4.0".into();
        }
        event
    }
}

/// Makes a repository that is not of the stack.
fn expect_repository(world: &World, name: &str) {
    if world.aws.state().ecr().repository(name).is_err() {
        world.aws.by_hand("CreateRepository", &json!({"repositoryName": name})).unwrap();
    }
}
