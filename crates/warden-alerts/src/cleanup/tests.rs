use expect_test::{Expect, expect};

use super::super::tests::against_the_limits;
use super::*;
use warden_core::audit::AuditRule;

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

fn told(repository: &str, outcome: &SweepResult) -> Alert {
    let (repository, source) = (repository.parse().unwrap(), source());
    let run = SweepContext {
        account: "123456789012",
        region: "us-east-1",
        repository: &repository,
        function: "ecr-warden-ImageSweepFunction-1",
        stack: "ecr-warden",
        source: &source,
    };
    cleanup(&run, outcome)
}

/// As a person reads it in e-mail.
fn check(outcome: &SweepResult, expected: &Expect) {
    let alert = told("deployments", outcome);
    crate::tests::assert_commands_are_shown(&alert);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    let texts: Value = serde_json::from_str(&alert.message("aws").body).unwrap();
    expected.assert_eq(texts["email"].as_str().unwrap());
}

#[test]
fn a_plan_that_waits_is_told_with_the_command_that_confirms_it() {
    let why = "the first plan that removes images from the repository waits for a confirmation";
    let waits = SweepResult { stopped: Some(why.to_owned()), waits: true, ..outcome(2) };
    let alert = told("deployments", &waits);
    expect![[r#"
        The cleanup of deployments waits for a confirmation
        Nothing was removed: the first plan that removes images from the repository waits for a confirmation. 2 images (1.2 GB) would be removed.

        - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
        - myapp-v1.1.0: archive: number 29 of 30 of myapp, which keeps 10"#]].assert_eq(&format!("{}\n{}", alert.title, alert.text));
    let commands: Vec<&str> = alert.remedies.iter().map(|remedy| remedy.command.as_str()).collect();
    expect![[r#"
        ecr-warden plan deployments --stack ecr-warden --region us-east-1
        ecr-warden confirm deployments --stack ecr-warden --region us-east-1 --plan 0123456789abcdef"#]].assert_eq(&commands.join("\n"));
}

#[test]
fn what_went_is_told_with_each_reason_and_the_way_back() {
    check(
        &outcome(2),
        &expect![[r#"
            2 images of deployments went to the archive

            2 images (1.2 GB) went to the archive, where nothing can be pulled. They can be restored, which takes some twenty minutes, until ECR deletes them after 90 days.

            - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
            - myapp-v1.1.0: archive: number 29 of 30 of myapp, which keeps 10

            Restore them all:

                ecr-warden restore --region us-east-1 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000000 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000001

            Or with the AWS CLI:

                for digest in sha256:0000000000000000000000000000000000000000000000000000000000000000 sha256:0000000000000000000000000000000000000000000000000000000000000001; do aws ecr update-image-storage-class --region us-east-1 --repository-name deployments --image-id imageDigest=$digest --target-storage-class STANDARD; done

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
            The cleanup of deployments is not complete

            Nothing was removed. 1 could not be removed; the next run tries again. 3 more were not tried, or changed meanwhile: the next run decides.

            - myapp-v1.1.0: not removed: AccessDeniedException: no

            Severity    MEDIUM
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
    check(
        &deleted(1),
        &expect![[r#"
            1 image of deployments was deleted

            1 image (1.2 GB) was deleted, and cannot be restored.

            - myapp-v1.0.0: delete: number 30 of 30 of myapp, which keeps 10

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}

#[test]
fn untagged_images_that_were_deleted_are_told_beside_archived_images() {
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
            2 images of deployments were removed

            2 images (1.2 GB) were removed: 1 deleted, which cannot be restored, and 1 archived, where nothing can be pulled. They can be restored, which takes some twenty minutes, until ECR deletes them after 90 days.

            - myapp-v1.0.0: archive: number 30 of 30 of myapp, which keeps 10
            - sha256:0000000000000000000000000000000000000000000000000000000000000001: delete: it has had no tag since 2026-11-16, and its 7 days are over

            Restore them all:

                ecr-warden restore --region us-east-1 deployments@sha256:0000000000000000000000000000000000000000000000000000000000000000

            Or with the AWS CLI:

                aws ecr update-image-storage-class --region us-east-1 --repository-name deployments --image-id imageDigest=sha256:0000000000000000000000000000000000000000000000000000000000000000 --target-storage-class STANDARD

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}

#[test]
fn a_quarantine_tag_is_no_image() {
    let tag = "quarantine-20261201-0a0a0a0a0a0a-a-1.0.0".parse().unwrap();
    let tag = CleanupEntry::untag(entry(1).digest, tag);
    let alone = SweepResult { removed: vec![tag.clone()], bytes: 0, ..outcome(0) };
    check(
        &alone,
        &expect![[r#"
        Quarantine tags of deployments were taken away

        No image was removed. A quarantine tag is not needed any more, beside a good one.

        - quarantine-20261201-0a0a0a0a0a0a-a-1.0.0: untag: the image conforms by now, and is not in quarantine any more

        Severity    INFORMATIONAL
        Repository  deployments
        Account     123456789012, us-east-1
        Event       request-1 at 2026-11-24T12:00:00Z
    "#]],
    );
    assert_eq!(told("deployments", &alone).details["removed"], 0);
    let mut both = deleted(1);
    both.removed.push(tag);
    let alert = told("deployments", &both);
    expect!["1 image of deployments was deleted"].assert_eq(&alert.title);
    assert_eq!((&alert.details["removed"], &alert.details["imagesTotal"]), (&json!(1), &json!(2)));
}

#[test]
fn what_was_stopped_is_told_with_the_way_to_read_it_and_to_carry_it_out() {
    let why = "30 of 40 images would go, and MaxRemovePercent=25 allows fewer";
    check(
        &SweepResult { stopped: Some(why.to_owned()), ..outcome(30) },
        &expect![[r#"
            The cleanup of deployments was stopped

            Nothing was removed: 30 of 40 images would go, and MaxRemovePercent=25 allows fewer. 30 images (1.2 GB) would have gone.

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

            Read the plan:

                ecr-warden plan deployments --stack ecr-warden --region us-east-1

            Or with the AWS CLI:

                printf '%s' '{"mode":"report","repository":"deployments"}' > sweep.json && aws lambda invoke --region us-east-1 --function-name ecr-warden-ImageSweepFunction-1 --cli-read-timeout 900 --payload fileb://sweep.json answer.json && cat answer.json

            Confirm it, so that the next sweep carries it out:

                ecr-warden confirm deployments --stack ecr-warden --region us-east-1 --plan 0123456789abcdef

            Severity    MEDIUM
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
    let report = SweepResult { mode: CleanupEnforcement::Report, ..outcome(1) };
    assert_eq!(told("deployments", &report).remedies.len(), 1);
}

#[test]
fn a_run_is_news_where_something_went_did_not_go_was_left_or_was_stopped() {
    assert!(!outcome(0).is_news());
    assert!(outcome(1).is_news());
    let failed = vec![(entry(1), "AccessDeniedException: no".to_owned())];
    assert!(SweepResult { failed, ..outcome(0) }.is_news());
    assert!(SweepResult { left: 1, ..outcome(0) }.is_news());
    assert!(SweepResult { stopped: Some("why".to_owned()), ..outcome(0) }.is_news());
}

#[test]
fn what_was_stopped_before_there_was_a_plan_names_no_images() {
    let alert = told("ab", &SweepResult { stopped: Some("no leave".to_owned()), ..outcome(0) });
    expect!["Nothing was removed: no leave."].assert_eq(alert.text.trim_end());
}

#[test]
fn what_would_be_removed_is_told_as_that() {
    let report = SweepResult { mode: CleanupEnforcement::Report, ..outcome(2) };
    let alert = told("deployments", &report);
    let (first, _) = alert.text.split_once('\n').unwrap();
    expect![[r#"
        2 images of deployments would be removed
        Nothing was removed: the enforcement is report. 2 images (1.2 GB) would go.
    "#]]
    .assert_eq(&format!("{}\n{first}\n", alert.title));
    assert_eq!((&alert.details["removed"], &alert.details["kept"]), (&json!(0), &json!(40)));
    // There is nothing to carry out all the same.
    let stopped = SweepResult { stopped: Some("no leave".to_owned()), ..outcome(0) };
    for outcome in [&stopped, &report] {
        let [remedy] = &told("ab", outcome).remedies[..] else { panic!("one remedy") };
        expect!["Read the plan"].assert_eq(&remedy.label);
    }
}

#[test]
fn where_nothing_is_in_the_archive_nothing_is_restored() {
    let deleted = deleted(1);
    assert_eq!(told("ab", &deleted).remedies, []);
    let tag = CleanupEntry { decision: UNTAG.to_owned(), ..entry(1) };
    let untagged = SweepResult { removed: vec![tag.clone(), tag.clone()], ..outcome(0) };
    let alert = told("ab", &untagged);
    assert_eq!(alert.remedies, []);
    let (first, _) = alert.text.split_once('\n').unwrap();
    expect!["No image was removed. 2 quarantine tags are not needed any more, beside good ones."]
        .assert_eq(first);
    let both = SweepResult { removed: vec![entry(0), tag], ..outcome(1) };
    let [restore] = &told("ab", &both).remedies[..] else { panic!("one remedy") };
    assert!(restore.command.contains(entry(0).digest.as_str()), "{}", restore.command);
    assert!(!restore.command.contains(entry(1).digest.as_str()), "{}", restore.command);
}

#[test]
fn a_text_names_twenty_images_and_says_how_many_more_there_are() {
    let last = |count: usize| {
        let failed = (0..count).map(|nth| (entry(nth), "no".to_owned())).collect();
        let [removed, failed] = [outcome(count), SweepResult { failed, ..outcome(0) }]
            .map(|outcome| told("ab", &outcome).text);
        let lines = |text: &str| text.lines().filter(|line| line.starts_with("- ")).count();
        (lines(&removed), lines(&failed), removed.lines().last().unwrap().to_owned())
    };
    assert_eq!(
        last(19),
        (19, 19, told("ab", &outcome(19)).text.lines().last().unwrap().to_owned())
    );
    let (removed, failed, line) = last(20);
    assert_eq!((removed, failed, line.starts_with("- myapp-v1.19.0")), (20, 20, true), "{line}");
    let (removed, failed, line) = last(21);
    assert_eq!((removed, failed), (21, 20));
    expect!["- and 1 more"].assert_eq(&line);
}

#[test]
fn a_command_restores_whole_units() {
    let remedies = |units: Vec<Vec<Digest>>| {
        let alert = told(&"r".repeat(256), &SweepResult { units, ..outcome(1) });
        assert_eq!(alert.within_limits().remedies, alert.remedies);
        let digests = |remedy: &Remedy| remedy.command.matches("sha256:").count();
        let lines =
            alert.remedies.iter().map(|remedy| format!("{}: {}\n", remedy.label, digests(remedy)));
        lines.collect::<String>()
    };
    let unit = |images: usize| (0..images).map(|nth| entry(nth).digest).collect::<Vec<_>>();
    let alone = |count: usize| (0..count).map(|nth| vec![entry(nth).digest]).collect();
    expect!["Restore them all: 1\n"].assert_eq(&remedies(alone(1)));
    expect!["Restore them all: 30\n"].assert_eq(&remedies(alone(30)));
    expect!["Restore the first of them: 1\n"].assert_eq(&remedies(alone(31)));
    // An image of two units is in the command once.
    expect!["Restore them all: 20\n"].assert_eq(&remedies(vec![unit(20), unit(20)]));
    expect![[r#"
        Restore the first of them (1 of 2): 30
        Restore the first of them (2 of 2): 5
    "#]]
    .assert_eq(&remedies(vec![unit(35)]));
}

#[test]
fn a_unit_of_which_not_every_image_can_be_named_has_no_command() {
    let unit = |images: usize| (0..images).map(|nth| entry(nth).digest).collect::<Vec<_>>();
    let remedies = |images| {
        told("ab", &SweepResult { units: vec![unit(images)], ..outcome(1) }).remedies.len()
    };
    assert_eq!((remedies(120), remedies(121)), (4, 0));
}

#[test]
fn restored_images_are_listed_and_no_command_restores_them() {
    let restored = CleanupEntry {
        decision: "restore".to_owned(),
        reason: "it belongs to myapp-v2.0.0, whose removal was interrupted".to_owned(),
        ..entry(1)
    };
    check(
        &SweepResult { restored: vec![restored], ..outcome(0) },
        &expect![[r#"
        Images of deployments are being restored

        A removal was interrupted, or a new index needs the images. 1 image is being restored, which takes some twenty minutes.

        - myapp-v1.1.0: restore: it belongs to myapp-v2.0.0, whose removal was interrupted

        Severity    INFORMATIONAL
        Repository  deployments
        Account     123456789012, us-east-1
        Event       request-1 at 2026-11-24T12:00:00Z
    "#]],
    );
}

#[test]
fn an_entry_has_its_tags_its_reason_and_what_went_wrong_in_the_details() {
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
          "stopped": null
        }"#]]
    .assert_eq(&format!("{:#}", Value::from(told("ab", &outcome).details)));
    let unnamed = CleanupEntry { tags: vec![], ..entry(1) };
    assert_eq!(
        (entry(1).name(), unnamed.name()),
        ("myapp-v1.1.0".to_owned(), unnamed.digest.to_string())
    );
}

#[test]
fn machines_get_fifty_images_at_most_and_how_many_there_are() {
    let details = told("deployments", &outcome(60)).details;
    assert_eq!(details["images"].as_array().unwrap().len(), 50);
    assert_eq!((&details["imagesTotal"], &details["removed"]), (&json!(60), &json!(60)));
    assert_eq!((&details["examined"], &details["kept"]), (&json!(40), &json!(0)));
    let stopped = SweepResult { stopped: Some("why".to_owned()), ..outcome(3) };
    let details = told("deployments", &stopped).details;
    assert_eq!((&details["removed"], &details["kept"]), (&json!(0), &json!(40)));
    assert_eq!((&details["imagesTotal"], &details["stopped"]), (&json!(3), &json!("why")));
}

#[test]
fn the_largest_is_within_all_limits() {
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
    let alert = told(&name, &largest);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    assert_eq!(alert.within_limits().details, alert.details);
    assert_eq!(alert.details["imagesTotal"], 100);
    // A command is whole or not there.
    let many = told(&name, &outcome(100));
    assert_eq!(many.within_limits().remedies, many.remedies);
    let stopped = told(&name, &SweepResult { stopped: Some("x".to_owned()), ..outcome(1) });
    assert_eq!(stopped.within_limits().remedies, stopped.remedies);
}

#[test]
fn what_is_not_as_it_should_be_is_a_list() {
    let (repository, source) = ("deployments".parse().unwrap(), source());
    let run = SweepContext {
        account: "123456789012",
        region: "us-east-1",
        repository: &repository,
        function: "sweep",
        stack: "ecr-warden",
        source: &source,
    };
    let deviation = |text: &str| Deviation { rule: AuditRule::Drift, text: text.to_owned() };
    let alert = self_audit(&run, &[deviation("one thing"), deviation("another")]);
    assert_eq!(against_the_limits(&alert.message("aws")), Vec::<String>::new());
    expect![[r#"
        2 things in deployments are not as the policy says
        Nothing was changed about it. It is told again when it changes, and else after seven days.

        - one thing
        - another
        {"deviations": Array [Object {"rule": String("drift"), "text": String("one thing")}, Object {"rule": String("drift"), "text": String("another")}]}
    "#]].assert_eq(&format!("{}\n{}\n{:?}\n", alert.title, alert.text, alert.details));
}
