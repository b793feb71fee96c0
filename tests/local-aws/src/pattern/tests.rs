use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::Pattern;

/// The pattern is for each of the first events and for none of the second.
fn check<const Y: usize, const N: usize>(pattern: &Value, yes: [Value; Y], no: [Value; N]) {
    let parsed = Pattern::new(pattern).unwrap();
    for event in yes {
        assert!(parsed.matches(&event), "{pattern} is not for {event}");
    }
    for event in no {
        assert!(!parsed.matches(&event), "{pattern} is for {event}");
    }
}

/// The same of a field `a` that one test is made of.
fn check_test<const Y: usize, const N: usize>(test: &Value, yes: [Value; Y], no: [Value; N]) {
    let event = |value| json!({"a": value});
    check(&json!({"a": [test]}), yes.map(event), no.map(event));
}

#[test]
fn every_field_must_match_and_one_of_its_values() {
    check(
        &json!({
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Action", "ECR Image Scan"],
            "detail": {"action-type": ["PUSH"], "result": ["SUCCESS"]},
        }),
        [json!({
            "source": "aws.ecr", "detail-type": "ECR Image Scan", "account": "123456789012",
            "detail": {"action-type": "PUSH", "result": "SUCCESS", "image-tag": "v1"},
        })],
        [
            json!({}),
            json!([]),
            json!({"source": "aws.ecr", "detail-type": "ECR Image Scan"}),
            json!({"source": "aws.ecr", "detail-type": "ECR Image Scan", "detail": "PUSH"}),
            json!({
                "source": "aws.ecr", "detail-type": "ECR Image Scan",
                "detail": {"action-type": "PUSH", "result": "FAILURE"},
            }),
        ],
    );
}

#[test]
fn a_value_equals_only_its_own_kind() {
    check_test(&json!("1"), [json!("1")], [json!(1), json!("1.0"), json!({"1": "1"})]);
    check_test(&json!(1), [json!(1), json!(1.0), json!([2, 1])], [json!("1"), json!(true)]);
    check_test(&json!(true), [json!(true)], [json!("true"), json!(false), json!(1)]);
    check_test(&json!(null), [json!(null)], [json!(""), json!("null"), json!(0), json!([])]);
    check_test(&json!(""), [json!("")], [json!(null), json!(" ")]);
    check_test(&json!("a"), [json!("a")], [json!("A"), json!("ab")]);
}

#[test]
fn an_empty_tag_is_not_absent() {
    check(
        &json!({"detail": {"image-tag": [{"exists": false}]}}),
        [json!({}), json!({"detail": {}}), json!({"detail": {"image-tag": []}})],
        [json!({"detail": {"image-tag": ""}}), json!({"detail": {"image-tag": null}})],
    );
    check(
        &json!({"detail": {"image-tag": [{"exists": true}]}}),
        [json!({"detail": {"image-tag": ""}}), json!({"detail": {"image-tag": null}})],
        [json!({}), json!({"detail": {}}), json!({"detail": {"image-tag": []}})],
    );
}

#[test]
fn an_object_in_the_place_of_a_value_is_absent() {
    check_test(&json!({"exists": false}), [json!({"b": 1})], [json!(1)]);
    check_test(&json!({"exists": true}), [json!(1)], [json!({"b": 1})]);
}

#[test]
fn only_absence_matches_what_is_absent() {
    for test in [
        json!(null),
        json!(""),
        json!({"prefix": ""}),
        json!({"wildcard": "*"}),
        json!({"anything-but": "b"}),
        json!({"numeric": ["<", 1]}),
    ] {
        check(&json!({"a": [test]}), [], [json!({}), json!({"b": 0})]);
        check(&json!({"a": [test, {"exists": false}]}), [json!({}), json!({"b": 0})], []);
    }
}

#[test]
fn an_array_matches_by_any_of_its_elements() {
    check(
        &json!({"resources": [{"suffix": "/b"}], "a": {"b": [1], "c": [2]}}),
        [
            json!({"resources": ["x/a", "x/b"], "a": [{"b": 0}, {"b": [3, 1], "c": 2}]}),
            json!({"resources": "x/b", "a": [[{"b": 1, "c": 2}]]}),
        ],
        [
            json!({"resources": [], "a": [{"b": 1, "c": 2}]}),
            json!({"resources": ["x/b"], "a": [{"b": 1}, {"c": 2}]}),
            json!({"resources": ["x/b"], "a": [1, 2]}),
        ],
    );
}

// https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html
#[test]
fn a_finding_matches_by_what_its_resources_are_and_where() {
    let pattern = json!({
        "source": ["aws.inspector2"],
        "detail-type": ["Inspector2 Finding"],
        "detail": {
            "status": ["ACTIVE", "CLOSED"],
            "severity": ["CRITICAL", "HIGH"],
            "resources": {
                "type": ["AWS_ECR_CONTAINER_IMAGE"],
                "details": {
                    "awsEcrContainerImage": {"repositoryName": ["infrastructure", "deployments"]},
                },
            },
        },
    });
    let found = |severity: &str, status: &str, resource: &Value| {
        json!({
            "source": "aws.inspector2",
            "detail-type": "Inspector2 Finding",
            "detail": {"severity": severity, "status": status, "resources": [resource]},
        })
    };
    let image = |repository: &str| {
        json!({
            "type": "AWS_ECR_CONTAINER_IMAGE",
            "details": {"awsEcrContainerImage": {"repositoryName": repository}},
        })
    };
    let instance = json!({
        "type": "AWS_EC2_INSTANCE",
        "details": {"awsEc2Instance": {"platform": "UBUNTU_24_04"}},
    });
    let ours = image("infrastructure");
    let mut two = found("HIGH", "ACTIVE", &instance);
    two["detail"]["resources"] = json!([instance, ours]);
    check(
        &pattern,
        [found("CRITICAL", "ACTIVE", &ours), found("HIGH", "CLOSED", &image("deployments")), two],
        [
            found("HIGH", "ACTIVE", &instance),
            found("HIGH", "ACTIVE", &image("team/other")),
            found("MEDIUM", "ACTIVE", &ours),
            found("HIGH", "SUPPRESSED", &ours),
        ],
    );
}

#[test]
fn a_pattern_of_absence_must_hold_for_a_whole_array() {
    let (both, one) = (json!({"a": [{"b": 1}, {"c": 1}]}), json!({"a": [{"c": 1}, {"c": 2}]}));
    check(
        &json!({"a": {"b": [{"exists": false}]}}),
        [one.clone(), json!({"a": []})],
        [both.clone()],
    );
    check(&json!({"a": {"b": [1], "c": [{"exists": false}]}}), [both], [one]);
}

#[test]
fn a_text_is_compared_at_its_start_or_end_with_or_without_case() {
    check_test(&json!({"prefix": "us-"}), [json!("us-east-1"), json!("us-")], [json!("US-east-1")]);
    check_test(&json!({"suffix": ".png"}), [json!("a.png")], [json!("a.PNG"), json!(1)]);
    let ignored = json!({"equals-ignore-case": "EventB"});
    check_test(&ignored, [json!("eventb"), json!("EVENTB")], [json!("eventbridge"), json!(true)]);
    check_test(&json!({"prefix": ignored}), [json!("EVENTbridge")], [json!("event")]);
    check_test(&json!({"suffix": ignored}), [json!("my-EVENTb")], [json!("eventbridge")]);
}

#[test]
fn anything_but_is_for_what_is_there_and_does_not_match() {
    check_test(&json!({"anything-but": "a"}), [json!("b"), json!(1), json!(null)], [json!("a")]);
    check_test(&json!({"anything-but": ["a", "b"]}), [json!("c")], [json!("a"), json!("b")]);
    check_test(&json!({"anything-but": [1, 2]}), [json!(3), json!("1")], [json!(1.0), json!(2)]);
    check_test(&json!({"anything-but": {"prefix": "a"}}), [json!("ba")], [json!("ab")]);
    check_test(&json!({"anything-but": {"suffix": ["a", "b"]}}), [json!("ac")], [json!("ca")]);
    check_test(
        &json!({"anything-but": {"wildcard": "*/lib/*"}}),
        [json!("lib")],
        [json!("a/lib/")],
    );
    check_test(
        &json!({"anything-but": {"equals-ignore-case": ["a", "B"]}}),
        [json!("c")],
        [json!("A"), json!("b")],
    );
    // One element of an array that differs is enough.
    check_test(&json!({"anything-but": "a"}), [json!(["a", "b"])], [json!(["a", "a"]), json!([])]);
}

#[test]
fn a_number_is_within_a_range() {
    check_test(&json!({"numeric": ["=", 3.018e2]}), [json!(301.8)], [json!(301), json!("301.8")]);
    check_test(
        &json!({"numeric": [">", 0, "<=", 5]}),
        [json!(0.1), json!(5)],
        [json!(0), json!(6)],
    );
    check_test(
        &json!({"numeric": [">=", 0, "<", 5]}),
        [json!(0), json!(4.9)],
        [json!(-1), json!(5)],
    );
    check_test(&json!({"numeric": ["<", 10]}), [json!(-10)], [json!(10), json!(null)]);
}

#[test]
fn a_wildcard_matches_any_letters_and_the_empty_text() {
    let wildcard = |pattern: &str| json!({"wildcard": pattern});
    check_test(&wildcard("a*b*c"), [json!("abc"), json!("a-b-b-c")], [json!("ab"), json!("acb")]);
    check_test(&wildcard("a*a"), [json!("aa"), json!("aba")], [json!("a"), json!("aab")]);
    check_test(&wildcard("*"), [json!(""), json!("*")], [json!(1)]);
    check_test(&wildcard("a"), [json!("a")], [json!("ab"), json!("")]);
    check_test(&wildcard(r"a\*\\*"), [json!(r"a*\"), json!(r"a*\b")], [json!(r"aa\")]);
}

#[test]
fn an_address_is_in_a_network_of_its_own_kind() {
    let cidr = |network: &str| json!({"cidr": network});
    check_test(
        &cidr("10.0.0.5/24"),
        [json!("10.0.0.0"), json!("10.0.0.255")],
        [json!("10.0.1.0"), json!("::a00:0"), json!("10.0.0"), json!(10)],
    );
    check_test(&cidr("0.0.0.0/0"), [json!("255.0.0.1")], [json!("::")]);
    check_test(&cidr("2001:db8::/33"), [json!("2001:db8:7fff::1")], [json!("2001:db8:8000::")]);
}

#[test]
fn one_of_the_alternatives_matches_beside_the_other_fields() {
    check(
        &json!({
            "source": ["s"],
            "$or": [{"a": [1], "b": [1]}, {"$or": [{"c": [1]}, {"d": {"e": [1]}}]}],
        }),
        [
            json!({"source": "s", "a": 1, "b": 1}),
            json!({"source": "s", "c": 1}),
            json!({"source": "s", "d": {"e": 1}}),
        ],
        [json!({"source": "s", "a": 1}), json!({"c": 1}), json!({"source": "s"})],
    );
}

#[test]
fn an_invalid_pattern_says_where_and_why() {
    let mut said = String::new();
    for pattern in [
        json!([]),
        json!({}),
        json!({"detail": {}}),
        json!({"detail": {"state": "running"}}),
        json!({"detail": {"state": []}}),
        json!({"detail": {"state": [["running"]]}}),
        json!({"detail": {"state": [{"prefx": "a"}]}}),
        json!({"a": [{"prefix": "a", "suffix": "b"}]}),
        json!({"a": [{"prefix": 1}]}),
        json!({"a": [{"prefix": {"suffix": "b"}}]}),
        json!({"a": [{"exists": "true"}]}),
        json!({"a": [{"anything-but": []}]}),
        json!({"a": [{"anything-but": ["a", 1]}]}),
        json!({"a": [{"anything-but": null}]}),
        json!({"a": [{"anything-but": {"prefix": ""}}]}),
        json!({"a": [{"anything-but": {"numeric": ["=", 1]}}]}),
        json!({"a": [{"numeric": []}]}),
        json!({"a": [{"numeric": ["<"]}]}),
        json!({"a": [{"numeric": ["<", 5, ">", 0]}]}),
        json!({"a": [{"numeric": [">", 5, "<", 5]}]}),
        json!({"a": [{"numeric": ["=", 1, "<", 5]}]}),
        json!({"a": [{"wildcard": "a**"}]}),
        json!({"a": [{"wildcard": r"a\b"}]}),
        json!({"a": [{"cidr": "10.0.0.0"}]}),
        json!({"a": [{"cidr": "10.0.0.0/32"}]}),
        json!({"$or": [{"a": [1]}]}),
        json!({"$or": [{"a": [1]}, {"b": 1}]}),
    ] {
        let error = Pattern::new(&pattern).unwrap_err().to_string();
        said += &error.replace("Event pattern is not valid. Reason: ", "");
        said.push('\n');
    }
    let expected: Expect = expect![[r#"
        expected an object
        an empty object is not allowed
        detail: an empty object is not allowed
        detail.state: expected an object or an array, not "running"
        detail.state: an empty array is not allowed
        detail.state: an array within an array is not allowed
        detail.state.prefx: unknown operator
        a: expected one operator in {"prefix":"a","suffix":"b"}
        a.prefix: expected a string, not 1
        a.prefix.suffix: unknown operator
        a.exists: expected true or false, not "true"
        a.anything-but: an empty array is not allowed
        a.anything-but: expected strings or numbers, not both
        a.anything-but: expected a string or a number, not null
        a.anything-but.prefix: an empty string is not allowed
        a.anything-but.numeric: unknown operator
        a.numeric: an empty array is not allowed
        a.numeric: expected a number
        a.numeric: not a range: ["<",5,">",0]
        a.numeric: the lower bound must be less than the upper one
        a.numeric: not a range: ["=",1,"<",5]
        a.wildcard: consecutive wildcards are not allowed
        a.wildcard: a backslash escapes nothing but '*' and '\'
        a.cidr: not a network: "10.0.0.0"
        a.cidr: not a network: "10.0.0.0/32"
        $or: expected an array of two objects at least
        $or.b: expected an object or an array, not 1
    "#]];
    expected.assert_eq(&said);
}
