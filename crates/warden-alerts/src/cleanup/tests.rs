use expect_test::{Expect, expect};

use super::super::tests::limit_violations;
use super::*;
use warden_core::audit::AuditRule;
use warden_core::replication::{RemoteRegistry, ReplicationRule};

mod restore;

fn source() -> Source {
    Source { id: "request-1".to_owned(), time: "2026-11-24T12:00:00Z".to_owned() }
}

fn entry(nth: usize) -> CleanupEntry {
    CleanupEntry {
        digest: format!("sha256:{nth:064x}").parse().unwrap(),
        tags: vec![format!("myapp-v1.{nth}.0").parse().unwrap()],
        decision: "archive".to_owned(),
        reason: format!("number {} of 30 of myapp, which keeps 10", 30_usize.saturating_sub(nth)),
    }
}

fn outcome(count: usize) -> SweepResult {
    SweepResult {
        mode: CleanupEnforcement::Archive,
        hash: "0123456789abcdef".to_owned(),
        examined: 40,
        removed: (0..count).map(entry).collect(),
        restored: vec![],
        units: (0..count).map(|nth| vec![entry(nth).digest]).collect(),
        bytes: 1_234_567_890,
        failed: vec![],
        left: 0,
        stopped: None,
        replication: Replication::default(),
        waits: false,
        is_final: false,
    }
}

/// The outcome of a cleanup that deletes.
fn deleted(count: usize) -> SweepResult {
    let delete = |nth| CleanupEntry { decision: "delete".to_owned(), ..entry(nth) };
    SweepResult {
        mode: CleanupEnforcement::Delete,
        removed: (0..count).map(delete).collect(),
        units: vec![],
        ..outcome(0)
    }
}

/// The alert about a cleanup of this repository.
fn alert_about(repository: &str, outcome: &SweepResult) -> Alert {
    let (repository, source) = (repository.parse().unwrap(), source());
    let run = SweepContext {
        account: "123456789012",
        region: "us-east-1",
        repository: &repository,
        owner: None,
        function: "ecr-warden-ImageSweepFunction-1",
        source: &source,
    };
    cleanup(&run, outcome)
}

/// Checks the e-mail of an alert about a cleanup.
fn check(outcome: &SweepResult, expected: &Expect) {
    let alert = alert_about("deployments", outcome);
    crate::tests::assert_commands_are_shown(&alert);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    let texts: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    expected.assert_eq(texts["email"].as_str().unwrap());
}

#[test]
fn the_alert_about_a_waiting_plan_has_the_command_that_confirms_it() {
    let why = "the first plan that removes images from the repository waits for a confirmation";
    let waits = SweepResult { stopped: Some(why.to_owned()), waits: true, ..outcome(2) };
    let alert = alert_about("deployments", &waits);
    expect![[r#"
        The cleanup of deployments waits for a confirmation
        No image was removed from the repository deployments. The plan would remove 2 images (1.2 GB).

        Why: the first plan that removes images from the repository waits for a confirmation.

        What to do: read the plan, and confirm it if it is right.

        In the plan:
        - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
        - myapp-v1.1.0: archive: number 29 of 30 of myapp, which keeps 10"#]].assert_eq(&format!("{}\n{}", alert.title, alert.text));
    let commands: Vec<&str> = alert.remedies.iter().map(|remedy| remedy.command.as_str()).collect();
    expect![[r#"
        ecr-warden plan deployments --region us-east-1
        ecr-warden confirm deployments --region us-east-1 --plan 0123456789abcdef"#]]
    .assert_eq(&commands.join("\n"));
}

#[test]
fn the_alert_about_removed_images_has_each_reason_and_the_command_that_restores_them() {
    check(
        &outcome(2),
        &expect![[r#"
            The cleanup of deployments archived 2 images

            2 images (1.2 GB) of the repository deployments were moved to the archive. Archived images cannot be pulled. Restoring an image takes about twenty minutes. In a repository that the stack provisions, ECR deletes images after 90 days in the archive.

            Why: no rule of the policy keeps these images. The list has the reason for each image.

            What to do: nothing, if nobody needs the images. Otherwise restore them.

            Restore all images from the archive:

                ecr-warden restore --region us-east-1 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000000 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000001

            Or with the AWS CLI:

                for digest in sha256:0000000000000000000000000000000000000000000000000000000000000000 sha256:0000000000000000000000000000000000000000000000000000000000000001; do aws ecr update-image-storage-class --region us-east-1 --repository-name deployments --image-id imageDigest=$digest --target-storage-class STANDARD; done

            Removed:
            - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
            - myapp-v1.1.0: archive: number 29 of 30 of myapp, which keeps 10

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
    let failed = SweepResult {
        removed: vec![],
        failed: vec![(entry(1), "AccessDeniedException: no".to_owned())],
        left: 3,
        bytes: 0,
        ..outcome(0)
    };
    check(
        &failed,
        &expect![[r#"
            The cleanup of deployments is incomplete

            No image was removed from the repository deployments. 1 image could not be removed. 3 images were left to the next sweep, because they changed or the time was over.

            Why: ECR refused the removal. The list has the error for each image.

            What to do: correct the errors in the list. The next sweep tries again.

            Not removed:
            - myapp-v1.1.0: AccessDeniedException: no

            Severity    MEDIUM
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
    check(
        &deleted(1),
        &expect![[r#"
            The cleanup of deployments deleted 1 image

            1 image (1.2 GB) of the repository deployments was deleted, and cannot be restored.

            Why: no rule of the policy keeps these images. The list has the reason for each image.

            What to do: nothing.

            Removed:
            - myapp-v1.0.0: delete: number 30 of 30 of myapp, which keeps 10

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}

#[test]
fn untagged_images_that_were_deleted_are_reported_beside_archived_images() {
    let mut both = outcome(1);
    let untagged = CleanupEntry {
        tags: vec![],
        reason: "it has had no tag since 2026-11-16, and its 7 days are over".to_owned(),
        ..deleted(2).removed.remove(1)
    };
    both.removed.push(untagged);
    check(
        &both,
        &expect![[r#"
            The cleanup of deployments removed 2 images

            2 images (1.2 GB) of the repository deployments were removed: 1 deleted and 1 archived. Deleted images cannot be restored. Archived images cannot be pulled. Restoring an image takes about twenty minutes. In a repository that the stack provisions, ECR deletes images after 90 days in the archive.

            Why: no rule of the policy keeps these images. The list has the reason for each image.

            What to do: nothing, if nobody needs the images. Otherwise restore them.

            Restore all images from the archive:

                ecr-warden restore --region us-east-1 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000000

            Or with the AWS CLI:

                aws ecr update-image-storage-class --region us-east-1 --repository-name deployments --image-id imageDigest=sha256:0000000000000000000000000000000000000000000000000000000000000000 --target-storage-class STANDARD

            Removed:
            - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
            - sha256:0000000000000000000000000000000000000000000000000000000000000001: delete: it has had no tag since 2026-11-16, and its 7 days are over

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}

#[test]
fn a_removed_quarantine_tag_is_not_counted_as_an_image() {
    let tag = "quarantine-20261201-0a0a0a0a0a0a-a-1.0.0".parse().unwrap();
    let tag = CleanupEntry::untag(entry(1).digest, tag);
    let alone = SweepResult { removed: vec![tag.clone()], bytes: 0, ..outcome(0) };
    check(
        &alone,
        &expect![[r#"
            The cleanup of deployments removed quarantine tags

            No image was removed from the repository deployments. 1 quarantine tag was removed.

            Why: each image with such a tag has a conforming tag now, and is not in quarantine any more.

            What to do: nothing.

            Removed:
            - quarantine-20261201-0a0a0a0a0a0a-a-1.0.0: untag: the image has a conforming tag now, so it needs no quarantine tag

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
    assert_eq!(alert_about("deployments", &alone).details["removed"], 0);
    let mut both = deleted(1);
    both.removed.push(tag);
    let alert = alert_about("deployments", &both);
    expect!["The cleanup of deployments deleted 1 image"].assert_eq(&alert.title);
    assert_eq!((&alert.details["removed"], &alert.details["imagesTotal"]), (&json!(1), &json!(2)));
}

#[test]
fn the_alert_about_a_stopped_plan_has_the_commands_that_read_and_confirm_it() {
    let why = "30 of 40 images would go, and MaxRemovePercent=25 allows fewer";
    check(
        &SweepResult { stopped: Some(why.to_owned()), ..outcome(30) },
        &expect![[r#"
            The cleanup of deployments was stopped

            No image was removed from the repository deployments. The plan would remove 30 images (1.2 GB).

            Why: 30 of 40 images would go, and MaxRemovePercent=25 allows fewer.

            What to do: read the plan, and confirm it if it is right. Otherwise correct the cause.

            Read the plan:

                ecr-warden plan deployments --region us-east-1

            Or with the AWS CLI:

                printf '%s' '{"mode":"report","repository":"deployments"}' > sweep.json && aws lambda invoke --region us-east-1 --function-name ecr-warden-ImageSweepFunction-1 --cli-read-timeout 900 --payload fileb://sweep.json answer.json && cat answer.json

            Confirm the plan, and the next sweep carries it out:

                ecr-warden confirm deployments --region us-east-1 --plan 0123456789abcdef

            In the plan:
            - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
            - myapp-v1.1.0: archive: number 29 of 30 of myapp, which keeps 10
            - myapp-v1.2.0: archive: number 28 of 30 of myapp, which keeps 10
            - myapp-v1.3.0: archive: number 27 of 30 of myapp, which keeps 10
            - myapp-v1.4.0: archive: number 26 of 30 of myapp, which keeps 10
            - myapp-v1.5.0: archive: number 25 of 30 of myapp, which keeps 10
            - myapp-v1.6.0: archive: number 24 of 30 of myapp, which keeps 10
            - myapp-v1.7.0: archive: number 23 of 30 of myapp, which keeps 10
            - myapp-v1.8.0: archive: number 22 of 30 of myapp, which keeps 10
            - myapp-v1.9.0: archive: number 21 of 30 of myapp, which keeps 10
            - myapp-v1.10.0: archive: number 20 of 30 of myapp, which keeps 10
            - myapp-v1.11.0: archive: number 19 of 30 of myapp, which keeps 10
            - myapp-v1.12.0: archive: number 18 of 30 of myapp, which keeps 10
            - myapp-v1.13.0: archive: number 17 of 30 of myapp, which keeps 10
            - myapp-v1.14.0: archive: number 16 of 30 of myapp, which keeps 10
            - myapp-v1.15.0: archive: number 15 of 30 of myapp, which keeps 10
            - myapp-v1.16.0: archive: number 14 of 30 of myapp, which keeps 10
            - myapp-v1.17.0: archive: number 13 of 30 of myapp, which keeps 10
            - myapp-v1.18.0: archive: number 12 of 30 of myapp, which keeps 10
            - myapp-v1.19.0: archive: number 11 of 30 of myapp, which keeps 10
            - and 10 more

            Severity    MEDIUM
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}

#[test]
fn a_sweep_that_removed_failed_left_or_stopped_something_is_news() {
    assert!(!outcome(0).is_news());
    assert!(outcome(1).is_news());
    let failed = vec![(entry(1), "AccessDeniedException: no".to_owned())];
    assert!(SweepResult { failed, ..outcome(0) }.is_news());
    assert!(SweepResult { left: 1, ..outcome(0) }.is_news());
    let stopped = |outcome| SweepResult { stopped: Some("why".to_owned()), ..outcome };
    assert!(stopped(outcome(0)).is_news());
    let report = || SweepResult { mode: CleanupEnforcement::Report, ..outcome(1) };
    assert!(!report().is_news());
    assert!(stopped(report()).is_news());
}

#[test]
fn the_alert_about_a_sweep_without_a_plan_names_no_images() {
    let alert =
        alert_about("ab", &SweepResult { stopped: Some("no leave".to_owned()), ..outcome(0) });
    expect![[r#"
        No image was removed from the repository ab.

        Why: no leave.

        What to do: correct the cause. The next sweep tries again."#]]
    .assert_eq(alert.text.trim_end());
}

#[test]
fn the_alert_about_a_stopped_plan_of_a_rule_that_reports_has_no_confirmation() {
    let (mode, stopped) = (CleanupEnforcement::Report, Some("no leave".to_owned()));
    let alert = alert_about("ab", &SweepResult { mode, stopped, ..outcome(2) });
    assert_eq!((&alert.details["removed"], &alert.details["kept"]), (&json!(0), &json!(40)));
    let [remedy] = &alert.remedies[..] else { panic!("one remedy") };
    expect!["Read the plan"].assert_eq(&remedy.label);
}

#[test]
fn only_archived_images_have_a_command_that_restores_them() {
    let deleted = deleted(1);
    assert_eq!(alert_about("ab", &deleted).remedies, []);
    let tag = CleanupEntry { decision: UNTAG.to_owned(), ..entry(1) };
    let untagged = SweepResult { removed: vec![tag.clone(), tag.clone()], ..outcome(0) };
    let alert = alert_about("ab", &untagged);
    assert_eq!(alert.remedies, []);
    let (first, _) = alert.text.split_once('\n').unwrap();
    expect!["No image was removed from the repository ab. 2 quarantine tags were removed."]
        .assert_eq(first);
    let both = SweepResult { removed: vec![entry(0), tag], ..outcome(1) };
    let [restore] = &alert_about("ab", &both).remedies[..] else { panic!("one remedy") };
    assert!(restore.command.contains(entry(0).digest.as_str()), "{}", restore.command);
    assert!(!restore.command.contains(entry(1).digest.as_str()), "{}", restore.command);
}

#[test]
fn a_list_names_twenty_images_and_counts_the_others() {
    let last = |count: usize| {
        let failed = (0..count).map(|nth| (entry(nth), "no".to_owned())).collect();
        let [removed, failed] = [outcome(count), SweepResult { failed, ..outcome(0) }]
            .map(|outcome| alert_about("ab", &outcome).text);
        let lines = |text: &str| text.lines().filter(|line| line.starts_with("- ")).count();
        (lines(&removed), lines(&failed), removed.lines().last().unwrap().to_owned())
    };
    assert_eq!(
        last(19),
        (19, 19, alert_about("ab", &outcome(19)).text.lines().last().unwrap().to_owned())
    );
    let (removed, failed, line) = last(20);
    assert_eq!((removed, failed, line.starts_with("- myapp-v1.19.0")), (20, 20, true), "{line}");
    let (removed, failed, line) = last(21);
    assert_eq!((removed, failed), (21, 21));
    expect!["- and 1 more"].assert_eq(&line);
}

#[test]
fn an_entry_of_the_details_has_tags_a_reason_and_an_error() {
    let long = CleanupEntry {
        tags: (0..7).map(|nth| format!("t{nth}").parse().unwrap()).collect(),
        ..entry(1)
    };
    let outcome = SweepResult { failed: vec![(long, "no".to_owned())], left: 2, ..outcome(0) };
    expect![[r#"
        {
          "bytes": 1234567890,
          "examined": 40,
          "failed": [
            {
              "decision": "archive",
              "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000001",
              "error": "no",
              "reason": "number 29 of 30 of myapp, which keeps 10",
              "tags": [
                "t0",
                "t1",
                "t2",
                "t3",
                "t4"
              ],
              "tagsTotal": 7
            }
          ],
          "failedTotal": 1,
          "hash": "0123456789abcdef",
          "images": [],
          "imagesTotal": 0,
          "kept": 40,
          "left": 2,
          "mode": "archive",
          "removed": 0,
          "restored": [],
          "stopped": null,
          "waits": false
        }"#]]
    .assert_eq(&format!("{:#}", Value::from(alert_about("ab", &outcome).details)));
    let unnamed = CleanupEntry { tags: vec![], ..entry(1) };
    assert_eq!(
        (entry(1).name(), unnamed.name()),
        ("myapp-v1.1.0".to_owned(), unnamed.digest.to_string())
    );
}

#[test]
fn the_details_have_at_most_fifty_images_and_their_number() {
    let details = alert_about("deployments", &outcome(60)).details;
    assert_eq!(details["images"].as_array().unwrap().len(), 50);
    assert_eq!((&details["imagesTotal"], &details["removed"]), (&json!(60), &json!(60)));
    assert_eq!((&details["examined"], &details["kept"]), (&json!(40), &json!(0)));
    let stopped = SweepResult { stopped: Some("why".to_owned()), ..outcome(3) };
    let details = alert_about("deployments", &stopped).details;
    assert_eq!((&details["removed"], &details["kept"]), (&json!(0), &json!(40)));
    assert_eq!((&details["imagesTotal"], &details["stopped"]), (&json!(3), &json!("why")));
}

#[test]
fn the_largest_alert_is_within_all_limits() {
    let long = |nth: usize| CleanupEntry {
        tags: (0..1_000).map(|tag| format!("{tag:0>128}").parse().unwrap()).collect(),
        reason: "é".repeat(2_000),
        ..entry(nth)
    };
    let name = format!("r{}", "r".repeat(255));
    let largest = SweepResult {
        removed: (0..100).map(long).collect(),
        failed: (0..100).map(|nth| (long(nth), "é".repeat(2_000))).collect(),
        ..outcome(0)
    };
    let alert = alert_about(&name, &largest);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    assert_eq!(alert.within_limits().details, alert.details);
    assert_eq!(alert.details["imagesTotal"], 100);
    // A command is whole or omitted.
    let many = alert_about(&name, &outcome(100));
    assert_eq!(many.within_limits().remedies, many.remedies);
    let stopped = alert_about(&name, &SweepResult { stopped: Some("x".to_owned()), ..outcome(1) });
    assert_eq!(stopped.within_limits().remedies, stopped.remedies);
}

#[test]
fn the_runbook_of_a_cleanup_names_the_section_of_the_cause() {
    let page = |outcome: SweepResult| alert_about("ab", &outcome).runbook_page();
    let stopped = |outcome| SweepResult { stopped: Some("why".to_owned()), ..outcome };
    let failed = vec![(entry(1), "no".to_owned())];
    let rule = ReplicationRule {
        prefixes: None,
        destinations: vec![RemoteRegistry::new("210987654321", "us-west-2").unwrap()],
        replicates_deletions: false,
    };
    let replication = Replication::find(&"ab".parse().unwrap(), &[rule], None);
    let replicated = SweepResult { replication, ..outcome(1) };
    let source = RemoteRegistry::new("210987654321", "us-west-2");
    let replication = Replication::find(&"ab".parse().unwrap(), &[], source);
    let replica = SweepResult { replication, ..outcome(1) };
    for (outcome, anchor) in [
        (outcome(1), ""),
        (SweepResult { waits: true, ..stopped(outcome(1)) }, "#confirmation"),
        (stopped(outcome(1)), "#guard"),
        (stopped(SweepResult { hash: String::new(), ..outcome(0) }), "#blind"),
        (stopped(replicated), "#replicated-repository"),
        (stopped(replica), "#replicated-repository"),
        (SweepResult { failed, left: 1, ..outcome(0) }, "#failures"),
        (SweepResult { left: 1, ..outcome(0) }, "#no-time-left"),
    ] {
        assert_eq!(page(outcome), format!("runbooks/cleanup.md{anchor}"));
    }
}

#[test]
fn the_alert_about_deviations_lists_each_with_its_rule() {
    let (repository, source) = ("deployments".parse().unwrap(), source());
    let run = SweepContext {
        account: "123456789012",
        region: "us-east-1",
        repository: &repository,
        owner: None,
        function: "sweep",
        source: &source,
    };
    let deviation = |text: &str| Deviation { rule: AuditRule::Drift, text: text.to_owned() };
    let alert = self_audit(&run, &[deviation("one thing"), deviation("another")]);
    assert_eq!(limit_violations(&alert.message("aws")), Vec::<String>::new());
    assert_eq!(alert.runbook_page(), "runbooks/self-audit.md");
    let one = self_audit(&run, &[deviation("one thing")]);
    assert_eq!(one.runbook_page(), "runbooks/self-audit.md#drift");
    expect![[r#"
        The repository deployments has 2 deviations from its policy
        The audit of the repository deployments found 2 deviations from its policy. Nothing was changed. Each line begins with the rule of the audit.

        - drift: one thing
        - drift: another

        Why: each sweep compares the repository with its policy. Deviations are reported when they change, and again after seven days.

        What to do: correct each deviation, or change the policy. The runbook has a section for each rule.
        {"deviations": Array [Object {"rule": String("drift"), "text": String("one thing")}, Object {"rule": String("drift"), "text": String("another")}]}
    "#]].assert_eq(&format!("{}\n{}\n{:?}\n", alert.title, alert.text, alert.details));
}
