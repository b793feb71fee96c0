//! Tests accepted risks: accepted findings, expiry, changes, and lists that cannot be read.

use std::time::Duration;

use expect_test::expect;
use local_aws::Fault;
use local_aws::world::masked;
use serde_json::{Value, json};

use crate::{Function, event, kinds, new_and_all};

/// A list of one accepted risk of `litellm`, which expires after `day`.
fn until(day: &str) -> String {
    json!([{
        "id": "CVE-1", "until": day, "reason": "not reachable", "owner": "platform",
        "component": "litellm",
    }])
    .to_string()
}

#[tokio::test]
async fn an_accepted_finding_is_listed_and_does_not_count() {
    let function = Function::new().await;
    function.accept(&until("2027-01-31")).await;
    let image = function.push(&["litellm-v1.80.5"]);
    assert_eq!(function.scanned(&image, "CVE-1:CRITICAL").await, [] as [Value; 0]);
    let image = function.push(&["litellm-v1.80.6"]);
    let alerts = function.scanned(&image, "CVE-1:CRITICAL CVE-2:HIGH").await;
    assert_eq!(
        (new_and_all(&alerts[0]), &alerts[0]["severity"]),
        ((vec!["CVE-2"], vec!["CVE-2"]), &json!("HIGH"))
    );
    assert_eq!(
        alerts[0]["details"]["accepted"],
        json!([{"id": "CVE-1", "severity": "CRITICAL", "until": "2027-01-31", "reason": "not reachable", "owner": "platform"}])
    );
    // After its last day, the finding counts again.
    function.aws.advance(Duration::from_secs(20 * 86_400));
    let alerts = function.scanned(&image, "CVE-1:CRITICAL CVE-2:HIGH").await;
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-1"]);
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.6 found 2 findings at or above HIGH (1 CRITICAL, 1 HIGH), and 2 findings in all. Compared with the previous version litellm-v1.80.5, 1 finding is new and 0 are gone.

        New findings:
        - CRITICAL CVE-1 in openssl 3.0.17; accepted until 2027-01-31, and not any more; https://nvd.nist.gov/vuln/detail/CVE-1

        Why: the image has findings at or above AlertSeverityThreshold=HIGH that no earlier alert reported.

        What to do: replace the packages and push a new version, or accept a finding that does not affect the image.

        Reported before:
        - HIGH CVE-2 in openssl 3.0.17; https://nvd.nist.gov/vuln/detail/CVE-2"#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));
}

// Case B18 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_list_with_a_byte_order_mark_and_lower_case_identifiers_accepts_its_findings() {
    let function = Function::new().await;
    let list = until("2027-01-31").replace("CVE-1", "cve-1");
    function.accept(&format!("\u{feff}{list}")).await;
    let image = function.push(&["litellm-v1.80.5"]);
    assert_eq!(function.scanned(&image, "CVE-1:CRITICAL").await, [] as [Value; 0]);
}

// Case B22 in docs/contributing/prior-art.md.
#[tokio::test]
async fn a_list_with_a_repeated_key_or_an_impossible_day_accepts_nothing() {
    let twice = until("2026-01-31").replace(r#""until""#, r#""until":"2027-01-31","until""#);
    for wrong in [twice, until("+99999-12-31"), until("2027-02-30")] {
        let function = Function::new().await;
        function.accept(&wrong).await;
        let image = function.push(&["litellm-v1.80.5"]);
        let alerts = function.scanned(&image, "CVE-1:CRITICAL").await;
        assert_eq!(kinds(&alerts), ["self-audit", "scan-findings"], "{wrong}");
    }
}

#[tokio::test]
async fn an_accepted_finding_resolves_its_alert_and_is_published_again_after_expiry() {
    let function = Function::new().await;
    let image = function.push(&["litellm-v1.80.5"]);
    assert_eq!(function.scanned(&image, "CVE-1:CRITICAL").await.len(), 1);
    function.accept(&until("2027-01-31")).await;
    let alerts = function.scanned(&image, "CVE-1:CRITICAL").await;
    assert_eq!(kinds(&alerts), ["scan-resolved"]);
    expect![[r#"
        The scan of infrastructure:litellm-v1.80.5 found no open finding at or above HIGH. 1 finding at or above HIGH is accepted.

        Why: an earlier alert reported findings in litellm.

        What to do: deploy this version. Older versions may still have the findings."#]].assert_eq(&masked(alerts[0]["text"].as_str().unwrap()));
    function.aws.advance(Duration::from_secs(20 * 86_400));
    let alerts = function.scanned(&image, "CVE-1:CRITICAL").await;
    assert_eq!(new_and_all(&alerts[0]).0, ["CVE-1"]);
    assert_eq!(function.scanned(&image, "CVE-1:CRITICAL").await, [] as [Value; 0]);
}

#[tokio::test]
async fn an_alert_about_an_index_is_resolved_in_any_order_of_its_scans() {
    for accepted_first in [true, false] {
        let function = Function::new().await;
        let images = function.push_index("litellm-v1.80.5", 2).await;
        assert_eq!(function.scanned(&images[0], "CVE-2:CRITICAL").await.len(), 1);
        function.accept(&until("2027-01-31")).await;
        let images = function.push_index("litellm-v1.80.6", 2).await;
        let mut scans = [(&images[0], "CVE-1:CRITICAL"), (&images[1], "")];
        if !accepted_first {
            scans.reverse();
        }
        let [(one, found), (other, rest)] = scans;
        assert_eq!(function.scanned(one, found).await, [] as [Value; 0], "{accepted_first}");
        let alerts = function.scanned(other, rest).await;
        assert_eq!(kinds(&alerts), ["scan-resolved"], "{accepted_first}");
    }
}

#[tokio::test]
async fn an_unreadable_list_accepts_nothing_and_is_published_once_a_day() {
    for wrong in ["{", "[{\"id\": \"CVE-1\"}]", "denied"] {
        let function = Function::new().await;
        if wrong == "denied" {
            function.aws.fault("GetParameter", 0, Fault::Error(400, "AccessDeniedException"));
        } else {
            function.accept(wrong).await;
        }
        let image = function.push(&["litellm-v1.80.5"]);
        let alerts = function.scanned(&image, "CVE-1:CRITICAL").await;
        assert_eq!(kinds(&alerts), ["self-audit", "scan-findings"], "{wrong}");
        assert_eq!(new_and_all(&alerts[1]).0, ["CVE-1"]);
        assert_eq!(alerts[0]["details"]["rule"], "accepted-risks");
        assert_eq!(alerts[0]["repository"], Value::Null);
        let image = function.push(&["litellm-v1.80.6"]);
        let alerts = function.scanned(&image, "CVE-1:CRITICAL CVE-2:HIGH").await;
        assert_eq!(kinds(&alerts), ["scan-findings"], "{wrong}");
        function.aws.advance(Duration::from_secs(86_400));
        function.handle(&event("each-day"), "day").await.unwrap();
        assert_eq!(kinds(&function.alerts()), ["self-audit"], "{wrong}");
    }
}

#[tokio::test]
async fn the_expiry_of_an_accepted_risk_is_published_once_seven_days_before() {
    let function = Function::new().await;
    function.accept(&until("2027-01-31")).await;
    for (days, expected) in [(0, 0), (8, 0), (1, 1), (1, 0), (5, 0), (30, 0)] {
        function.aws.advance(Duration::from_secs(days * 86_400));
        function.handle(&event("each-day"), &format!("day-{days}")).await.unwrap();
        let alerts = function.alerts();
        assert_eq!(alerts.len(), expected, "after {days} more days");
        if let Some(alert) = alerts.first() {
            assert_eq!(alert["kind"], "risk-expiring");
            let [title, text] = ["title", "text"].map(|name| alert[name].as_str().unwrap());
            expect![[r#"
                CVE-1 in litellm is accepted only until 2027-01-31
                The acceptance of CVE-1 in litellm ends after 2027-01-31. After that day, the next scan that finds CVE-1 reports it.

                Why: platform accepted CVE-1 until that day (not reachable).

                What to do: fix the finding, or enter a later day in the accepted risks."#]].assert_eq(&format!("{title}\n{text}"));
            assert_eq!(alert["component"], "litellm");
        }
    }
    // A new last day is published again.
    function.accept(&until("2027-03-05")).await;
    function.handle(&event("each-day"), "day").await.unwrap();
    assert_eq!(function.alerts().len(), 1);
}

/// A risk with a reason.
fn risk(id: &str, until: &str, owner: &str) -> Value {
    json!({"id": id, "until": until, "reason": "not reachable", "owner": owner})
}

#[tokio::test]
async fn a_change_of_the_accepted_risks_is_published_once_for_each_version() {
    let function = Function::new().await;
    let change = event("risks-changed");
    // The stack creates the parameter with an empty list.
    function.handle(&change, "none").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
    let before = [risk("CVE-1", "2027-01-31", "platform"), risk("CVE-2", "2027-01-31", "platform")];
    function.accept(&json!(before).to_string()).await;
    for request in ["one", "two"] {
        function.handle(&change, request).await.unwrap();
    }
    let alert = function.alert();
    assert_eq!((&alert["kind"], &alert["severity"]), (&json!("risks-changed"), &json!("MEDIUM")));
    assert_eq!(alert["details"]["parameter"], function.outputs["AcceptedRisksParameter"]);
    assert_eq!(alert["details"]["version"], 2);
    assert_eq!(alert["details"]["added"].as_array().unwrap().len(), 2);

    let after = [risk("CVE-2", "2099-12-31", "somebody"), risk("CVE-3", "2027-02-01", "platform")];
    function.accept(&json!(after).to_string()).await;
    function.handle(&change, "three").await.unwrap();
    let alert = function.alert();
    let ids = |list: &str| -> Vec<&str> {
        let risks = alert["details"][list].as_array().unwrap().iter();
        risks.map(|risk| risk["id"].as_str().unwrap()).collect()
    };
    assert_eq!((ids("added"), ids("removed")), (vec!["CVE-3"], vec!["CVE-1"]));
    let changed = &alert["details"]["changed"];
    assert_eq!(
        (changed.as_array().unwrap().len(), &changed[0]["before"]["until"]),
        (1, &json!("2027-01-31"))
    );
    assert_eq!(changed[0]["after"]["owner"], "somebody");
    expect![[r#"
        The accepted risks changed: 1 added, 1 removed, 1 changed
        Version 3 of the parameter ecr-warden-AcceptedRisks changed the accepted risks: 1 added, 1 removed, 1 changed.

        Why: an accepted finding sends no alert, so each change of the accepted risks is reported.

        What to do: check that the changes are intended. CloudTrail records who changed the parameter (PutParameter).

        Added:
        - CVE-3 until 2027-02-01, owner platform (not reachable)

        Removed:
        - CVE-1 until 2027-01-31, owner platform (not reachable)

        Changed:
        - CVE-2 until 2099-12-31, owner somebody (not reachable); before: CVE-2 until 2027-01-31, owner platform (not reachable)"#]].assert_eq(&format!(
        "{}\n{}",
        alert["title"].as_str().unwrap(),
        alert["text"].as_str().unwrap()
    ));
    // Other white space or another order is not a change.
    function.accept(&serde_json::to_string_pretty(&after).unwrap()).await;
    function.handle(&change, "four").await.unwrap();
    // A change of another parameter is ignored.
    let mut other = change.clone();
    other["detail"]["name"] = "/other".into();
    function.accept("[]").await;
    function.handle(&other, "five").await.unwrap();
    assert_eq!(function.alerts().len(), 0);
}

#[tokio::test]
async fn a_list_with_a_mistake_is_reported_and_the_next_one_is_compared_with_the_last_good_one() {
    let function = Function::new().await;
    let change = event("risks-changed");
    function.accept(&json!([risk("CVE-1", "2027-01-31", "platform")]).to_string()).await;
    function.handle(&change, "one").await.unwrap();
    assert_eq!(function.alert()["details"]["added"][0]["id"], "CVE-1");
    function.accept("[{}]").await;
    function.handle(&change, "two").await.unwrap();
    assert_eq!(kinds(&function.alerts()), ["self-audit"]);
    function.accept("[]").await;
    function.handle(&change, "three").await.unwrap();
    assert_eq!(function.alert()["details"]["removed"][0]["id"], "CVE-1");
}

#[tokio::test]
async fn a_parameter_that_is_deleted_and_created_again_publishes_its_first_version() {
    let function = Function::new().await;
    let change = event("risks-changed");
    let name = &function.outputs["AcceptedRisksParameter"];
    for (nth, until) in ["2027-01-31", "2027-02-28"].into_iter().enumerate() {
        let delete = json!({"Name": name});
        function.aws.ask("ssm", "AmazonSSM.DeleteParameter", &delete).await.unwrap();
        let list = json!([risk("CVE-1", until, "platform")]).to_string();
        let put = json!({"Name": name, "Type": "String", "Value": list});
        function.aws.ask("ssm", "AmazonSSM.PutParameter", &put).await.unwrap();
        // The ledger stores the time of a version in seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        function.handle(&change, &format!("request-{nth}")).await.unwrap();
        assert_eq!(function.alert()["details"]["version"], 1);
    }
}
