//! `cargo demo` as a process: its text, its JSON, its page, and the AWS that it keeps running.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ::local_aws::snippets::snippet;
use ::local_aws::{ACCOUNT, REGION};
use expect_test::expect;
use serde_json::{Value, json};

/// The folder for the files of one test.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo").join(name)
}

fn demo(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.env_remove("_HANDLER").args(arguments).arg("--output").arg(folder);
    command
}

/// The standard output of a demonstration that must have succeeded.
fn stdout(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The text with `DATE` for each date, so that a snapshot of it holds on any day.
fn without_dates(text: &str) -> String {
    let is_date = |word: &str| {
        let digits = word.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter });
        digits.eq("0000-00-00".chars())
    };
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', '.', '\n']);
        if is_date(bare) { word.replace(bare, "DATE") } else { word.to_owned() }
    };
    text.split_inclusive(' ')
        .map(|piece| match piece.strip_suffix(' ') {
            Some(before_space) => word(before_space) + " ",
            None => word(piece),
        })
        .collect()
}

/// The text with `…` for each run of twelve hexadecimal digits.
fn masked_digests(text: &str) -> String {
    let is_separator = |letter: char| !letter.is_ascii_alphanumeric();
    let is_digest =
        |word: &str| word.len() == 12 && word.chars().all(|letter| letter.is_ascii_hexdigit());
    let piece = |piece: &str| {
        let word = piece.trim_end_matches(is_separator);
        if is_digest(word) { piece.replace(word, "…           ") } else { piece.to_owned() }
    };
    text.split_inclusive(is_separator).map(piece).collect()
}

#[test]
fn the_text_has_one_line_for_each_step_and_one_alert() {
    let text = stdout(demo(&[], &folder("brief")).output().unwrap());
    assert!(text.lines().count() <= 150, "{} lines:\n{text}", text.lines().count());
    assert_eq!(text.matches("Subject: ").count(), 1, "{text}");
    // The alert and the places to look next are indented further than a step.
    let is_indented = |line: &&str| line.starts_with("      ") || line.trim().is_empty();
    let lines: Vec<&str> = text.lines().filter(|line| !is_indented(line)).collect();
    let steps: Vec<&str> = lines.iter().skip(1).copied().collect();
    assert!(steps.iter().all(|line| line.chars().count() <= 110), "{steps:#?}");
    expect![[r#"
        Deploy the stack
           1  CloudFormation created 58 resources from infra/sam/template.yaml, 6 of them Lambda functions.
           2  ECR has two new repositories: infrastructure with IMMUTABLE tags, deployments with MUTABLE tags.
           3  The stack has 13 outputs, among them the login command and the IAM policy for pipelines.
        Check the tag of each push
           4  infrastructure:litellm-v1.80.4 was pushed. The tag matches the grammar, so nothing was changed.
           5  infrastructure:litellm-1.80.5 was pushed. The v is missing, so the image was quarantined.
           e-mail to platform-team@example.com
           6  infrastructure:litellm-v0.0.0 was pushed. The policy forbids *-v0.0.0, so the image was quarantined.
           7  deployments:mcp_github_latest was pushed. The policy only reports bad tags there: no alert, no change.
           8  A cosign signature was pushed to infrastructure. No grammar applies to the tag of a signature.
           9  infrastructure:openwebui-v0.6.36 was pushed for two platforms. The ledger records its two images.
          10  scratch:test was pushed. No rule governs the repository scratch, so an alert was sent.
          11  An operator asked for the digest of this week: one alert lists the bad tag of deployments.
        Compare each scan with the version before
          12  The scan of infrastructure:litellm-v1.80.4 found 2 new findings at or above HIGH. An alert was sent.
          13  The scan of infrastructure:litellm-v1.80.6 found 1 new, 1 fixed, 1 accepted finding. An alert was sent.
          14  The scan of infrastructure:litellm-v1.80.7 found nothing. An alert closed the earlier findings.
          15  The scan of infrastructure:litellm-v1.80.8 failed, so its findings are unknown. An alert was sent.
          16  Both scans of infrastructure:openwebui-v0.6.36 found the same vulnerability. One alert was sent.
          17  Amazon Inspector found 1 new finding in infrastructure:openwebui-v0.6.37, which 3 tasks or pods run.
        Remove images that nobody needs
          18  A plan for deployments keeps 19 of 27 images and removes 8. Nothing was changed yet.
          19  A sweep keeps deployments:myapp-v1.0.0, because it was pulled on DATE, within the last 30 days.
          20  The sweeps of the round archived 8 images and deleted 1 untagged image. The alerts name each reason.
          21  The second round found nothing that is due, and swept no repository.
          22  deployments:myapp-v1.12.0 was pushed. The policy keeps 10 versions, so the oldest was archived.
          23  A sweep would have removed 35 images at once, more than MaxRemovePercent allows: it removed none.
          24  An operator confirmed the plan of 35 images by its hash. The next sweep archived them.
        Report settings that differ from the policy
          25  Somebody made the tags of infrastructure mutable. The next sweep reported that and changed nothing.
          26  An operator made the tags of infrastructure IMMUTABLE again.
        Change nothing in a replica
          27  us-west-2 replicated search-v1.0.0 into deployments. ECR Warden only reports there from now on.
        Where to look next"#]].assert_eq(&without_dates(&steps.join("\n")));
    assert!(text.contains("brief/index.html"), "{text}");
}

#[test]
fn the_verbose_text_shows_the_settings_the_calls_and_the_alerts() {
    let text = stdout(demo(&["--verbose"], &folder("verbose")).output().unwrap());
    for expected in [
        "Custom::EcrRepository      arn:aws:ecr:us-east-1:123456789012:repository/infrastructure",
        "tags            IMMUTABLE",
        "scanned on push yes",
        "encrypted with  KMS",
        "lifecycle 1: ",
        "ecr:GetAuthorizationToken",
        "AWS calls: none",
        "\"action\": \"quarantined\"",
        "ecr-warden restore --stack ecr-warden --region us-east-1 infrastructure@sha256:",
        "aws ecr get-login-password --region us-east-1 | docker login --username AWS",
        "CVE-2026-30911",
        "UnsupportedImageError",
        "MaxRemovePercent=25",
        "$ ecr-warden confirm deployments --plan ",
        "ECR says that the tags are IMMUTABLE again",
        "verbose/index.html",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
    let count = |heading: &str| text.lines().filter(|line| line.trim() == heading).count();
    let emails = text.matches("e-mail to platform-team@example.com").count();
    let json = count("the same alert as JSON, for queues and functions");
    assert_eq!((emails, json, count("Slack message")), (13, 2, 9), "{text}");
    assert_eq!(text.matches("\n   Outcome: ").count(), text.matches("\n== ").count(), "{text}");

    // The first plan for deployments: the decision about each image, with its reason.
    let (_, table) = text.split_once("------  ------").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    expect![[r#"
        --  -----------------------------------------------------
           sha256:…           …             delete    it has had no tag since DATE, for more than 3
                                                      days
           myapp-v1.0.4                     archive   number 13 of 17 of myapp (the newest 10 are kept)
           sha256:…           …             archive   it is part of sha256:…           …: number 13 of 17
                                                      of myapp (the newest 10 are kept)
           sha256:…           …             archive   it is part of sha256:…           …: number 13 of 17
                                                      of myapp (the newest 10 are kept)
           sha256-…           ….sig         archive   it belongs to sha256:…           …: number 13 of 17
                                                      of myapp (the newest 10 are kept)
           myapp-v1.0.5                     archive   number 12 of 17 of myapp (the newest 10 are kept)
           myapp-v1.0.6                     archive   number 11 of 17 of myapp (the newest 10 are kept)
           sha256-…           ….sig         archive   it refers to sha256:…           …, which does not
                                                      exist any more
           myapp-prod myapp-v1.0.2          keep      the channel myapp-prod points at it
           myapp-v1.0.3                     keep      it was restored on DATE, within the last 7 days
           myapp-v1.0.1-lts                 keep      the tag myapp-v1.0.1-lts matches the pattern *-lts of
                                                      ProtectTags
           myapp-v1.0.0                     keep      it was pulled on DATE, within the last 30 days
           sha256:…           … and 1 more  keep      it is part of sha256:…           …: number 2 of 17
                                                      of myapp (the newest 10 are kept)
           billing-v0.9.0                   keep      number 1 of 1 of billing (the newest 10 are kept)
           myapp-v1.10.0 and 8 more         keep      numbers 2 to 10 of 17 of myapp (the newest 10 are
                                                      kept)
           mcp_github_latest                keep      the channel mcp_github_latest points at it
           release_2025                     keep      the tag release_2025 matches neither the grammar nor
                                                      a lifecycle prefix
           myapp-v1.11.0                    keep      it was pushed on DATE, within the last 7 days"#]].assert_eq(&without_dates(&masked_digests(table)));
}

#[test]
fn the_page_and_the_json_contain_the_same_facts() {
    let folder = folder("page");
    let output = demo(&["--json"], &folder).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("index.html"));
    let story: Value = serde_json::from_str(&stdout(output)).unwrap();
    let page = std::fs::read_to_string(folder.join("index.html")).unwrap();

    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', "&quot;")
    };
    let assert_in_page = |value: &Value| {
        let text = escaped(value.as_str().unwrap());
        assert!(page.contains(&text), "{text} is not in the page");
    };
    let scenes = story["scenes"].as_array().unwrap();
    let parts = || scenes.iter().flat_map(|scene| scene["parts"].as_array().unwrap());
    for scene in scenes {
        assert_in_page(&scene["title"]);
        assert_in_page(&scene["outcome"]);
        assert!(scene["outcome"].as_str().unwrap().ends_with('.'), "{scene:#}");
    }
    let alerts: Vec<&Value> = parts().filter(|part| part["part"] == "alert").collect();
    for alert in &alerts {
        assert_in_page(&alert["json"]["title"]);
        for remedy in alert["json"]["remedies"].as_array().unwrap() {
            assert_in_page(&remedy["command"]);
        }
        assert_eq!(alert["email"]["to"], "platform-team@example.com", "{alert:#}");
        assert!(alert["slack"]["blocks"].is_array(), "{alert:#}");
        assert_eq!(alert["chat"]["source"], "custom", "{alert:#}");
    }
    let alert = |part: &&Value| {
        let [kind, repository, severity] = ["kind", "repository", "severity"]
            .map(|name| part["json"][name].as_str().unwrap_or("-"));
        let action = part["json"]["details"]["action"].as_str().unwrap_or_default();
        format!("{kind} {repository} {severity} {action}").trim_end().to_owned() + "\n"
    };
    expect![[r#"
        tag-violation infrastructure HIGH quarantined
        tag-violation infrastructure HIGH quarantined
        repository-violation scratch MEDIUM
        report - INFORMATIONAL
        scan-findings infrastructure HIGH
        scan-findings infrastructure CRITICAL
        scan-resolved infrastructure INFORMATIONAL
        scan-failed infrastructure MEDIUM
        scan-findings infrastructure CRITICAL
        scan-findings infrastructure HIGH
        cleanup deployments INFORMATIONAL
        cleanup infrastructure INFORMATIONAL
        self-audit deployments LOW
        cleanup deployments INFORMATIONAL
        cleanup deployments MEDIUM
        cleanup deployments INFORMATIONAL
        self-audit infrastructure LOW
    "#]]
    .assert_eq(&alerts.iter().map(alert).collect::<String>());

    // The page states the differences from the default policy.
    for setting in ["*-v0.0.0", "Forbidden", "*-lts", "ProtectTags"] {
        assert!(page.contains(&format!("<code>{setting}</code>")), "{setting}");
    }

    let mut components = Vec::new();
    for repository in story["repositories"].as_array().unwrap() {
        assert_in_page(&repository["name"]);
        for component in repository["components"].as_array().unwrap() {
            if component["name"].is_string() {
                assert_in_page(&component["name"]);
                components.push(component["name"].as_str().unwrap());
            }
            for image in component["images"].as_array().unwrap() {
                assert_ne!(image["reason"], "", "{image:#}");
                assert_in_page(&image["digest"].as_str().unwrap()[..19].into());
            }
        }
    }
    assert_eq!(
        components,
        ["litellm", "openwebui", "billing", "mcp-github", "myapp", "reporting", "search"]
    );
    let images = |status: &str| {
        let all = story["repositories"].as_array().unwrap().iter();
        let all = all.flat_map(|repository| repository["components"].as_array().unwrap());
        let all = all.flat_map(|component| component["images"].as_array().unwrap());
        all.filter(|image| image["status"] == status).count()
    };
    assert_eq!(["quarantined", "reported", "archived"].map(images), [3, 2, 44]);
    // The sweep also deleted one untagged image.
    let removed = images("archived") + 1;
    assert!(page.contains(&format!("<dt>images archived or deleted</dt><dd>{removed}</dd>")));
}

#[test]
fn the_page_loads_nothing_else_and_is_accessible() {
    let folder = folder("alone");
    stdout(demo(&[], &folder).output().unwrap());
    let page = std::fs::read_to_string(folder.join("index.html")).unwrap();
    for forbidden in ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", " style=\""]
    {
        assert!(!page.contains(forbidden), "{forbidden} is in the page");
    }
    for required in
        ["<html lang=\"en\">", "<main", "<header", "<footer", "<nav", "prefers-color-scheme"]
    {
        assert!(page.contains(required), "{required} is not in the page");
    }
    let heads = page.matches("<th").count() - page.matches("<thead").count();
    let scopes = page.matches("scope=\"col\"").count() + page.matches("scope=\"row\"").count();
    assert_eq!(heads, scopes);
    // The headings skip no level.
    let levels: Vec<u32> = page
        .match_indices("<h")
        .filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10))
        .collect();
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
}

#[test]
fn an_unknown_option_is_reported_in_one_line_with_the_nearest_option() {
    let shown = demo(&["--jsn"], &folder("mistake")).output().unwrap();
    let error = String::from_utf8(shown.stderr).unwrap();
    assert_eq!((shown.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.starts_with("cargo demo: unexpected argument '--jsn' found"), "{error}");
    assert!(error.contains("'--json'"), "{error}");
    assert!(shown.stdout.is_empty());
}

#[test]
fn a_port_in_use_is_reported_in_one_line() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let shown = demo(&["--port", &port], &folder("taken")).output().unwrap();
    let error = String::from_utf8(shown.stderr).unwrap();
    assert_eq!((shown.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.starts_with(&format!("cargo demo: --port: port {port} is in use")), "{error}");
}

/// A demonstration that keeps running until this value is dropped.
struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// The printed lines before the lines of `export`.
    printed: Vec<String>,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut command = demo(&["--keep-running"], folder);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let prefix = "export AWS_ENDPOINT_URL=http://";
        let mut printed = Vec::new();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let address = line.strip_prefix(prefix).map(str::to_owned);
            printed.push(line);
            address
        });
        Self { process, lines, printed, address: address.unwrap() }
    }

    /// Calls a service and returns the status and the body of the answer.
    fn call(&self, service: &str, headers: &str, body: &str) -> (u16, String) {
        let scope = format!("Credential={ACCOUNT}/20270115/{REGION}/{service}/aws4_request");
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\
             authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\n{headers}\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    fn stack(&self, name: &str) -> (u16, String) {
        let form = format!("Action=DescribeStacks&StackName={name}&Version=2010-05-15");
        self.call("cloudformation", "content-type: application/x-www-form-urlencoded\r\n", &form)
    }

    fn ecr(&self, operation: &str, input: &Value) -> Value {
        let headers = format!(
            "content-type: application/x-amz-json-1.1\r\n\
             x-amz-target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n"
        );
        let (status, body) = self.call("ecr", &headers, &input.to_string());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn the_demonstration_that_keeps_running_answers_calls_and_prints_alerts() {
    let folder = folder("up");
    let mut running = Running::start(&folder);

    let (status, stack) = running.stack("ecr-warden");
    assert_eq!(status, 200, "{stack}");
    assert!(stack.contains("<OutputKey>PolicyVersion</OutputKey>"), "{stack}");
    let (status, none) = running.stack("other");
    assert_eq!(status, 400, "{none}");
    assert!(none.contains("Stack with id other does not exist"), "{none}");

    // The image also has a good tag, so the bad tag is removed and an alert is sent.
    let image = json!([{"imageTag": "litellm-v1.80.6"}]);
    let got = running
        .ecr("BatchGetImage", &json!({"repositoryName": "infrastructure", "imageIds": image}));
    let put = json!({
        "repositoryName": "infrastructure",
        "imageManifest": got["images"][0]["imageManifest"],
        "imageTag": "litellm-1.80.99",
    });
    running.ecr("PutImage", &put);
    let subject = running.lines.find(|line| line.as_ref().unwrap().contains("Subject: "));
    let subject = subject.unwrap().unwrap();
    assert!(subject.contains("litellm-1.80.99"), "{subject}");

    // A function that a developer starts finds the same values in its environment.
    let json = std::fs::read_to_string(folder.join("env.json")).unwrap();
    let all: Value = serde_json::from_str(&json).unwrap();
    let lines = std::fs::read_to_string(folder.join("functions.env")).unwrap();
    for id in [
        "CustomResourceFunction",
        "ImagePushFunction",
        "ImageSweepFunction",
        "ScanCompleteFunction",
        "SweepDispatchFunction",
        "SlackNotifierFunction",
    ] {
        assert_eq!(all[id]["AWS_ENDPOINT_URL"], format!("http://{}", running.address), "{all:#}");
        for (name, value) in all[id].as_object().unwrap() {
            let expected = format!("{name}='{}'", value.as_str().unwrap());
            assert!(lines.lines().any(|line| line == expected), "{expected} is not in:\n{lines}");
        }
    }
    assert_eq!(all["ImagePushFunction"]["POLICY_VERSION"].as_str().unwrap().len(), 16);
}

/// The programs of the documented commands: the tool of this build, and a client of Lambda in place
/// of the AWS CLI, which may not be installed.
const PROGRAMS: &str = r#"
cargo() { test "$1" = ecr-warden && shift && "$TOOL" "$@"; }
aws() {
  test "$1 $2 $3 $5" = "lambda invoke --function-name --payload" || return
  local body; body=$(cat "${6#fileb://}")
  exec 3<>"/dev/tcp/127.0.0.1/${AWS_ENDPOINT_URL##*:}"
  printf 'POST /2015-03-31/functions/%s/invocations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n' "$4" >&3
  printf 'authorization: AWS4-HMAC-SHA256 Credential=%s/20270115/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0\r\n' "$AWS_ACCESS_KEY_ID" >&3
  printf 'content-length: %s\r\n\r\n%s' "${#body}" "$body" >&3
  cat <&3 > "$7"
}
"#;

impl Running {
    /// Runs a script with the printed environment, in this folder. Returns what the script printed.
    fn shell(&self, folder: &Path, script: &str) -> String {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &format!("{PROGRAMS}{script}")]);
        bash.current_dir(folder).env("TOOL", env!("CARGO_BIN_EXE_tool")).env_remove("_HANDLER");
        bash.env("AWS_ENDPOINT_URL", format!("http://{}", self.address));
        bash.env("AWS_ACCESS_KEY_ID", ACCOUNT).env("AWS_SECRET_ACCESS_KEY", "any");
        let output = bash.env("AWS_DEFAULT_REGION", REGION).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{text}\n{error}");
        text
    }

    /// The printed lines that begin with this text, without their indentation.
    fn printed(&self, start: &str) -> Vec<&str> {
        let lines = self.printed.iter().map(|line| line.trim());
        lines.filter(|line| line.starts_with(start)).collect()
    }
}

#[test]
fn the_documented_walk_from_a_plan_to_a_restore_runs_in_the_demonstration_that_keeps_running() {
    let folder = folder("walk");
    let running = Running::start(&folder);
    // The demonstration prints the documented commands, with the hash of its plan.
    let [confirm] = running.printed("cargo ecr-warden confirm ")[..] else { panic!("no hash") };
    let (_, hash) = confirm.split_once("--plan ").unwrap();
    let walk = snippet("local-aws/walk.sh").unwrap().replace("HASH", hash);
    let mut printed = running.printed.iter().map(|line| line.trim());
    for line in walk.lines() {
        assert!(printed.any(|other| other == line.trim()), "{line} is not printed in this order");
    }
    let text = running.shell(&folder, &walk);
    let answer = std::fs::read_to_string(folder.join("answer.json")).unwrap();
    assert!(answer.contains("\"removed\":45"), "{answer}");
    let mut rest = text.as_str();
    for expected in [
        "infrastructure: 45 of ",
        "images would be archived",
        "Nothing is removed now: ",
        &format!("--plan {hash}\n"),
        "The next sweep archives infrastructure@sha256:",
        "infrastructure: the plan is confirmed. Sweeps may remove these 45 images",
        "Status:    ARCHIVED",
        "infrastructure:gateway-v1.0.0 is being restored.",
        ": it was restored on ",
        "Status:    ACTIVE",
        "ECR Warden removed the tag litellm-1.80.5 from this image.",
    ] {
        let found = rest.split_once(expected);
        let (_, after) =
            found.unwrap_or_else(|| panic!("{expected:?} is not in\n{rest}\nof\n{text}"));
        rest = after;
    }
    // The command of the first alert works too.
    let [undo] = running.printed("cargo ecr-warden restore --stack ")[..] else {
        panic!("no command of an alert is printed")
    };
    let text = running.shell(&folder, undo);
    assert!(text.trim_end().ends_with("has the tag litellm-v1.80.5 now."), "{text}");
}
