//! Invented findings by the service model, and the events of Inspector for enhanced findings:
//! <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value, json};

use super::Scan;
use crate::ecr::image::manifest::digest as hash;
use crate::ecr::{Error, Registry, Time, error, present, text};

/// The fields that are times, at any depth. The API has seconds, and an event has a text.
const TIMES: &[&str] = &[
    "firstObservedAt",
    "lastInUseAt",
    "lastObservedAt",
    "pushedAt",
    "updatedAt",
    "vendorCreatedAt",
    "vendorUpdatedAt",
];

/// A finding of basic scanning, by the model's `ImageScanFinding`.
#[must_use]
pub fn basic_finding(id: &str, severity: &str, package: &str, version: &str) -> Value {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": value});
    let mut attributes =
        vec![attribute("package_version", version), attribute("package_name", package)];
    attributes.extend(score(severity).map(|score| attribute("CVSS2_SCORE", &score.to_string())));
    json!({
        "name": id,
        "description": described(package, version),
        "uri": page(id),
        "severity": severity,
        "attributes": attributes,
    })
}

/// A finding of enhanced scanning, by the model's `EnhancedImageScanFinding`.
///
/// It omits the fields that depend on the image and on the time. [`Registry::complete_scan`] and
/// [`Registry::tell_of_finding`] add `awsAccountId`, `findingArn`, the times and the rest of
/// `resources`, and keep the fields that exist, such as an `inUseCount`.
#[must_use]
pub fn enhanced_finding(
    id: &str,
    severity: &str,
    package: &str,
    version: &str,
    fixed: Option<&str>,
) -> Value {
    let score = score(severity);
    let rated = |score: f64| json!([{"baseScore": score, "source": "NVD", "version": "3.1"}]);
    let details =
        |score: f64| json!({"cvss": {"score": score, "scoreSource": "NVD", "version": "3.1"}});
    let vulnerable = present(json!({
        "name": package,
        "version": version,
        "epoch": 0,
        "arch": "AMD64",
        "packageManager": "OS",
        "fixedInVersion": fixed,
    }));
    present(json!({
        "description": described(package, version),
        "exploitAvailable": "NO",
        "fixAvailable": if fixed.is_some() { "YES" } else { "NO" },
        "packageVulnerabilityDetails": {
            "cvss": score.map_or_else(|| json!([]), rated),
            "referenceUrls": [page(id)],
            "relatedVulnerabilities": [],
            "source": "NVD",
            "sourceUrl": page(id),
            "vendorSeverity": severity.to_lowercase(),
            "vulnerabilityId": id,
            "vulnerablePackages": [vulnerable],
        },
        "remediation": {"recommendation": {"text": "None Provided"}},
        "resources": [{
            "type": "AWS_ECR_CONTAINER_IMAGE",
            "details": {
                "awsEcrContainerImage": {"architecture": "amd64", "platform": "DEBIAN_12"},
            },
        }],
        "score": score,
        "scoreDetails": score.map(details),
        "severity": severity,
        "status": "ACTIVE",
        "title": format!("{id} - {package}"),
        "type": "PACKAGE_VULNERABILITY",
    }))
}

fn described(package: &str, version: &str) -> String {
    format!("A vulnerability of {package} that {version} still contains.")
}

fn page(id: &str) -> String {
    format!("https://nvd.nist.gov/vuln/detail/{id}")
}

/// A score for a severity. None for a severity without a number.
fn score(severity: &str) -> Option<f64> {
    match severity {
        "CRITICAL" => Some(9.8),
        "HIGH" => Some(7.5),
        "MEDIUM" => Some(5.3),
        "LOW" => Some(3.1),
        _ => None,
    }
}

impl Registry {
    /// Sends the event of Inspector that a finding on an image is now `ACTIVE`, `SUPPRESSED` or
    /// `CLOSED`, and changes the answer of `DescribeImageScanFindings`: the finding replaces the known
    /// one, or removes the known one if it is `CLOSED`.
    ///
    /// The finding is an `EnhancedImageScanFinding`, such as [`enhanced_finding`] creates. The known
    /// finding has the same `findingArn`, or the same vulnerability if the given finding has no ARN.
    /// The finding may have an `epss`, which only the event contains. An image without a scan gets
    /// one, and Inspector need not have completed it.
    ///
    /// AWS does not document whether a suppressed finding is still listed; here it is.
    pub fn tell_of_finding(
        &mut self,
        repository: &str,
        digest: &str,
        finding: &Value,
        status: &str,
        now: Time,
    ) -> Result<(), Error> {
        if !self.is_enhanced() {
            let message = "Inspector does not scan a registry with basic scanning";
            return Err(error("ValidationException", message));
        }
        if !["ACTIVE", "SUPPRESSED", "CLOSED"].contains(&status) {
            let message = format!("{status} is not the status of a finding");
            return Err(error("ValidationException", message));
        }
        let image = self.repository(repository)?.images.get(digest);
        let image = image.ok_or_else(|| error("ImageNotFoundException", digest))?;
        let mut scan = image.scan.clone().unwrap_or_else(|| Scan::begun(true, now));
        if !scan.enhanced {
            // The findings of basic scanning are not findings of Inspector.
            scan = Scan::begun(true, now);
        }
        "ACTIVE".clone_into(&mut scan.status);
        scan.description = None;
        scan.completed_at = scan.completed_at.or(Some(now));

        let place = scan.findings.iter().position(|known| is_same(known, finding));
        let known = place.and_then(|place| scan.findings.get(place));
        let mut updated = finding.clone();
        for name in ["findingArn", "firstObservedAt"] {
            if updated[name].is_null()
                && let Some(known) = known
            {
                updated[name] = known[name].clone();
            }
        }
        updated["lastObservedAt"] = match (status, known) {
            // A closed finding was observed before.
            ("CLOSED", Some(known)) => known["lastObservedAt"].clone(),
            _ => now.into(),
        };
        updated["updatedAt"] = now.into();
        updated["status"] = status.into();
        let updated = self.placed(repository, digest, &updated, now)?;
        match (status, place) {
            ("CLOSED", Some(place)) => drop(scan.findings.remove(place)),
            ("CLOSED", None) => {}
            (_, Some(place)) => scan.findings[place] = listed(updated.clone()),
            (_, None) => scan.findings.push(listed(updated.clone())),
        }
        if let Some(image) = self.repository(repository)?.images.get_mut(digest) {
            image.scan = Some(scan);
        }
        let arn = self.image_arn(repository, digest);
        let detail = self.detail(updated);
        self.tell("Inspector2 Finding", "aws.inspector2", &[arn], detail, now);
        Ok(())
    }

    fn image_arn(&self, repository: &str, digest: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:aws:ecr:{region}:{account}:repository/{repository}/{digest}")
    }

    /// An enhanced finding with the fields that depend on its image.
    pub(super) fn placed(
        &mut self,
        repository: &str,
        digest: &str,
        finding: &Value,
        now: Time,
    ) -> Result<Value, Error> {
        let (arn, account) = (self.image_arn(repository, digest), self.account.clone());
        let images = &self.repository(repository)?.images;
        let image = images.get(digest).ok_or_else(|| error("ImageNotFoundException", digest))?;
        let mut on = object(&finding["resources"][0]["details"]["awsEcrContainerImage"]);
        let facts = json!({
            "imageHash": digest,
            "imageTags": image.tags,
            "pushedAt": image.pushed_at,
            "registry": account,
            "repositoryName": repository,
        });
        on.extend(object(&facts));
        let mut placed = object(finding);
        // A finding is about one vulnerability of one resource, and its ARN never changes.
        let id = hash(format!("{arn} {}", vulnerability(finding)).as_bytes());
        let id = id.trim_start_matches("sha256:").get(..32).unwrap_or_default();
        let region = &self.region;
        for (name, value) in [
            ("findingArn", json!(format!("arn:aws:inspector2:{region}:{account}:finding/{id}"))),
            ("firstObservedAt", now.into()),
            ("lastObservedAt", now.into()),
            ("updatedAt", now.into()),
        ] {
            let given = placed.entry(name).or_insert(Value::Null);
            if given.is_null() {
                *given = value;
            }
        }
        placed.insert("awsAccountId".to_owned(), account.into());
        let resource = json!({
            "details": {"awsEcrContainerImage": on},
            "id": arn,
            "tags": {},
            "type": "AWS_ECR_CONTAINER_IMAGE",
        });
        placed.insert("resources".to_owned(), json!([resource]));
        Ok(placed.into())
    }

    /// The detail of the event. It has the names of Inspector where the API of ECR has other names,
    /// and times as texts.
    fn detail(&self, finding: Value) -> Value {
        let mut detail = finding;
        if let Some(detail) = detail.as_object_mut() {
            if let Some(score) = detail.remove("score") {
                detail.insert("inspectorScore".to_owned(), score);
            }
            if let Some(mut details) = detail.remove("scoreDetails") {
                let cvss = details["cvss"].take();
                let source = cvss["scoreSource"].clone();
                let mut adjusted = object(&cvss);
                adjusted.entry("adjustments").or_insert_with(|| json!([]));
                adjusted.insert("cvssSource".to_owned(), source);
                let adjusted = json!({"adjustedCvss": present(adjusted.into())});
                detail.insert("inspectorScoreDetails".to_owned(), adjusted);
            }
        }
        for resource in detail["resources"].as_array_mut().into_iter().flatten() {
            resource["partition"] = "aws".into();
            resource["region"] = self.region.as_str().into();
            // In an event, a resource without tags has no member `tags`.
            if let Some(resource) = resource.as_object_mut() {
                resource.retain(|name, value| name != "tags" || !object(value).is_empty());
            }
        }
        spell_times(&mut detail);
        detail
    }
}

/// The finding in `DescribeImageScanFindings`, whose model has no `epss`.
pub(super) fn listed(mut finding: Value) -> Value {
    if let Some(finding) = finding.as_object_mut() {
        finding.remove("epss");
    }
    finding
}

/// Whether both values are the same finding.
fn is_same(known: &Value, finding: &Value) -> bool {
    match finding["findingArn"].as_str() {
        Some(arn) => known["findingArn"] == arn,
        None => vulnerability(known) == vulnerability(finding),
    }
}

fn vulnerability(finding: &Value) -> &str {
    text(&finding["packageVulnerabilityDetails"], "vulnerabilityId")
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Replaces each number that is a time by its text.
fn spell_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_f64() {
                    Some(time) if TIMES.contains(&name.as_str()) => *value = spelled(time).into(),
                    _ => spell_times(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(spell_times),
        _ => {}
    }
}

/// A time in an event of Inspector, such as `Tue Nov 24 16:55:38.411 UTC 2026`.
fn spelled(time: Time) -> String {
    let date = DateTime::from_secs_f64(time);
    let milliseconds = date.subsec_nanos() / 1_000_000;
    let whole = DateTime::from_secs(date.secs()).fmt(Format::HttpDate).unwrap_or_default();
    // As in `Tue, 24 Nov 2026 16:55:38 GMT`.
    let parts: Vec<&str> = whole.split([',', ' ']).filter(|part| !part.is_empty()).collect();
    let [weekday, day, month, year, clock, _] = parts.as_slice() else { return whole };
    format!("{weekday} {month} {day} {clock}.{milliseconds:03} UTC {year}")
}
