//! The limits of alerts.

use super::*;

#[test]
fn a_part_within_its_limit_is_whole_and_a_longer_part_is_shortened_or_omitted() {
    let shown = |text: &str| shortened(text.to_owned(), 4, "…");
    assert_eq!(["abcd", "abcde", "é\u{1f433}éé"].map(shown), ["abcd", "abc…", "é\u{1f433}éé"]);
    assert_eq!(shortened("abcde".to_owned(), 4, "..."), "a...");
    let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
    let remedy = |command: String| Remedy::aws("Undo\nit", command);
    let remedies = vec![
        remedy("x".repeat(LONGEST_COMMAND)),
        remedy("x".repeat(LONGEST_COMMAND + 1)),
        remedy("echo\nx".to_owned()),
        remedy("echo x".to_owned()),
        remedy("the fifth".to_owned()),
    ];
    // The largest allowed details, and one byte more.
    let details = |more: usize| {
        let text = "x".repeat(LARGEST_DETAILS - r#"{"all":""}"#.len() + more);
        Map::from_iter([("all".to_owned(), text.into())])
    };
    let (title, text) = ("a\nb\u{7}".to_owned(), "a\nb\u{7}".to_owned());
    let whole = Alert { title, text, remedies, details: details(0), ..alert };
    let limited = whole.within_limits();
    let lengths: Vec<usize> = limited.remedies.iter().map(|remedy| remedy.command.len()).collect();
    assert_eq!(lengths, [LONGEST_COMMAND, 6]);
    assert!(limited.remedies.iter().all(|remedy| remedy.label == "Undo it"));
    assert_eq!((limited.title.as_str(), limited.text.as_str()), ("a b", "a\nb"));
    assert_eq!(limited.details, whole.details);
    let larger = Alert { details: details(1), ..whole }.within_limits();
    expect![[r#"{"omitted":"30001 bytes, more than fit into an alert"}"#]]
        .assert_eq(&Value::from(larger.details).to_string());
}

#[test]
fn a_subject_is_one_line_of_ascii_and_never_empty() {
    let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
    let subject =
        |title: &str| Alert { title: title.to_owned(), ..alert.clone() }.message("aws").subject;
    assert_eq!(subject("2 images of ü\n were\tdeleted"), "2 images of   were deleted");
    assert_eq!(subject(" \u{1f433} é"), "tag-violation");
    assert_eq!(subject(&"x".repeat(99)), "x".repeat(99));
    assert_eq!(subject(&"x".repeat(100)), format!("{}...", "x".repeat(96)));
}

#[test]
fn a_notification_has_its_thread_and_only_whole_commands() {
    let (alert, _) = alert(&policy(GUIDE, &[]), "latest", &["latest"]);
    let remedy = Remedy::aws("Restore it", "aws ecr put-image".to_owned());
    let alert = Alert { remedies: vec![remedy], ..alert };
    expect![[r#"
        {
          "content": {
            "description": "ECR Warden removed the tag latest from an image in the repository infrastructure. The image now has the tag quarantine-20261124-0a0a0a0a0a0a-latest, and can be pulled by that tag and by its digest. The image is kept for at least 14 days.\n\nWhy: the tag latest does not match {component}-v{semver} (rule grammar).\n\nWhat to do: push the image again with a tag that conforms, or change the policy.\n\nRestore it:\n```\naws ecr put-image\n```",
            "keywords": [
              "tag-violation",
              "infrastructure"
            ],
            "nextSteps": [
              "Restore it"
            ],
            "textType": "client-markdown",
            "title": "The image infrastructure:latest was quarantined"
          },
          "id": "85fc3613",
          "metadata": {
            "additionalContext": {
              "Account": "123456789012, us-east-1",
              "Event": "85fc3613 at 2026-11-24T10:00:00Z",
              "Image": "sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
              "Repository": "infrastructure",
              "Severity": "HIGH",
              "Tags": "quarantine-20261124-0a0a0a0a0a0a-latest"
            },
            "eventType": "tag-violation",
            "relatedResources": [
              "arn:aws:ecr:us-east-1:123456789012:repository/infrastructure"
            ],
            "summary": "The image infrastructure:latest was quarantined",
            "threadId": "infrastructure/sha256:0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
          },
          "source": "custom",
          "version": "1.0"
        }"#]].assert_eq(&format!("{:#}", alert.amazon_q("aws")));
    let about_no_image = Alert { repository: None, component: None, image: None, ..alert.clone() };
    let notification = about_no_image.amazon_q("aws");
    let (metadata, keywords) = (&notification["metadata"], &notification["content"]["keywords"]);
    assert_eq!(
        (&metadata["threadId"], keywords),
        (&json!("tag-violation"), &json!(["tag-violation"]))
    );
    assert_eq!(metadata["relatedResources"], json!([]));
    // The longest text that leaves room for the command, and one character more.
    let block = "\n\nRestore it:\n```\naws ecr put-image\n```".chars().count();
    for (length, is_whole) in [(8_000 - block, true), (8_001 - block, false)] {
        let notification = Alert { text: "é".repeat(length), ..alert.clone() }.amazon_q("aws");
        let description = notification["content"]["description"].as_str().unwrap();
        assert_eq!(description.ends_with("```"), is_whole, "{length}");
        assert_eq!(description.contains("```"), is_whole, "{length}");
    }
}

#[test]
fn a_list_has_as_many_entries_as_fit_into_the_details() {
    let fitted = |most, length| {
        let lines = |most| vec!["x".repeat(length); most].into();
        let details = fit_details(most, |most| Map::from_iter([("all".to_owned(), lines(most))]));
        details["all"].as_array().unwrap().len()
    };
    assert_eq!([100, 1_000, LARGEST_DETAILS].map(|length| fitted(50, length)), [50, 27, 0]);
    let one = LARGEST_DETAILS - r#"{"all":[""]}"#.len();
    assert_eq!([one, one + 1].map(|length| fitted(1, length)), [1, 0]);
}
