//! Findings: made-up ones by the service model, and what Inspector tells of enhanced ones:
//! <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde_json::{Map, Value, json};

use super::Scan;
use crate::ecr::image::manifest::digest as hash;
use crate::ecr::{Error, Registry, Time, error, present, text};

/// What stands for a time, wherever it stands: the API has seconds, the event a text.
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
    attributes.extend(score(severity).map(|it| attribute("CVSS2_SCORE", &it.to_string())));
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
/// What depends on the image and on the time it goes without: [`Registry::complete_scan`]
/// and [`Registry::tell_of_finding`] put in `awsAccountId`, `findingArn`, the times and the
/// rest of `resources`, and leave what they find there, such as an `inUseCount`.
#[must_use]
pub fn enhanced_finding(
    id: &str,
    severity: &str,
    package: &str,
    version: &str,
    fixed: Option<&str>,
) -> Value {
    let score = score(severity);
    let rated = |it: f64| json!([{"baseScore": it, "source": "NVD", "version": "3.1"}]);
    let details = |it: f64| json!({"cvss": {"score": it, "scoreSource": "NVD", "version": "3.1"}});
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
    format!("A flaw of {package} that {version} still has.")
}

fn page(id: &str) -> String {
    format!("https://nvd.nist.gov/vuln/detail/{id}")
}

/// A score that goes with a severity, where it is known.
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
    /// Tells EventBridge, as Inspector does, that a finding on an image is now `ACTIVE`,
    /// `SUPPRESSED` or `CLOSED`, and has `DescribeImageScanFindings` say the same: it is put
    /// in place of the one that was there, or taken out when it is closed.
    ///
    /// The finding is an `EnhancedImageScanFinding`, such as [`enhanced_finding`] makes; the
    /// one that was there has its `findingArn`, or where it has none, its vulnerability. It
    /// may have an `epss`, which only the event has. An image without a scan has one from
    /// here on, and Inspector need not have said that it is complete.
    ///
    /// AWS does not say whether a suppressed finding is still listed; here it is.
    pub fn tell_of_finding(
        &mut self,
        repository: &str,
        digest: &str,
        finding: &Value,
        status: &str,
        now: Time,
    ) -> Result<(), Error> {
        if !self.is_enhanced() {
            let message = "Inspector finds nothing in a registry that scans basically";
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
            // What basic scanning found before the registry was set is not Inspector's.
            scan = Scan::begun(true, now);
        }
        "ACTIVE".clone_into(&mut scan.status);
        scan.description = None;
        scan.completed_at = scan.completed_at.or(Some(now));

        let place = scan.findings.iter().position(|known| is_same(known, finding));
        let known = place.and_then(|place| scan.findings.get(place));
        let mut told = finding.clone();
        for name in ["findingArn", "firstObservedAt"] {
            if told[name].is_null()
                && let Some(known) = known
            {
                told[name] = known[name].clone();
            }
        }
        told["lastObservedAt"] = match (status, known) {
            // It is not observed any more.
            ("CLOSED", Some(known)) => known["lastObservedAt"].clone(),
            _ => now.into(),
        };
        told["updatedAt"] = now.into();
        told["status"] = status.into();
        let told = self.placed(repository, digest, &told, now)?;
        match (status, place) {
            ("CLOSED", Some(place)) => drop(scan.findings.remove(place)),
            ("CLOSED", None) => {}
            (_, Some(place)) => scan.findings[place] = listed(told.clone()),
            (_, None) => scan.findings.push(listed(told.clone())),
        }
        if let Some(image) = self.repository(repository)?.images.get_mut(digest) {
            image.scan = Some(scan);
        }
        let arn = self.image_arn(repository, digest);
        let detail = self.detail(told);
        self.tell("Inspector2 Finding", "aws.inspector2", &[arn], detail, now);
        Ok(())
    }

    fn image_arn(&self, repository: &str, digest: &str) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:aws:ecr:{region}:{account}:repository/{repository}/{digest}")
    }

    /// An enhanced finding with what depends on the image that it is on.
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
        // One finding is of one vulnerability on one resource, and is called the same again.
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

    /// The detail of the event: Inspector's own names where ECR's API has others, and times
    /// for people.
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
            // A resource without tags has no member for them in an event.
            if let Some(resource) = resource.as_object_mut() {
                resource.retain(|name, value| name != "tags" || !object(value).is_empty());
            }
        }
        spell_times(&mut detail);
        detail
    }
}

/// The finding as `DescribeImageScanFindings` has it, whose model knows no `epss`.
pub(super) fn listed(mut finding: Value) -> Value {
    if let Some(finding) = finding.as_object_mut() {
        finding.remove("epss");
    }
    finding
}

/// Whether two are one finding.
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

/// Puts the text for each number that is a time.
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

/// A time as Inspector's events have it, such as `Tue Nov 24 16:55:38.411 UTC 2026`.
fn spelled(time: Time) -> String {
    let date = DateTime::from_secs_f64(time);
    let milliseconds = date.subsec_nanos() / 1_000_000;
    let whole = DateTime::from_secs(date.secs()).fmt(Format::HttpDate).unwrap_or_default();
    // As in `Tue, 24 Nov 2026 16:55:38 GMT`.
    let parts: Vec<&str> = whole.split([',', ' ']).filter(|part| !part.is_empty()).collect();
    let [weekday, day, month, year, clock, _] = parts.as_slice() else { return whole };
    format!("{weekday} {month} {day} {clock}.{milliseconds:03} UTC {year}")
}
