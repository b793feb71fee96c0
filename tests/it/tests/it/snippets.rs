//! Snippets of the documentation that `cargo e2e` does not execute, or of which a test needs less
//! than a deployed stack. Programs that are not installed are functions of the shell, which record
//! their arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use custom_resource::governance::desired;
use ecr_warden::policy_file::PolicyFile;
use expect_test::expect_file;
use local_aws::snippets::{snippet, workspace};
use local_aws::template::{Template, as_cloudformation_sends};
use local_aws::world::{POLICY, evaluate, governance};
use serde_json::{Value, json};
use warden_core::policy::RepositoryOrigin;
use warden_core::policy::{Policy, PolicyDocument};
use warden_core::tagging::{TagVerdict, judge};

/// The programs that the scripts call instead of the real programs.
const PROGRAMS: [&str; 9] =
    ["aws", "cargo", "docker", "git", "kubectl", "rm", "rustup", "sam", "sed"];

/// Runs a snippet in the folder of the workspace. Returns the words of each call of a program.
fn calls(name: &str) -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("snippets");
    fs::create_dir_all(&folder).unwrap();
    let record = folder.join(name.replace('/', "-"));
    let _ = fs::remove_file(&record);
    let functions: String = PROGRAMS
        .iter()
        .map(|name| format!("{name}() {{ printf '%s\\037' {name} \"$@\" >> \"$RECORD\"; echo >> \"$RECORD\"; }}\n"))
        .collect();
    // No program prints the line that `grep` expects.
    let script = format!(
        "{functions}grep() {{ cat; }}\noutput() {{ echo true; }}\n{}",
        snippet(name).unwrap()
    );
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).env("RECORD", &record).current_dir(workspace());
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let calls = fs::read_to_string(&record).unwrap();
    let words = |line: &str| line.split_terminator('\u{1f}').map(str::to_owned).collect();
    calls.lines().map(words).collect()
}

/// The words after an option, up to the next option.
fn after<'c>(call: &'c [String], option: &str) -> Vec<&'c str> {
    let after = call.iter().skip_while(|word| *word != option).skip(1);
    after.take_while(|word| !word.starts_with('-')).map(String::as_str).collect()
}

#[test]
fn every_script_is_valid_bash() {
    for folder in fs::read_dir(workspace().join("docs/snippets")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                let output = Command::new("bash").arg("-n").arg(&path).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

#[test]
fn a_documented_deployment_names_valid_parameters() {
    for (name, count) in [
        ("adopt/report.sh", 9),
        ("deploy/graviton.sh", 1),
        ("deploy/override.sh", 1),
        ("deploy/trial.sh", 4),
        ("many-accounts/stack-set.sh", 2),
        ("operate/upgrade.sh", 0),
        ("policy/deploy.sh", 1),
        ("readme/deploy.sh", 0),
        ("registry/deploy.sh", 3),
        ("registry/enforce.sh", 3),
        ("runbooks/repair-drift.sh", 1),
    ] {
        let calls = calls(name);
        let is_deployment = |call: &&Vec<String>| {
            call.iter().any(|word| word == "deploy" || word == "create-stack-set")
        };
        let deploy =
            calls.iter().find(is_deployment).unwrap_or_else(|| panic!("{name}: {calls:?}"));
        let overrides = after(deploy, "--parameter-overrides").into_iter();
        // The SAM CLI removes the double quotes.
        let overrides = overrides.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name, value.trim_matches('"'))
        });
        let of_set = after(deploy, "--parameters").into_iter().map(|pair| {
            let pair = pair.strip_prefix("ParameterKey=").unwrap();
            pair.split_once(",ParameterValue=").unwrap()
        });
        let parameters: Vec<(&str, &str)> = overrides.chain(of_set).collect();
        assert_eq!(parameters.len(), count, "{name}: {parameters:?}");
        evaluate(&parameters).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_documented_command_names_files_and_packages_of_the_workspace() {
    let root = workspace();
    let packages = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let aliases = fs::read_to_string(root.join(".cargo/config.toml")).unwrap();
    for name in [
        "check/install.sh",
        "deployer/deploy-policy.sh",
        "deployer/trial-policy.sh",
        "images/push.sh",
        "leave/delete.sh",
        "local-aws/lambda-invoke.sh",
        "local-aws/lambda-watch.sh",
        "local-aws/start.sh",
        "readme/check.sh",
        "readme/demo.sh",
        "registry/check.sh",
        "testing/fuzz.sh",
        "testing/mutants.sh",
    ] {
        for call in calls(name) {
            for word in &call {
                let is_path = ["crates/", "events", "infra/", "tests/"];
                if is_path.iter().any(|start| word.starts_with(start)) {
                    assert!(root.join(word).exists(), "{name}: {word} does not exist");
                }
            }
            let options = ["-p", "--package"].map(|option| after(&call, option));
            for package in options.iter().flatten().take(1) {
                assert!(packages.contains(&format!("/{package}\"")), "{name}: {package}");
            }
            if let [cargo, command, ..] = call.as_slice()
                && cargo == "cargo"
                && !["fuzz", "install", "lambda", "mutants", "run"].contains(&command.as_str())
            {
                assert!(aliases.contains(&format!("\n{command} = ")), "{name}: cargo {command}");
            }
        }
    }
    assert!(
        root.join(snippet("local-aws/lambda-invoke.sh").unwrap().rsplit_once(' ').unwrap().1)
            .exists()
    );
}

#[test]
fn a_documented_test_command_selects_tests() {
    let sources = ["tests/it/tests/it", "functions/custom-resource/tests/it"];
    let sources = sources.iter().flat_map(|folder| fs::read_dir(workspace().join(folder)).unwrap());
    let sources = sources.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let sources: String = sources.map(|path| fs::read_to_string(path).unwrap()).collect();
    for name in ["testing/properties.sh", "testing/tests.sh"] {
        let text = snippet(name).unwrap();
        let commands = text.lines().filter(|line| line.contains("--test it "));
        for command in commands {
            let (_, rest) = command.split_once("--test it ").unwrap();
            let filter = rest.split_whitespace().next().unwrap();
            let is_name = |line: &str| {
                line.contains(filter) && (line.contains("fn ") || line.contains("mod "))
            };
            assert!(sources.lines().any(is_name), "{name}: no test has {filter} in its name");
        }
    }
}

/// The policy of a repository with these `Tags`.
fn policy_with_tags(tags: &Value) -> Policy {
    let mut tags = tags.clone();
    tags["Enforcement"] = "report".into();
    let governance = governance(&[("platform.Tags", &tags.to_string())]);
    let name = "infrastructure".parse().unwrap();
    governance.rule_for(&name, RepositoryOrigin::Pushed).unwrap()
}

/// The grammar of a file.
fn documented_grammar(name: &str) -> Value {
    Template::read_document(&snippet(name).unwrap()).unwrap()["Grammar"].clone()
}

#[test]
fn a_mistake_in_a_grammar_has_the_documented_error() {
    let mistake = [("platform.Tags.Grammar", r#"["{component}-v{semvr}"]"#)];
    let properties = evaluate(&mistake).unwrap().properties("Governance").unwrap();
    let error = desired(&as_cloudformation_sends(properties)).unwrap_err();
    let path = workspace().join("docs/snippets").join("deploy/refused.txt");
    expect_file![path].assert_eq(&format!("{error}\n"));
}

/// Checks the component of each tag under a grammar. None for a tag that violates the policy.
fn assert_components(grammar: &Value, tags: &[(&str, Option<&str>)]) {
    let policy = policy_with_tags(&json!({"Grammar": grammar}));
    for (tag, expected) in tags {
        let component = match judge(&policy, tag) {
            TagVerdict::Conforming(conforming) => Some(conforming.component.to_string()),
            _ => None,
        };
        assert_eq!(component.as_deref(), *expected, "{tag}");
    }
}

#[test]
fn each_documented_scheme_of_tags_judges_its_examples() {
    let page = fs::read_to_string(workspace().join("docs/guides/write-a-grammar.md")).unwrap();
    let (_, table) = page.split_once("| --- | --- | --- | --- | --- |\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 15, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [_, templates, conforming, component, others] = cells[..] else { panic!("{row}") };
        let texts = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let component = texts(component).pop().unwrap_or_else(|| "infrastructure".to_owned());
        let accepted = texts(conforming);
        let refused = texts(others);
        assert!(!accepted.is_empty() && !refused.is_empty(), "{row}");
        let tags = accepted.iter().map(|tag| (tag.as_str(), Some(component.as_str())));
        let tags: Vec<_> = tags.chain(refused.iter().map(|tag| (tag.as_str(), None))).collect();
        assert_components(&json!(texts(templates)), &tags);
    }
}

#[test]
fn the_documented_regular_expression_judges_tags() {
    assert_components(
        &json!([snippet("grammar/revision.txt").unwrap()]),
        &[
            ("litellm_r12", Some("litellm")),
            ("open-webui_r3", Some("open-webui")),
            ("LiteLLM_r12", None),
            ("litellm-v1.80.5", None),
        ],
    );
}

#[test]
fn the_documented_grammar_reads_a_component_at_the_end_of_the_tag() {
    let grammar = documented_grammar("grammar/component-last.yaml");
    assert_components(
        &grammar,
        &[
            ("svc_1.2.3", Some("svc")),
            ("my-svc_1.2.3", Some("my-svc")),
            ("2026.11.27-abc1234-svc", Some("svc")),
            ("2026.11.27-abc1234-my-svc", Some("my-svc")),
            ("my_svc_1.2.3", None),
            ("2026.11.27-abc1234-my_svc", None),
        ],
    );
    let policy = policy_with_tags(&json!({"Grammar": grammar}));
    let suggestion = |tag: &str| match judge(&policy, tag) {
        TagVerdict::Violation(violation) => violation.suggestion.map(|tag| tag.to_string()),
        _ => None,
    };
    assert_eq!(suggestion("my_svc_1.2.3").as_deref(), Some("my-svc_1.2.3"));
    let other = suggestion("2026.11.27-abc1234-my_svc");
    assert_eq!(other.as_deref(), Some("2026.11.27-abc1234-my-svc"));
}

#[test]
fn the_documented_templates_read_a_component_with_a_hyphen_after_a_version() {
    for (tag, with_hyphen, with_underscore) in [
        ("1.2.3-svc", Some("svc"), None),
        ("1.2.3-my-svc", Some("my-svc"), None),
        ("1.2.3-rc.1-my-svc", Some("my-svc"), None),
        ("1.2.3-rc1-my-svc", Some("rc1-my-svc"), None),
        ("1.2.3-rc1_my-svc", None, Some("my-svc")),
    ] {
        assert_components(&json!(["{semver}-{component}"]), &[(tag, with_hyphen)]);
        assert_components(&json!(["{semver}_{component}"]), &[(tag, with_underscore)]);
    }
}

#[test]
fn the_documented_lists_of_components_and_forbidden_tags_are_a_policy() {
    let lines = snippet("policy/components.yaml").unwrap();
    let tags = Template::read_document(&lines).unwrap()["Tags"].clone();
    let policy = policy_with_tags(&tags);
    let is_conforming = |tag: &str| matches!(judge(&policy, tag), TagVerdict::Conforming(_));
    assert!(is_conforming("litellm-v1.80.5"));
    assert!(!is_conforming("litellm-v0.0.0") && !is_conforming("vllm-v1.0.0"));
}

#[test]
fn the_documented_rule_is_a_rule_of_a_policy() {
    let rule = Template::read_document(&snippet("policy/rule.yaml").unwrap()).unwrap();
    let governance = governance(&[(".Rules", &rule.to_string())]);
    let found = |name: &str| governance.find_rule(&name.parse().unwrap(), RepositoryOrigin::Pushed);
    assert!(found("team-a/web").is_some() && found("infrastructure").is_none());
}

#[test]
fn the_documented_entries_of_expire_are_a_rule_of_a_policy() {
    let rules = Template::read_document(&snippet("policy/expire.yaml").unwrap()).unwrap();
    let policy = json!({"Version": "1", "Rules": rules}).to_string();
    let rule = PolicyDocument::parse(&policy).unwrap().rules.into_iter().next().unwrap();
    let days = rule.retention.unwrap().expire.into_iter();
    let days: Vec<_> = days.map(|entry| (entry.after_days, entry.not_pulled_for_days)).collect();
    assert_eq!(days, [(Some(14), None), (Some(30), Some(30)), (None, Some(365))]);
}

#[test]
fn the_documented_first_policy_is_within_the_documented_ceiling() {
    let path = workspace().join("docs/snippets").join("policy/first.yaml");
    let file = PolicyFile::read(&path).unwrap();
    let calls = calls("policy/deploy.sh");
    let overrides = after(&calls[0], "--parameter-overrides");
    let ceiling = overrides[0].strip_prefix("EnforceRepositories=").unwrap().trim_matches('"');
    let ceiling: Vec<_> = ceiling.split(',').map(|pattern| pattern.parse().unwrap()).collect();
    let (governance, warnings) = file.parse(Some(&ceiling)).unwrap();
    assert_eq!(warnings, []);
    let enforcing = governance.document.rules.iter().filter(|rule| rule.enforces().is_some());
    let enforced = enforcing.flat_map(|rule| rule.repositories.iter().map(ToString::to_string));
    assert_eq!(enforced.collect::<Vec<_>>(), ["payments/ledger"]);
    // The default ceiling refuses the policy.
    let default = ["infrastructure", "deployments"].map(|name| name.parse().unwrap());
    assert!(file.parse(Some(&default)).is_err());
}

#[test]
fn the_documented_commands_set_every_enforcement_to_report() {
    for name in ["policy/report.sh", "adopt/report.sh"] {
        let script = snippet(name).unwrap();
        let start = script.find("sed -i").unwrap();
        let end = script.find("policy.yaml").unwrap() + "policy.yaml".len();
        let sed = script[start..end].replace("infra/sam/", "");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace('/', "-"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("policy.yaml"), POLICY).unwrap();
        let mut bash = Command::new("bash");
        let ended = bash.args(["-c", &sed]).current_dir(&folder).status().unwrap();
        assert!(ended.success());
        let file = PolicyFile::read(&folder.join("policy.yaml")).unwrap();
        let (governance, _) = file.parse(None).unwrap();
        assert!(governance.document.rules.iter().all(|rule| rule.enforces().is_none()), "{name}");
    }
}

#[test]
fn the_documented_manifests_of_kubernetes_run_one_image_by_its_digest() {
    let read = |name: &str| Template::read_document(&snippet(name).unwrap()).unwrap();
    let deployment = read("kubernetes/deployment.yaml");
    assert_eq!(
        (&deployment["apiVersion"], &deployment["kind"]),
        (&json!("apps/v1"), &json!("Deployment"))
    );
    let spec = &deployment["spec"];
    assert_eq!(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]);
    let image = &spec["template"]["spec"]["containers"][0]["image"];
    let values = &read("kubernetes/helm-values.yaml")["image"];
    let text = |key: &str| values[key].as_str().unwrap();
    assert_eq!(*image, json!(format!("{}:{}", text("repository"), text("tag"))));
    assert!(text("tag").ends_with("@sha256:DIGEST"), "{values}");
}

#[test]
fn the_documented_pipeline_of_gitlab_judges_tags_in_a_job_without_a_token() {
    let pipeline = snippet("gitlab/gitlab-ci.yaml").unwrap();
    let pipeline = Template::read_document(&pipeline).unwrap();
    let stages: BTreeSet<&str> = pipeline["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage.as_str().unwrap())
        .collect();
    let jobs = pipeline.as_object().unwrap().iter().filter(|(_, job)| job.get("script").is_some());
    let jobs: BTreeMap<&str, &Value> = jobs.map(|(name, job)| (name.as_str(), job)).collect();
    assert_eq!(stages, jobs.keys().copied().collect());
    for (name, job) in jobs {
        assert_eq!(job["stage"], name);
        let script = job["script"].to_string();
        assert_eq!(job.get("id_tokens").is_none(), name == "check", "{name}");
        assert_eq!(script.contains("ecr-warden check"), name == "check", "{name}");
        assert_eq!(script.contains("AWS_ROLE_ARN"), name != "check", "{name}");
    }
}

#[test]
fn the_documented_change_in_terraform_destroys_nothing() {
    let text = snippet("adopt/removed.tf").unwrap();
    let count = |c: char| text.matches(c).count();
    assert_eq!((count('{'), count('}')), (2, 2));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for line in ["removed {", "from = aws_ecr_repository.infrastructure", "destroy = false"] {
        assert!(lines.contains(&line), "{line}");
    }
}

#[test]
fn the_documented_query_of_calls_names_fields_of_cloudtrail() {
    let query = snippet("security/logs-insights.txt").unwrap();
    for field in [
        "eventSource",
        "eventName",
        "requestParameters.repositoryName",
        "userIdentity.arn",
        "errorCode",
    ] {
        assert!(query.contains(field), "{field}");
    }
}
