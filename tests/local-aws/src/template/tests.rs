mod ours;
mod quotas;

use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

const STACK_ID: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/51af3dc0-da77-11e4-872e-1234567db123";

fn ours() -> Template {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/sam");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    Template::read(&read("template.yaml"))
        .unwrap()
        .include("policy.yaml", &read("policy.yaml"))
        .unwrap()
}

fn stack<'t>(template: &'t Template, parameters: &[(&str, &str)]) -> Result<Stack<'t>> {
    let identity = Identity {
        account: "123456789012".to_owned(),
        region: "us-east-1".to_owned(),
        name: "warden".to_owned(),
        id: STACK_ID.to_owned(),
    };
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Stack::new(template, identity, &parameters.collect())
}

fn attributes<const N: usize>(of: [(&str, Value); N]) -> Map<String, Value> {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The evaluated properties of the resource `It`, or the error.
fn check(text: &str, expected: &Expect) {
    let evaluated = || {
        let template = Template::read(text)?;
        let mut stack = stack(&template, &[])?;
        stack.resources()?;
        stack.made("Other", "other-1", attributes([("Arn", json!("arn:other/a-b"))]));
        stack.properties("It")
    };
    expected
        .assert_eq(&evaluated().map_or_else(|error| error.to_string(), |value| value.to_string()));
}

/// The same of its property `P`.
fn check_property(property: &str, expected: &Expect) {
    check(
        &format!(
            "Parameters:\n  List: {{ Type: CommaDelimitedList, Default: 'a, b' }}\n\
             Conditions:\n  Yes: !Equals [1, '1']\n  No: !Not [!Condition Yes]\n\
             Resources:\n  Other: {{ Type: T }}\n  It:\n    Type: T\n    \
             Properties:\n      P: {property}\n"
        ),
        expected,
    );
}

#[test]
fn a_parameter_without_a_default_must_be_given() {
    let template = Template::read(
        "Parameters:\n  P: { Type: String, AllowedPattern: 'a|b', MaxLength: 1 }\n  \
         S: { Type: AWS::SSM::Parameter::Name, Default: s }",
    )
    .unwrap();
    let check = |given: &[(&str, &str)], expected: Expect| {
        expected.assert_eq(&stack(&template, given).unwrap_err().to_string());
    };
    check(&[], expect!["Parameters: [P] must have values"]);
    check(&[("P", "ab")], expect!["Parameter 'P' must match pattern a|b"]);
    check(
        &[("P", "a")],
        expect![[r#""AWS::SSM::Parameter::Name" is no supported type of parameter S"#]],
    );
}

#[test]
fn a_function_gives_its_value() {
    check_property("!Ref Other", &expect![[r#"{"P":"other-1"}"#]]);
    check_property("!GetAtt Other.Arn", &expect![[r#"{"P":"arn:other/a-b"}"#]]);
    check_property("{ Fn::GetAtt: Other.Arn }", &expect![[r#"{"P":"arn:other/a-b"}"#]]);
    check_property(
        "!If [No, 1, !If [Yes, !Ref AWS::Region, 3]]",
        &expect![[r#"{"P":"us-east-1"}"#]],
    );
    check_property(
        "[1, !Ref AWS::NoValue, { A: !Ref AWS::NoValue }]",
        &expect![[r#"{"P":[1,{}]}"#]],
    );
    check_property(
        "[!If [No, 1, !Ref AWS::NoValue], !If [Yes, { A: 2 }, !Ref AWS::NoValue]]",
        &expect![[r#"{"P":[{"A":2}]}"#]],
    );
    check_property("!Join ['-', !Ref List]", &expect![[r#"{"P":"a-b"}"#]]);
    check_property(
        "!Join ['-', [a, 1, !Ref AWS::NoValue, !Ref AWS::StackName]]",
        &expect![[r#"{"P":"a-1-warden"}"#]],
    );
    check_property("!Split [/, !GetAtt Other.Arn]", &expect![[r#"{"P":["arn:other","a-b"]}"#]]);
    check_property("!Select [1, !Ref List]", &expect![[r#"{"P":"b"}"#]]);
    check_property(
        "!Sub '${AWS::Partition} ${Other} ${Other.Arn} ${!Other} $x'",
        &expect![[r#"{"P":"aws other-1 arn:other/a-b ${Other} $x"}"#]],
    );
    check_property(
        "!Sub ['${Other} ${A}', { Other: own, A: !Ref AWS::URLSuffix }]",
        &expect![[r#"{"P":"own amazonaws.com"}"#]],
    );
    // A policy has conditions of its own.
    check_property(
        "{ Condition: { StringEquals: { a: b } } }",
        &expect![[r#"{"P":{"Condition":{"StringEquals":{"a":"b"}}}}"#]],
    );
}

/// Checks the value of a property in a template with some mappings.
fn check_mapped(property: &str, expected: &Expect) {
    check(
        &format!(
            "Parameters:\n  Least: {{ Type: String, Default: HIGH }}\n\
             Mappings:\n  Severities:\n    HIGH: {{ Names: [CRITICAL, HIGH], Count: 2 }}\n    \
             LOW: {{ Names: [CRITICAL, HIGH, MEDIUM, LOW], Also: HIGH }}\n\
             Conditions:\n  Two: !Equals [!FindInMap [Severities, HIGH, Count], '2']\n\
             Resources:\n  Other: {{ Type: T }}\n  It:\n    Type: T\n    \
             Properties:\n      P: {property}\n"
        ),
        expected,
    );
}

#[test]
fn a_mapping_gives_a_text_or_a_list() {
    check_mapped(
        "!FindInMap [Severities, !Ref Least, Names]",
        &expect![[r#"{"P":["CRITICAL","HIGH"]}"#]],
    );
    check_mapped(
        "{ Fn::FindInMap: [Severities, !FindInMap [Severities, LOW, Also], Count] }",
        &expect![[r#"{"P":2}"#]],
    );
    check_mapped(
        "!Join [',', !FindInMap [Severities, HIGH, Names]]",
        &expect![[r#"{"P":"CRITICAL,HIGH"}"#]],
    );
    check_mapped(
        "!Sub ['${Count} names', { Count: !FindInMap [Severities, HIGH, Count] }]",
        &expect![[r#"{"P":"2 names"}"#]],
    );
    check_mapped("!If [Two, a, b]", &expect![[r#"{"P":"a"}"#]]);
}

#[test]
fn a_missing_key_of_a_mapping_is_reported_with_the_mapping() {
    check_mapped(
        "!FindInMap [Regions, HIGH, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: there is no mapping Regions"],
    );
    check_mapped(
        "!FindInMap [Severities, MEDIUM, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: Severities has no Names of MEDIUM"],
    );
    check_mapped(
        "!FindInMap [Severities, !Ref Other, Names]",
        &expect![
            "Resources.It.Properties.P.Fn::FindInMap: Other is a resource, and those are made later"
        ],
    );
    check_mapped(
        "!FindInMap [Severities, !Sub HIGH, Names]",
        &expect!["Resources.It.Properties.P.Fn::FindInMap: Fn::Sub gives no key of a mapping"],
    );
    check(
        "Mappings: { M: { A: { B: !Ref AWS::Region } } }",
        &expect!["Mappings.M.A.B: expected a text, or a list of texts"],
    );
    check("Mappings: { M: { A: b } }", &expect!["Mappings.M.A: expected a map"]);
}

#[test]
fn a_condition_may_refer_to_other_conditions() {
    for (condition, expected) in [
        ("!And [!Condition Yes, !Not [!Condition No]]", "true"),
        ("!And [!Condition Yes, !Condition No]", "false"),
        ("!Or [!Condition No, !Equals [!Ref AWS::Region, us-east-1]]", "true"),
        ("!Or [!Condition No, !Equals [!Ref AWS::Region, eu-west-1]]", "false"),
    ] {
        let text = format!(
            "Conditions:\n  A: {condition}\n  No: !Equals ['true', false]\n  Yes: !Equals ['true', true]\n\
             Resources: {{ It: {{ Type: T, Properties: {{ P: !If [A, 'true', 'false'] }} }} }}"
        );
        let template = Template::read(&text).unwrap();
        assert_eq!(
            stack(&template, &[]).unwrap().properties("It").unwrap()["P"],
            expected,
            "{text}"
        );
    }
}

#[test]
fn an_unknown_section_or_function_is_reported_with_its_place() {
    check_property(
        "!ImportValue a",
        &expect!["Resources.It.Properties.P: unknown tag !ImportValue"],
    );
    check_property(
        "[{ Fn::Base64: a }]",
        &expect!["Resources.It.Properties.P.0: unknown function Fn::Base64"],
    );
    check_property(
        "{ Fn::Sub: a, B: c }",
        &expect!["Resources.It.Properties.P: Fn::Sub stands beside other keys"],
    );
    check_property(
        "!Equals [a, b]",
        &expect!["Resources.It.Properties.P.Fn::Equals: Fn::Equals is for conditions"],
    );
    check_property("null", &expect!["Resources.It.Properties.P: null values are not allowed"]);
    check_property(
        "!Ref Nothing",
        &expect!["Resources.It.Properties.P: nothing is called Nothing"],
    );
    check_property(
        "!Sub '${Nothing.Arn}'",
        &expect!["Resources.It.Properties.P: nothing is called Nothing"],
    );
    check_property("!Sub '${Other'", &expect!["Resources.It.Properties.P: a ${ without its }"]);
    check_property(
        "!If [Maybe, a, b]",
        &expect!["Resources.It.Properties.P: there is no condition Maybe"],
    );
    check_property(
        "!GetAtt Other.Uri",
        &expect!["Resources.It.Properties.P.Fn::GetAtt: Other has no attribute Uri"],
    );
    check_property(
        "!Select [2, !Ref List]",
        &expect!["Resources.It.Properties.P.Fn::Select: there is no element 2"],
    );
    check_property(
        "!Join ['', a]",
        &expect![[r#"Resources.It.Properties.P.Fn::Join: expected a list, not "a""#]],
    );
    check_property(
        "'{{resolve:ssm:a}}'",
        &expect!["Resources.It.Properties.P: dynamic references are not supported"],
    );
    check(
        "Conditions: { C: !And [!Equals [a, a]] }",
        &expect!["Conditions.C.Fn::And: expected two conditions at least"],
    );
    check("Conditions: { C: !Sub a }", &expect!["Conditions.C.Fn::Sub: it gives no condition"]);
    check("Hooks: {}", &expect!["Hooks: not supported"]);
    check("Globals: { Api: {} }", &expect!["Globals.Api: not supported"]);
    check("Transform: AWS::Include", &expect!["Transform: not supported"]);
    check(
        "Resources: { It: { Type: T, Propertys: {} } }",
        &expect!["Resources.It: unknown attribute Propertys"],
    );
    check(
        "Resources: { It: { Type: T }, It: { Type: U } }",
        &expect!["duplicated key in mapping at byte 30 line 1 column 31"],
    );
}

#[test]
fn a_cycle_is_named() {
    check(
        r"
        Resources:
          A: { Type: T, DependsOn: B }
          B: { Type: T, Properties: { P: !Sub '${C.Arn}' } }
          C: { Type: T, DependsOn: [D, B] }
          D: { Type: T }
        ",
        &expect!["circular dependency: B -> C -> B"],
    );
    check(
        "Conditions:\n  A: !Not [!Condition B]\n  B: !Or [!Condition A, !Condition A]",
        &expect!["circular dependency: A -> B -> A"],
    );
}

#[test]
fn nothing_may_need_what_its_condition_leaves_out() {
    let template = |property: &str| {
        format!(
            "Conditions: {{ No: !Equals [a, b] }}\nResources:\n  A: {{ Type: T, Condition: No }}\n  \
             It: {{ Type: T, Properties: {{ P: {property} }} }}"
        )
    };
    check(&template("!Ref A"), &expect!["It needs A, whose condition does not hold"]);
    check(&template("!If [No, !Ref A, b]"), &expect![[r#"{"P":"b"}"#]]);
}

#[test]
fn a_function_s_own_values_come_after_the_globals_or_instead_of_them() {
    check(
        r"
        Transform: AWS::Serverless-2016-10-31
        Globals:
          Function: { Layers: [a], Timeout: 3, Tags: { A: 1, B: 2 }, Role: { Fn::Sub: a } }
        Resources:
          It:
            Type: AWS::Serverless::Function
            Properties: { Layers: [b], Timeout: 5, Tags: { B: 3 }, Role: { Fn::Join: ['', [c]] } }
        ",
        &expect![[r#"{"Layers":["a","b"],"Role":"c","Tags":{"A":1,"B":3},"Timeout":5}"#]],
    );
}

#[test]
fn an_included_file_is_read_by_yaml_1_1_and_its_scalars_arrive_as_strings() {
    let check = |file: &str, expected: Expect| {
        let included = || {
            let template = Template::read(
                "Resources:\n  It:\n    Type: T\n    Properties:\n      P:\n        Fn::Transform:\n          \
                 Name: AWS::Include\n          Parameters: { Location: file.yaml }\n",
            )?
            .include("file.yaml", file)?;
            let properties = stack(&template, &[])?.properties("It")?;
            Ok::<_, Error>(as_cloudformation_sends(properties)["P"].to_string())
        };
        expected.assert_eq(&included().unwrap_or_else(|error| error.to_string()));
    };
    check(
        "A: [yes, 'yes', on, True, y]\nB: [010, '010', 0x1F, 1_000, 1:30, -7, 0, 09]\n\
         C: [1.50, .5, 1e3, 2027-01-15, 1.2.3]\nD: { E: \"{component}-v{semver}\" }\n",
        expect![[
            r#"{"A":["true","yes","true","true","y"],"B":["8","010","31","1000","90","-7","0","09"],"C":["1.5","0.5","1e3","2027-01-15","1.2.3"],"D":{"E":"{component}-v{semver}"}}"#
        ]],
    );
    check("A: [1, null]", expect!["file.yaml.A.1: null values are not allowed"]);
    check("A:\n", expect!["file.yaml.A: null values are not allowed"]);
    check("A: !Ref B", expect!["file.yaml.A: tags are not supported in an included file"]);
    check("- A", expect!["file.yaml: expected one document with keys"]);
    check("A: 1\nA: 2", expect!["file.yaml: duplicated key in mapping at byte 5 line 2 column 1"]);
}

#[test]
fn a_macro_that_is_not_applied_is_an_error() {
    check_property(
        "{ Fn::Transform: { Name: AWS::Include, Parameters: { Location: file.yaml } } }",
        &expect![[
            r#"Resources.It.Properties.P.Fn::Transform: a macro that is not applied: {"Name":"AWS::Include","Parameters":{"Location":"file.yaml"}}"#
        ]],
    );
}
