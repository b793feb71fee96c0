//! Scans: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html>.
//! A test sets the result of a scan by [`Registry::complete_scan`], and a single finding of Inspector
//! by [`Registry::tell_of_finding`].

pub mod finding;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::finding::listed;
use super::image::{Status, found};
use super::{Call, DAY, Error, Page, Registry, Time, error, present, text, wildcard};

/// The scan of an image.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The value of `imageScanStatus.status`, such as `IN_PROGRESS`.
    pub status: String,
    /// The reason of a failure.
    pub description: Option<String>,
    /// The findings, by the model's `ImageScanFinding` or `EnhancedImageScanFinding`.
    pub findings: Vec<Value>,
    /// Whether the findings are enhanced ones.
    pub enhanced: bool,
    /// The start of the scan.
    pub begun_at: Time,
    /// The end of the scan.
    pub completed_at: Option<Time>,
}

impl Scan {
    fn begun(enhanced: bool, now: Time) -> Self {
        Self {
            status: if enhanced { "PENDING" } else { "IN_PROGRESS" }.to_owned(),
            description: None,
            findings: Vec::new(),
            enhanced,
            begun_at: now,
            completed_at: None,
        }
    }

    /// The number of findings of each severity that occurs.
    fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(text(finding, "severity")).or_default() += 1;
        }
        counts
    }
}

impl Registry {
    /// Whether Inspector scans the registry.
    pub(crate) fn is_enhanced(&self) -> bool {
        self.settings.scanning.as_ref().is_some_and(|set| set["scanType"] == "ENHANCED")
    }

    pub(super) fn registry_scanning(&self) -> Value {
        let basic = || json!({"scanType": "BASIC", "rules": []});
        let set = self.settings.scanning.clone().unwrap_or_else(basic);
        json!({"registryId": self.account, "scanningConfiguration": set})
    }

    pub(super) fn put_registry_scanning(&mut self, input: &Value) -> Result<Value, Error> {
        let scan_type = input["scanType"].as_str().unwrap_or("BASIC");
        let rules = input["rules"].as_array().cloned().unwrap_or_default();
        let continuous = rules.iter().any(|rule| rule["scanFrequency"] == "CONTINUOUS_SCAN");
        if continuous && scan_type == "BASIC" {
            let message = "CONTINUOUS_SCAN is for the scan type ENHANCED";
            return Err(error("InvalidParameterException", message));
        }
        let set = json!({"scanType": scan_type, "rules": rules});
        self.settings.scanning = Some(set.clone());
        Ok(json!({"registryScanningConfiguration": set}))
    }

    /// The scan frequency of a repository, and the filters of the registry that set it. The rule for
    /// continuous scans comes before the other rules.
    fn frequency(&self, repository: &str) -> (&str, Vec<&Value>) {
        let rules = self.settings.scanning.as_ref().and_then(|set| set["rules"].as_array());
        let mut rules: Vec<&Value> = rules.into_iter().flatten().collect();
        rules.sort_by_key(|rule| rule["scanFrequency"] != "CONTINUOUS_SCAN");
        for rule in rules {
            let filters = rule["repositoryFilters"].as_array().into_iter().flatten();
            let applied: Vec<&Value> =
                filters.filter(|filter| applies(text(filter, "filter"), repository)).collect();
            if !applied.is_empty() {
                return (text(rule, "scanFrequency"), applied);
            }
        }
        let repository = self.repositories.get(repository);
        let own = repository
            .and_then(|repository| repository.described.get("imageScanningConfiguration"));
        let on_push = !self.is_enhanced() && own.is_some_and(|own| own["scanOnPush"] == true);
        (if on_push { "SCAN_ON_PUSH" } else { "MANUAL" }, Vec::new())
    }

    pub(super) fn scanning_configurations(&self, input: &Value) -> Value {
        let names = input["repositoryNames"].as_array().into_iter().flatten();
        let (mut configurations, mut failures) = (Vec::new(), Vec::new());
        for name in names.filter_map(Value::as_str) {
            let Some(repository) = self.repositories.get(name) else {
                failures.push(json!({"repositoryName": name, "failureCode": "REPOSITORY_NOT_FOUND", "failureReason": "The repository does not exist"}));
                continue;
            };
            let (frequency, filters) = self.frequency(name);
            configurations.push(json!({
                "repositoryArn": repository.described.get("repositoryArn"),
                "repositoryName": name,
                "scanOnPush": frequency == "SCAN_ON_PUSH",
                "scanFrequency": frequency,
                "appliedScanFilters": filters,
            }));
        }
        json!({"scanningConfigurations": configurations, "failures": failures})
    }

    /// Begins the scan of a pushed image, where scan on push is set. An index is never scanned.
    pub(super) fn scan_on_push(&mut self, repository: &str, digest: &str, now: Time) {
        let enhanced = self.is_enhanced();
        let wanted = self.frequency(repository).0 != "MANUAL";
        let images = self.repositories.get_mut(repository).map(|repository| &mut repository.images);
        if let Some(image) = images.and_then(|images| images.get_mut(digest))
            && wanted
            && !image.manifest.is_index()
        {
            image.scan = Some(Scan::begun(enhanced, now));
        }
    }

    pub(super) fn start_scan(&mut self, call: &Call<'_>, input: &Value) -> Result<Value, Error> {
        if self.is_enhanced() {
            let message = "This feature is disabled: the registry has enhanced scanning";
            return Err(error("ValidationException", message));
        }
        let image = self.named_image(input)?;
        if image.status != Status::Active {
            let message = "The specified image is archived and cannot be scanned";
            return Err(error("ImageArchivedException", message));
        }
        if image.manifest.is_index() {
            let message = format!("{} is not an image", image.manifest.media_type);
            return Err(error("UnsupportedImageTypeException", message));
        }
        if image.scan.as_ref().is_some_and(|last| call.now - last.begun_at < DAY) {
            let message = "An image is scanned at most once in 24 hours";
            return Err(error("LimitExceededException", message));
        }
        image.scan = Some(Scan::begun(false, call.now));
        let id = json!({"imageDigest": image.digest, "imageTag": input["imageId"]["imageTag"]});
        let answer = json!({"imageId": present(id), "imageScanStatus": {"status": "IN_PROGRESS"}});
        Ok(self.about(input, answer))
    }

    pub(super) fn scan_findings(&mut self, input: &Value) -> Result<Value, Error> {
        let (name, account) = (text(input, "repositoryName").to_owned(), self.account.clone());
        let page = Page::read(input, 100)?;
        let images = &self.named(input)?.images;
        let image = found(images, &input["imageId"], &name, &account)?;
        let Some(scan) = &image.scan else {
            let message = format!(
                "Image scan does not exist for the image with '{{imageDigest:'{}', imageTag:'{}'}}' in the repository with name '{name}' in the registry with id '{account}'",
                image.digest,
                input["imageId"]["imageTag"].as_str().unwrap_or("null")
            );
            return Err(error("ScanNotFoundException", message));
        };
        let numbered = scan.findings.iter().enumerate();
        let rest = numbered.map(|(n, finding)| (format!("{n:09}"), finding));
        let rest = rest.skip_while(|(key, _)| match page.start() {
            std::ops::Bound::Excluded(last) => key.as_str() <= last,
            _ => false,
        });
        let (findings, token) = page.cut(rest);
        let kind = if scan.enhanced { "enhancedFindings" } else { "findings" };
        let mut found = json!({
            "imageScanCompletedAt": scan.completed_at,
            "vulnerabilitySourceUpdatedAt": scan.completed_at,
            "findingSeverityCounts": scan.counts(),
        });
        found[kind] = json!(findings);
        let (done, digest) = (scan.completed_at.is_some(), image.digest.clone());
        let answer = json!({
            "imageId": present(json!({"imageDigest": digest, "imageTag": input["imageId"]["imageTag"]})),
            "imageScanStatus": present(json!({"status": scan.status, "description": scan.description})),
            "imageScanFindings": done.then(|| present(found)),
            "nextToken": token,
        });
        Ok(self.about(input, answer))
    }

    /// Completes the scan of an image, and sends the event of the type of scan.
    ///
    /// `outcome` is the findings, or a status other than `COMPLETE` with its description. The event
    /// of a single enhanced finding is sent by [`Registry::tell_of_finding`].
    pub fn complete_scan(
        &mut self,
        repository: &str,
        digest: &str,
        outcome: Result<Vec<Value>, (&str, &str)>,
        now: Time,
    ) -> Result<(), Error> {
        let enhanced = self.is_enhanced();
        let arn = format!("arn:aws:ecr:{}:{}:repository/{repository}", self.region, self.account);
        let outcome = match outcome {
            Ok(findings) if enhanced => {
                let placed = |finding| self.placed(repository, digest, finding, now).map(listed);
                Ok(findings.iter().map(placed).collect::<Result<_, Error>>()?)
            }
            outcome => outcome,
        };
        let image = self.image(repository, digest)?;
        let mut scan = Scan::begun(enhanced, now);
        scan.begun_at = image.scan.as_ref().map_or(now, |last| last.begun_at);
        match outcome {
            Ok(findings) => {
                if enhanced { "ACTIVE" } else { "COMPLETE" }.clone_into(&mut scan.status);
                scan.findings = findings;
                scan.completed_at = Some(now);
            }
            Err((status, description)) => {
                status.clone_into(&mut scan.status);
                scan.description = Some(description.to_owned());
            }
        }
        let mut counts = json!(scan.counts());
        let (tags, failed) = (json!(image.tags), scan.completed_at.is_none());
        if enhanced {
            counts["TOTAL"] = scan.findings.len().into();
        }
        image.scan = Some(scan);
        if enhanced {
            if !failed {
                let detail = json!({
                    "scan-status": "INITIAL_SCAN_COMPLETE",
                    "repository-name": arn,
                    "finding-severity-counts": counts,
                    "image-digest": digest,
                    "image-tags": tags,
                });
                self.tell(
                    "Inspector2 Scan",
                    "aws.inspector2",
                    std::slice::from_ref(&arn),
                    detail,
                    now,
                );
            }
            return Ok(());
        }
        let detail = json!({
            "scan-status": if failed { "FAILED" } else { "COMPLETE" },
            "repository-name": repository,
            "finding-severity-counts": counts,
            "image-digest": digest,
            "image-tags": tags,
        });
        self.tell("ECR Image Scan", "aws.ecr", &[arn], detail, now);
        Ok(())
    }
}

/// Whether a filter of the registry matches a repository. A filter without a wildcard matches every
/// name that contains it.
fn applies(filter: &str, repository: &str) -> bool {
    if filter.contains('*') { wildcard(filter, repository) } else { repository.contains(filter) }
}
