//! The command that restores the units which a sweep archived.

use super::*;

#[test]
fn a_command_restores_whole_units() {
    let remedies = |units: Vec<Vec<Digest>>| {
        let alert = alert_about(&"r".repeat(256), &SweepResult { units, ..outcome(1) });
        assert_eq!(alert.within_limits().remedies, alert.remedies);
        let digests = |remedy: &Remedy| remedy.command.matches("sha256:").count();
        let lines =
            alert.remedies.iter().map(|remedy| format!("{}: {}\n", remedy.label, digests(remedy)));
        lines.collect::<String>()
    };
    let unit = |images: usize| (0..images).map(|nth| entry(nth).digest).collect::<Vec<_>>();
    let alone = |count: usize| (0..count).map(|nth| vec![entry(nth).digest]).collect();
    expect![[r#"
        Restore all images from the archive: 1
    "#]]
    .assert_eq(&remedies(alone(1)));
    expect![[r#"
        Restore all images from the archive: 30
    "#]]
    .assert_eq(&remedies(alone(30)));
    expect![[r#"
        Restore the first image from the archive: 1
    "#]]
    .assert_eq(&remedies(alone(31)));
    // An image of two units is in the command once.
    expect![[r#"
        Restore all images from the archive: 20
    "#]]
    .assert_eq(&remedies(vec![unit(20), unit(20)]));
    expect![[r#"
        Restore the first image from the archive (1 of 2): 30
        Restore the first image from the archive (2 of 2): 5
    "#]]
    .assert_eq(&remedies(vec![unit(35)]));
}

#[test]
fn a_unit_with_too_many_images_for_one_alert_has_no_command() {
    let unit = |images: usize| (0..images).map(|nth| entry(nth).digest).collect::<Vec<_>>();
    let remedies = |images| {
        alert_about("ab", &SweepResult { units: vec![unit(images)], ..outcome(1) }).remedies.len()
    };
    assert_eq!((remedies(120), remedies(121)), (4, 0));
}

#[test]
fn images_that_are_being_restored_are_listed_without_a_command() {
    let restored = CleanupEntry {
        decision: "restore".to_owned(),
        reason: "it belongs to myapp-v2.0.0, whose removal was interrupted".to_owned(),
        ..entry(1)
    };
    check(
        &SweepResult { restored: vec![restored], ..outcome(0) },
        &expect![[r#"
            The cleanup of deployments is restoring images

            No image was removed from the repository deployments. 1 image is being restored, which takes about twenty minutes.

            Why: an index needs the images, or an earlier removal was interrupted.

            What to do: nothing.

            Being restored:
            - myapp-v1.1.0: restore: it belongs to myapp-v2.0.0, whose removal was interrupted

            Severity    INFORMATIONAL
            Repository  deployments
            Account     123456789012, us-east-1
            Event       request-1 at 2026-11-24T12:00:00Z
        "#]],
    );
}
