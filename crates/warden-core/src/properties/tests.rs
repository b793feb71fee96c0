use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Checks the value that is read from these properties, and the problems, with one line for each.
fn check<T: fmt::Debug>(
    properties: &Value,
    read: impl FnOnce(&mut Reader<'_>) -> T,
    expected: &Expect,
) {
    let node = Node::from(properties);
    let mut reader = Reader::new(&node);
    let mut lines = format!("{:?}\n", read(&mut reader));
    reader.finish().iter().for_each(|problem| lines += &format!("{problem}\n"));
    expected.assert_eq(&lines);
}

#[test]
fn a_flag_is_true_or_false_and_any_other_value_is_a_problem() {
    check(
        &json!({"A": "true", "B": "false", "C": true, "D": "yes"}),
        |reader| {
            let given = ["A", "B", "C", "D"].map(|name| reader.flag(name, false));
            (given, reader.flag("E", true), reader.flag("F", false))
        },
        &expect![[r#"
                ([true, false, true, false], true, false)
                D: expected true or false, got "yes"
            "#]],
    );
}

#[test]
fn a_map_contains_scalars_and_any_other_value_is_a_problem() {
    let read = |reader: &mut Reader<'_>| reader.map("Tags");
    check(
        &json!({"Tags": {"a": "x", "b": 2, "c": true}}),
        read,
        &expect![[r#"
            [("a", "x"), ("b", "2"), ("c", "true")]
        "#]],
    );
    check(
        &json!({}),
        read,
        &expect![[r#"
            []
        "#]],
    );
    check(
        &json!({"Tags": {"a": "x", "b": []}}),
        read,
        &expect![[r#"
            []
            Tags: expected a map of strings
        "#]],
    );
    check(
        &json!({"Tags": ["a"]}),
        read,
        &expect![[r#"
            []
            Tags: expected a map of strings
        "#]],
    );
}

#[test]
fn words_are_a_list_or_one_text_and_blank_words_are_ignored() {
    let read = |reader: &mut Reader<'_>| reader.words::<u8>("Words");
    check(
        &json!({"Words": " 1  2 "}),
        read,
        &expect![[r#"
            [1, 2]
        "#]],
    );
    check(
        &json!({"Words": ["1", " 2 ", ""]}),
        read,
        &expect![[r#"
            [1, 2]
        "#]],
    );
    check(
        &json!({"Words": ""}),
        read,
        &expect![[r#"
            []
        "#]],
    );
    check(
        &json!({}),
        read,
        &expect![[r#"
            []
        "#]],
    );
    check(
        &json!({"Words": "1 x 3"}),
        read,
        &expect![[r#"
            [1, 3]
            Words: invalid digit found in string, got "x"
        "#]],
    );
    check(
        &json!({"Words": ["1", 2]}),
        read,
        &expect![[r#"
            []
            Words: expected a list of strings
        "#]],
    );
    check(
        &json!({"Words": {}}),
        read,
        &expect![[r#"
            []
            Words: expected a list of strings
        "#]],
    );
}

#[test]
fn a_required_list_without_a_word_is_one_problem_and_an_invalid_word_is_one_too() {
    let read = |reader: &mut Reader<'_>| reader.required_words::<u8>("Words", "number");
    check(
        &json!({"Words": "1"}),
        read,
        &expect![[r#"
            [1]
        "#]],
    );
    check(
        &json!({}),
        read,
        &expect![[r#"
            []
            Words: expected at least one number
        "#]],
    );
    check(
        &json!({"Words": "x"}),
        read,
        &expect![[r#"
            []
            Words: invalid digit found in string, got "x"
        "#]],
    );
    check(
        &json!("Words"),
        read,
        &expect![[r#"
            []
            ResourceProperties: missing; expected an object
        "#]],
    );
}

#[test]
fn a_number_consists_of_digits_and_is_within_its_range() {
    for good in [json!(3), json!("3"), json!("007"), json!("9")] {
        let properties = json!({"Days": good});
        let node = Node::from(&properties);
        let mut reader = Reader::new(&node);
        let number = reader.number("Days", 3..=9, None);
        assert!((3..=9).contains(&number) && reader.finish().is_empty(), "{good}");
    }
    let mut lines = String::new();
    for bad in ["2", "10", "+3", "-3", "3.0", "", " 3", "three", "99999999999"] {
        let properties = json!({"Days": bad});
        let node = Node::from(&properties);
        let mut reader = Reader::new(&node);
        reader.number("Days", 3..=9, Some(5));
        lines += &format!("{}\n", reader.finish()[0]);
    }
    expect![[r#"
            Days: expected a whole number from 3 to 9, got "2"
            Days: expected a whole number from 3 to 9, got "10"
            Days: expected a whole number from 3 to 9, got "+3"
            Days: expected a whole number from 3 to 9, got "-3"
            Days: expected a whole number from 3 to 9, got "3.0"
            Days: expected a whole number from 3 to 9, got ""
            Days: expected a whole number from 3 to 9, got " 3"
            Days: expected a whole number from 3 to 9, got "three"
            Days: expected a whole number from 3 to 9, got "99999999999"
        "#]]
    .assert_eq(&lines);
    let read = |reader: &mut Reader<'_>| {
        (reader.number("Days", 3..=9, Some(5)), reader.number("Count", 3..=9, None))
    };
    check(
        &json!({}),
        read,
        &expect![[r#"
                (5, 3)
                Count: this required property is missing
            "#]],
    );
}

#[test]
fn a_property_that_is_not_read_is_a_problem_unless_it_is_allowed() {
    let read = |reader: &mut Reader<'_>| {
        reader.ignore("ServiceToken");
        reader.optional::<u8>("Retention_1")
    };
    check(
        &json!({"ServiceToken": [], "Retention_1": "7", "Retention_2": "", "Retention-1": 7}),
        read,
        &expect![[r#"
                Some(7)
                "Retention-1": unknown property; the nearest known name is Retention_1
                Retention_2: unknown property; the nearest known name is Retention_1
            "#]],
    );
    // No known name resembles the property, because no name is known.
    check(
        &json!({"Any": 1}),
        |_| (),
        &expect![[r#"
            ()
            Any: unknown property
        "#]],
    );
}

#[test]
fn a_missing_required_property_is_reported_once_with_its_full_name() {
    let read = |reader: &mut Reader<'_>| {
        reader.object("Outer", |reader| {
            let inner = reader.object("Inner", |reader| reader.required::<u8>("Number"));
            (inner, reader.required::<u8>("Count"))
        })
    };
    check(
        &json!({"Outer": {"Inner": {"Number": 1}, "Count": "2"}}),
        read,
        &expect![[r#"
            (Some(1), Some(2))
        "#]],
    );
    check(
        &json!({}),
        read,
        &expect![[r#"
                (None, None)
                Outer.Inner.Number: this required property is missing
                Outer.Count: this required property is missing
            "#]],
    );
    check(
        &json!({"Outer": {"Inner": [], "Count": []}}),
        read,
        &expect![[r#"
            (None, None)
            Outer.Inner: expected an object
            Outer.Count: expected a single value
        "#]],
    );
    check(
        &json!({"Outer": "x"}),
        read,
        &expect![[r#"
            (None, None)
            Outer: expected an object
        "#]],
    );
    check(
        &json!([]),
        read,
        &expect![[r#"
            (None, None)
            ResourceProperties: missing; expected an object
        "#]],
    );
}

#[test]
fn a_long_value_is_shortened_and_all_problems_are_one_line() {
    let invalid = |lengths: [usize; 2]| {
        let properties = json!({"A": "x".repeat(lengths[0]), "B": "x".repeat(lengths[1])});
        let node = Node::from(&properties);
        let mut reader = Reader::new(&node);
        let _ = (reader.optional::<u8>("A"), reader.optional::<u8>("B"));
        Invalid(reader.finish()).to_string()
    };
    expect![[r#"A: invalid digit found in string, got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; B: invalid digit found in string, got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…""#]].assert_eq(&invalid([80, 81]));
}

#[test]
fn the_nearest_word_is_found_without_regard_to_case() {
    assert_eq!(nearest("THRESHOLD", &["Retention", "Threshold", "Tags"]), Some("Threshold"));
    assert_eq!(nearest("threshhold", &["Threshold", "Retention"]), Some("Threshold"));
    assert_eq!(nearest("Threshold", &[]), None);
}
