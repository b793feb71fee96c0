//! Some weeks of the simulated year, and its page of the book.

use expect_test::{expect, expect_file};
use it::year::oracle::{Kind, Oracle, TagUse};
use it::year::rates::{group_table, rate_table, setting_table};
use it::year::{self, DAY, Scenario, Seconds, as_time};
use local_aws::LocalAws;
use local_aws::snippets::workspace;
use serde_json::{Value, json};

/// The text with this table between the marks of a name.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (before, rest) = text.split_once(&format!("<!-- {name} -->\n")).unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    format!("{before}<!-- {name} -->\n{table}<!-- end -->\n{after}")
}

#[test]
fn the_page_of_the_year_has_the_rates_of_the_code() {
    let path = workspace().join("docs/contributing/simulated-year.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut expected = with_table(&text, "groups", &group_table());
    expected = with_table(&expected, "rates", &rate_table());
    expected = with_table(&expected, "settings", &setting_table());
    expect_file![&path].assert_eq(&expected);
}

/// Four weeks of a registry of 12 components.
const WEEKS: Scenario =
    Scenario { seed: 1, days: 28, components: [4, 2, 1, 2, 2, 1], new_apps: &[5], imports: &[9] };

#[tokio::test(start_paused = true)]
async fn no_image_goes_that_ran_or_was_promoted_in_four_weeks_of_a_busy_registry() {
    let report = year::run(&WEEKS).await;
    #[expect(clippy::print_stdout, reason = "a person reads the figures")]
    {
        println!("{report}");
    }
    assert_eq!(report.wrong, []);
    assert_eq!(report.failed_pipelines, [""; 0]);
    assert_eq!(report.lost_events, [""; 0]);
    assert_eq!(report.failed_attempts, [""; 0]);
    // The sweeps remove images of each kind that becomes old, and keep images that only their use protects.
    for kind in [Kind::Build, Kind::PromotedBuild, Kind::PullRequest, Kind::Release, Kind::Cache] {
        let figures = report.images[&kind];
        assert!(figures.archived + figures.deleted > 0, "{kind}");
        assert!(figures.kept > 0, "{kind}");
    }
    assert!(report.kept_by_use > 0);
    // Each repository that is older than the stack has one plan that waits. The plan after an import waits too:
    // it would remove a larger share of the repository than `MaxRemovePercent`.
    let mut confirmed: Vec<&str> =
        report.confirmations.iter().map(|(repository, _)| repository.as_str()).collect();
    confirmed.sort_unstable();
    let expected = ["apps/shop", "jobs", "models", "platform", "services", "vendor", "vendor"];
    assert_eq!(confirmed, expected);
}

/// A repository that only the oracle watches.
struct Watched {
    aws: LocalAws,
    oracle: Oracle,
}

const REPOSITORY: &str = "team";
const NOW: Seconds = 1_800_000_000;

impl Watched {
    fn new() -> Self {
        let aws = LocalAws::default();
        aws.state().set_clock(Some(as_time(NOW)));
        let create = json!({"repositoryName": REPOSITORY});
        aws.by_hand("CreateRepository", &create).unwrap();
        Self { aws, oracle: Oracle::default() }
    }

    /// Pushes an image with a tag this number of days ago. A version is the second number of a tag.
    fn push(&mut self, tag: &str, tag_use: TagUse, days: Seconds) -> String {
        let at = NOW - days * DAY;
        let mut state = self.aws.state();
        let pushed = state.ecr().push_made_up(REPOSITORY, &[tag], as_time(at));
        let digest = pushed.unwrap();
        drop(state);
        self.oracle.record_push(REPOSITORY, &digest, Kind::Build, (&[], None), at);
        self.oracle.record_tag(REPOSITORY, tag, &digest, tag_use, at);
        digest
    }

    /// Pushes versions of one kind, one a day, in this order. The last one is 100 days old.
    fn push_versions(&mut self, minors: &[u64]) -> Vec<String> {
        let mut days = 100 + Seconds::try_from(minors.len()).unwrap();
        let mut push = |minor: &u64| {
            days -= 1;
            let tag_use = TagUse::Version("app".to_owned(), Some([1, *minor, 0, 0]));
            self.push(&format!("app-v1.{minor}.0"), tag_use, days)
        };
        minors.iter().map(&mut push).collect()
    }

    /// Deletes images, and returns the reasons of the oracle for which they had to stay.
    fn delete(&mut self, digests: &[&String]) -> Vec<String> {
        let ids: Vec<Value> = digests.iter().map(|digest| json!({"imageDigest": digest})).collect();
        let delete = json!({"repositoryName": REPOSITORY, "imageIds": ids});
        let deleted = self.aws.by_hand("BatchDeleteImage", &delete).unwrap();
        assert_eq!(deleted["failures"], json!([]));
        self.check()
    }

    fn check(&mut self) -> Vec<String> {
        let mut state = self.aws.state();
        let images = &state.ecr().repository(REPOSITORY).unwrap().images;
        self.oracle.check(REPOSITORY, images, NOW);
        std::mem::take(&mut self.oracle.wrong).into_iter().map(|wrong| wrong.reason).collect()
    }
}

/// Deletes an old image without a reason to stay, after a change of the record about it. Returns the reasons
/// of the oracle.
fn delete_after(change: impl FnOnce(&mut Oracle, &str)) -> Vec<String> {
    let mut watched = Watched::new();
    let digest = watched.push("app-cache", TagUse::Other, 100);
    change(&mut watched.oracle, &digest);
    watched.delete(&[&digest])
}

#[test]
fn the_oracle_reports_a_deleted_image_that_ran_or_that_a_channel_names() {
    assert_eq!(delete_after(|_, _| ()), [""; 0]);
    let running = delete_after(|oracle, digest| oracle.record_start(REPOSITORY, digest));
    expect![[r#"["1 workloads run it"]"#]].assert_eq(&json!(running).to_string());
    let ended = delete_after(|oracle, digest| {
        oracle.record_start(REPOSITORY, digest);
        oracle.record_end(REPOSITORY, digest);
    });
    assert_eq!(ended, [""; 0]);
    let pulled = |days| {
        delete_after(|oracle, digest| oracle.record_pull(REPOSITORY, digest, NOW - days * DAY))
    };
    expect![[r#"["it was pulled 28 days ago"]"#]].assert_eq(&json!(pulled(28)).to_string());
    assert_eq!(pulled(29), [""; 0]);
    let named = delete_after(|oracle, digest| {
        oracle.record_tag(REPOSITORY, "app-prod", digest, TagUse::Channel, NOW - 90 * DAY);
    });
    expect![[r#"["the channel app-prod points at it"]"#]].assert_eq(&json!(named).to_string());
}

#[test]
fn the_oracle_reports_a_deleted_version_that_is_among_the_highest_or_the_newest() {
    let mut watched = Watched::new();
    // The highest version is the oldest, as after backports.
    let versions = watched.push_versions(&[9, 1, 2, 3, 4, 5, 6, 7, 8]);
    let removable: Vec<&String> = versions[1..3].iter().collect();
    assert_eq!(watched.delete(&removable), [""; 0]);
    let reasons = watched.delete(&[&versions[0]]);
    expect![[r#"["it is number 1 of the highest of app"]"#]].assert_eq(&json!(reasons).to_string());
    let reasons = watched.delete(&[&versions[3]]);
    expect![[r#"["it is number 6 of the newest of app"]"#]].assert_eq(&json!(reasons).to_string());
}

#[test]
fn the_oracle_reports_a_deleted_image_with_a_new_tag_or_without_a_tag_for_a_short_time() {
    let mut watched = Watched::new();
    let versions = watched.push_versions(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let promoted = |oracle: &mut Oracle, days| {
        let tag_use = TagUse::Version("app prod".to_owned(), None);
        oracle.record_tag(REPOSITORY, "app-abc1234-prod", &versions[0], tag_use, NOW - days * DAY);
    };
    promoted(&mut watched.oracle, 6);
    let reasons = watched.delete(&[&versions[0]]);
    expect![[r#"["it got the tag app-abc1234-prod 6 days ago"]"#]]
        .assert_eq(&json!(reasons).to_string());

    for (days, expected) in [(13, 1), (14, 0)] {
        let mut watched = Watched::new();
        let image = watched.push("app-pr-7", TagUse::Expiring, days);
        assert_eq!(watched.delete(&[&image]).len(), expected);
    }

    for (days, expected) in [(6, 1), (7, 0)] {
        let reasons = delete_after(|oracle, _| {
            oracle.record_push(REPOSITORY, "sha256:other", Kind::Cache, (&[], None), NOW);
            let at = NOW - days * DAY;
            oracle.record_tag(REPOSITORY, "app-cache", "sha256:other", TagUse::Other, at);
        });
        let lost = reasons.iter().filter(|reason| reason.contains("lost its last tag"));
        assert_eq!(lost.count(), expected, "{reasons:?}");
    }
}

#[test]
fn the_oracle_reports_a_lost_tag_and_a_deleted_signature_of_an_image() {
    let mut watched = Watched::new();
    let image = watched.push("app-v1.0.0", TagUse::Other, 100);
    let signature = watched.push("app-v1.0.0-signature", TagUse::Other, 100);
    let subject = (&[][..], Some(image.as_str()));
    watched.oracle.record_push(REPOSITORY, &signature, Kind::Signature, subject, NOW);
    let reasons = watched.delete(&[&signature]);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].contains(&image), "{reasons:?}");

    watched
        .aws
        .by_hand("PutImage", &{
            let mut state = watched.aws.state();
            let manifest = state.ecr().image(REPOSITORY, &image).unwrap().manifest_text.clone();
            json!({"repositoryName": REPOSITORY, "imageManifest": manifest, "imageTag": "other"})
        })
        .unwrap();
    let tag = json!([{"imageTag": "app-v1.0.0"}]);
    let delete = json!({"repositoryName": REPOSITORY, "imageIds": tag});
    watched.aws.by_hand("BatchDeleteImage", &delete).unwrap();
    expect![[r#"["the tag app-v1.0.0 was removed"]"#]]
        .assert_eq(&json!(watched.check()).to_string());
}
