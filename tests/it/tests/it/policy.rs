//! A policy has one version: as a file that the tool reads, as the properties that CloudFormation sends after
//! `AWS::Include`, and as the normal form in the ledger.

use std::cell::Cell;
use std::collections::BTreeMap;

use custom_resource::governance::desired;
use ecr_warden::policy_file::PolicyFile;
use expect_test::expect;
use local_aws::template::{Identity, Stack, Template, as_cloudformation_sends};
use local_aws::world::{NOW, POLICY, World};
use local_aws::{ACCOUNT, LocalAws, REGION};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::Value;
use warden_core::policy::Governance;
use warden_core::properties::Problem;

use crate::faults::function::create_custom_resource;
use crate::reference::schema::{find_mistake, schema};

/// A resource with an included policy and no other settings.
const TEMPLATE: &str = "
Resources:
  Governance:
    Type: Custom::EcrGovernance
    Properties:
      EnforceRepositories: ['*']
      Policy:
        Fn::Transform:
          Name: AWS::Include
          Parameters: { Location: policy.yaml }
";

/// The properties that CloudFormation sends for this text of a policy.
fn sent(policy: &str) -> Value {
    let template = Template::read(TEMPLATE).unwrap().include("policy.yaml", policy).unwrap();
    let identity = Identity {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: "stack".to_owned(),
        id: "stack".to_owned(),
    };
    let stack = Stack::new(&template, identity, &BTreeMap::new()).unwrap();
    as_cloudformation_sends(stack.properties("Governance").unwrap())
}

fn file(policy: &str) -> PolicyFile {
    PolicyFile::new("policy.yaml".to_owned(), policy.to_owned())
}

/// Reads the text as the tool reads a file.
fn read(policy: &str) -> Result<Governance, Vec<Problem>> {
    file(policy).parse(None).map(|(governance, _)| governance)
}

/// Checks that the governance has the same version after it was read in each other way.
fn check_versions(file: &Governance, properties: &Value) {
    let deployed = desired(properties).unwrap();
    assert_eq!(deployed.document, file.document);
    assert_eq!(deployed.version(), file.version());
    let parsed = Governance::parse(&deployed.normalised()).unwrap();
    assert_eq!(parsed.version(), deployed.version());
}

#[tokio::test(start_paused = true)]
async fn the_shipped_policy_has_the_version_of_the_deployment_wherever_it_is_read() {
    let aws = LocalAws::default();
    aws.state().set_clock(Some(NOW));
    let world = World::deploy_with(aws, &[], create_custom_resource).await;
    let properties = {
        let state = world.aws.state();
        let mut resources = state.stacks[0].resources.iter();
        resources.find(|resource| resource.id == "Governance").unwrap().properties.clone()
    };
    let mut file = read(POLICY).unwrap();
    file.provisioned = desired(&properties).unwrap().provisioned;
    assert_eq!(file.provisioned.repositories.len(), 2);
    check_versions(&file, &properties);
    assert_eq!(world.outputs["PolicyVersion"], file.version().to_string());
    // Without the settings of the parameters, the version is another one.
    assert_ne!(read(POLICY).unwrap().version(), file.version());
}

/// A text as a scalar of YAML. A plain scalar can be invalid, or be no string.
fn scalar(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let style = prop_oneof![1 => Just(' '), 2 => Just('\''), 2 => Just('"')];
    (text, style).prop_map(|(text, style)| match style {
        '\'' => format!("'{}'", text.replace('\'', "''")),
        '"' => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => text,
    })
}

/// A text of the list, as a scalar of YAML.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    scalar(select(texts).prop_map(str::to_owned))
}

/// A list of such texts, in one line.
fn list(texts: &'static [&'static str], least: usize) -> impl Strategy<Value = String> {
    let items = prop::collection::vec(one_of(texts), least..3);
    items.prop_map(|items| format!("[{}]", items.join(", ")))
}

/// A number, also in forms that YAML 1.1 reads as another number.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..=100_u32).prop_map(|number| number.to_string()),
        4 => scalar((1..=100_u32).prop_map(|number| format!("0{number}"))),
        1 => one_of(&["1_0", "0x10", "+7", "1e1", "7.0", "1:30", "010", "7"]),
    ]
}

/// Texts that YAML 1.1 can read as another type, beside common ones.
const NAMES: &[&str] = &[
    "platform",
    "team_a",
    "007",
    "12",
    "1_000",
    "yes",
    "No",
    "on",
    "y",
    "true",
    "null",
    "1e3",
    "0x1F",
    "0b1",
    "2027-01-15",
    "1-2",
    "12e4567",
];
const REPOSITORIES: &[&str] = &[
    "infrastructure",
    "team/*",
    "*-dev",
    "a*",
    "*",
    "007",
    "1.10",
    "1.2.3",
    "on",
    "no",
    "null",
    "0x1f",
    "2027-01-15",
    "10/20",
];
const WILDCARDS: &[&str] = &[
    "*-dirty",
    "*",
    "1.10",
    ".5",
    "1.2.3",
    "007",
    "NO",
    "off",
    "TRUE",
    ".inf",
    ".NaN",
    "2027-01-15",
    "-1",
];
const COMPONENTS: &[&str] = &["litellm", "my-app", "y", "on", "1e3", "null", "2027-01-15", "0x1f"];
const TEMPLATES: &[&str] =
    &["{component}-v{semver}", "re:[a-z]+|x", "{sha}", "v{version}", "{calver}", "re:[0-9]{2}"];
const CLEANUP: &[&str] = &["report", "archive", "delete"];

/// The lines, or no lines.
fn maybe(lines: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (any::<bool>(), lines)
        .prop_map(|(is_there, lines)| if is_there { lines } else { String::new() })
}

fn tags() -> impl Strategy<Value = String> {
    let key = |key: &'static str, value| maybe(value_of(key, value));
    (
        key("Grammar", list(TEMPLATES, 0).boxed()),
        key("Components", list(COMPONENTS, 0).boxed()),
        key("Forbidden", list(WILDCARDS, 0).boxed()),
        key("QuarantineDays", number().boxed()),
        one_of(&["report", "quarantine", "archive"]),
    )
        .prop_map(|(grammar, components, forbidden, days, enforcement)| {
            format!("    Tags:\n{grammar}{components}{forbidden}{days}      Enforcement: {enforcement}\n")
        })
}

fn retention() -> impl Strategy<Value = String> {
    let key = |key: &'static str, value| maybe(value_of(key, value));
    (
        key("Keep", number().boxed()),
        key("Untagged", one_of(CLEANUP).boxed()),
        key("UntaggedDays", number().boxed()),
        key("ProtectTags", list(WILDCARDS, 0).boxed()),
        key("MaxRemovePercent", number().boxed()),
        key("WhenReplicated", one_of(&["report", "act"]).boxed()),
        one_of(CLEANUP),
    )
        .prop_map(|(keep, untagged, days, protect, percent, replicated, enforcement)| {
            format!(
                "    Retention:\n{keep}{untagged}{days}{protect}{percent}{replicated}      \
                 Enforcement: {enforcement}\n"
            )
        })
}

/// A line of `Tags` or `Retention`.
fn value_of(key: &'static str, value: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    value.prop_map(move |value| format!("      {key}: {value}\n"))
}

fn rule() -> impl Strategy<Value = String> {
    let owner = scalar("[A-Za-zÀ-ÿ一-龥😀-🙏#:,'\\\\& -]{0,12}");
    let scan = one_of(&["CRITICAL", "HIGH", "LOW"]);
    (
        one_of(NAMES),
        list(REPOSITORIES, 1),
        maybe(owner.prop_map(|owner| format!("    Owner: {owner}\n"))),
        maybe(tags()),
        maybe(retention()),
        maybe(scan.prop_map(|scan| format!("    Scan: {{ Threshold: {scan} }}\n"))),
    )
        .prop_map(|(name, repositories, owner, tags, retention, scan)| {
            format!(
                "  - Name: {name}\n    Repositories: {repositories}\n{owner}{tags}{retention}{scan}"
            )
        })
}

/// The text of a policy, which can have mistakes.
fn policy() -> impl Strategy<Value = String> {
    let unmatched = one_of(&["ignore", "report"]);
    (
        maybe(unmatched.prop_map(|unmatched| format!("Unmatched: {unmatched}\n"))),
        maybe(list(REPOSITORIES, 0).prop_map(|replicas| format!("Replicas: {replicas}\n"))),
        prop::collection::vec(rule(), 0..3),
    )
        .prop_map(|(unmatched, replicas, rules)| {
            let rules =
                if rules.is_empty() { " []".to_owned() } else { format!("\n{}", rules.concat()) };
            format!("Version: \"1\"\n{unmatched}{replicas}Rules:{rules}\n")
        })
}

#[test]
fn a_policy_that_the_tool_accepts_has_one_version_wherever_it_is_read() {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(20_261_128),
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    };
    let (accepted, schema) = (Cell::new(0), schema());
    let check = |text: String| {
        match read(&text) {
            Ok(governance) => {
                accepted.set(accepted.get() + 1);
                check_versions(&governance, &sent(&text));
                // The schema for editors marks no part of a policy that the tool accepts.
                let value = Template::read_document(&text).unwrap();
                prop_assert_eq!(find_mistake(&schema, &value), None);
            }
            Err(problems) => {
                prop_assert!(problems.iter().all(|problem| problem.position.is_some()));
            }
        }
        Ok(())
    };
    TestRunner::new(config).run(&policy(), check).unwrap();
    let accepted = accepted.get();
    assert!((200..800).contains(&accepted), "{accepted} of 1000 policies were accepted");
}

#[test]
fn a_scalar_that_cloudformation_reads_as_another_type_is_refused_with_its_line_and_column() {
    let policy = r#"Version: 1
Unmatched: ignore
Rules:
  - Name: 007
    Repositories: [yes, 1.10, 2027-01-15, infrastructure]
    Owner: on
    Tags:
      Grammar: [1e3]
      Components: [off]
      Forbidden: [.5, null]
      Enforcement: report
      QuarantineDays: 010
    Retention: ~
"#;
    let file = file(policy);
    let problems = file.parse(None).unwrap_err();
    let lines: String =
        problems.iter().map(|problem| file.line("mistake", problem) + "\n").collect();
    expect![[r#"
        policy.yaml:1:10: mistake: Version: CloudFormation reads it as a number: write "1", with quotes
        policy.yaml:4:11: mistake: Rules[0].Name: CloudFormation reads it as a number: write "007", with quotes
        policy.yaml:5:20: mistake: Rules[0].Repositories[0]: CloudFormation reads it as a boolean: write "yes", with quotes
        policy.yaml:5:25: mistake: Rules[0].Repositories[1]: CloudFormation reads it as a number: write "1.10", with quotes
        policy.yaml:5:31: mistake: Rules[0].Repositories[2]: CloudFormation reads it as a date: write "2027-01-15", with quotes
        policy.yaml:6:12: mistake: Rules[0].Owner: CloudFormation reads it as a boolean: write "on", with quotes
        policy.yaml:8:17: mistake: Rules[0].Tags.Grammar[0]: CloudFormation reads it as a number: write "1e3", with quotes
        policy.yaml:9:20: mistake: Rules[0].Tags.Components[0]: CloudFormation reads it as a boolean: write "off", with quotes
        policy.yaml:10:19: mistake: Rules[0].Tags.Forbidden[0]: CloudFormation reads it as a number: write ".5", with quotes
        policy.yaml:10:23: mistake: Rules[0].Tags.Forbidden[1]: expected a single value, got nothing (null)
        policy.yaml:12:23: mistake: Rules[0].Tags.QuarantineDays: expected a whole number from 1 to 3650, got "010"
        policy.yaml:13:16: mistake: Rules[0].Retention: expected an object, got nothing (null)
    "#]].assert_eq(&lines);
}
