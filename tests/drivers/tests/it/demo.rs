//! `cargo demo` as a process: its text, its JSON, its page, and what it leaves up.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ::local_aws::{ACCOUNT, REGION};
use serde_json::{Value, json};

/// A folder for what a test has written.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo").join(name)
}

fn demo(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.env_remove("_HANDLER").args(arguments).arg("--output").arg(folder);
    command
}

/// What it printed, if it ended well.
fn stdout(output: Output) -> String {
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn the_demonstration_shows_what_stands_and_ends_well() {
    let text = stdout(demo(&[], &folder("text")).output().unwrap());
    for expected in [
        "Custom::EcrRepository      arn:aws:ecr:us-east-1:123456789012:repository/infrastructure",
        "create the repository with IMMUTABLE tags, scanned on push, encrypted with KMS; put the lifecycle policy",
        "tags            IMMUTABLE",
        "scanned on push yes",
        "encrypted with  KMS",
        "lifecycle 1: Archive untagged images 120 days after their last pull",
        "ecr:GetAuthorizationToken",
        "infrastructure:litellm-1.80.5 is not made of {component}-v{semver}: tag the image",
        "calls of AWS: none",
        "Subject: infrastructure:litellm-1.80.5 was quarantined",
        "Restore it as litellm-v1.80.5:",
        "\"action\": \"quarantined\"",
        "Subject: An image was pushed to scratch, a name that is not expected",
        "aws ecr get-login-password --region us-east-1 | docker login --username AWS",
        "Subject: 2 findings in infrastructure:litellm-v1.80.5: 2 HIGH",
        "Subject: 1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL",
        "- HIGH CVE-2026-30911: until 2099-12-31 (not reachable; platform)",
        "CRITICAL: 1 new finding in infrastructure:litellm-v1.80.6: 1 CRITICAL",
        "Subject: infrastructure:litellm-v1.80.7 has no open findings any more",
        "ECR says FAILED (UnsupportedImageError",
        "The image is in use by 3 tasks or pods.",
        "myapp-v1.0.4                    archive   number 13 of 17 of myapp, which keeps 10",
        "myapp-prod myapp-v1.0.2         keep      the channel myapp-prod points at it",
        "myapp-v1.0.1-lts                keep      the tag myapp-v1.0.1-lts is protected by *-lts",
        "billing-v0.9.0                  keep      number 1 of 1 of billing, which keeps 10",
        "keep: it was pulled on ",
        "in the archive of deployments now: 7, as planned",
        "Subject: 8 images of deployments were removed",
        "INFORMATIONAL: 8 images of deployments were removed",
        ", and its 14 days are over",
        ": untag: the image conforms by now, and is not in quarantine any more",
        "told: 1 image of deployments went to the archive",
        "Nothing was removed: 35 of 64 images would go, and MaxRemovePercent=25 allows fewer.",
        "told: 35 images of deployments went to the archive",
        "- the tags are MUTABLE, and the policy says IMMUTABLE",
        "in ECR they are IMMUTABLE again",
        "text/index.html",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
}

#[test]
fn the_page_and_the_json_have_the_same_facts() {
    let folder = folder("page");
    let output = demo(&["--json"], &folder).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("index.html"));
    let story: Value = serde_json::from_str(&stdout(output)).unwrap();
    let page = std::fs::read_to_string(folder.join("index.html")).unwrap();

    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', "&quot;")
    };
    let has = |what: &Value| {
        let text = escaped(what.as_str().unwrap());
        assert!(page.contains(&text), "{text} is not in the page");
    };
    let scenes = story["scenes"].as_array().unwrap();
    let parts = || scenes.iter().flat_map(|scene| scene["parts"].as_array().unwrap());
    for scene in scenes {
        has(&scene["title"]);
    }
    let alerts: Vec<&Value> = parts().filter(|part| part["part"] == "alert").collect();
    for alert in &alerts {
        has(&alert["json"]["title"]);
        for remedy in alert["json"]["remedies"].as_array().unwrap() {
            has(&remedy["command"]);
        }
        assert_eq!(alert["email"]["to"], "platform-team@example.com", "{alert:#}");
        assert!(alert["slack"]["blocks"].is_array(), "{alert:#}");
        assert_eq!(alert["chat"]["source"], "custom", "{alert:#}");
    }
    let kinds = |kind: &str| alerts.iter().filter(|it| it["json"]["kind"] == kind).count();
    let told = ["tag-violation", "scan-findings", "cleanup", "self-audit"].map(kinds);
    assert_eq!((told, alerts.len()), ([3, 4, 5, 2], 17));

    let mut components = Vec::new();
    for repository in story["repositories"].as_array().unwrap() {
        has(&repository["name"]);
        for component in repository["components"].as_array().unwrap() {
            if component["name"].is_string() {
                has(&component["name"]);
                components.push(component["name"].as_str().unwrap());
            }
            for image in component["images"].as_array().unwrap() {
                assert_ne!(image["reason"], "", "{image:#}");
                has(&image["digest"].as_str().unwrap()[..19].into());
            }
        }
    }
    assert_eq!(
        components,
        ["litellm", "openwebui", "billing", "mcp-github", "myapp", "nightly", "search"]
    );
    let images = |status: &str| {
        let all = story["repositories"].as_array().unwrap().iter();
        let all = all.flat_map(|it| it["components"].as_array().unwrap());
        let all = all.flat_map(|it| it["images"].as_array().unwrap());
        all.filter(|image| image["status"] == status).count()
    };
    assert_eq!(["quarantined", "told", "archived"].map(images), [3, 2, 44]);
    // The sweep deleted an untagged image.
    let removed = images("archived") + 1;
    assert!(page.contains(&format!("<dt>images archived or deleted</dt><dd>{removed}</dd>")));
}

#[test]
fn the_page_asks_for_nothing_else_and_can_be_read_by_all() {
    let folder = folder("alone");
    stdout(demo(&[], &folder).output().unwrap());
    let page = std::fs::read_to_string(folder.join("index.html")).unwrap();
    for loads in ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", " style=\""] {
        assert!(!page.contains(loads), "{loads} is in the page");
    }
    for has in ["<html lang=\"en\">", "<main", "<header", "<footer", "<nav", "prefers-color-scheme"]
    {
        assert!(page.contains(has), "{has} is not in the page");
    }
    let heads = page.matches("<th").count() - page.matches("<thead").count();
    let scopes = page.matches("scope=\"col\"").count() + page.matches("scope=\"row\"").count();
    assert_eq!(heads, scopes);
    // No level of headings is skipped.
    let levels: Vec<u32> = page
        .match_indices("<h")
        .filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10))
        .collect();
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
}

#[test]
fn a_mistake_is_one_line_with_the_nearest_option() {
    let shown = demo(&["--jsn"], &folder("mistake")).output().unwrap();
    let told = String::from_utf8(shown.stderr).unwrap();
    assert_eq!((shown.status.code(), told.lines().count()), (Some(2), 1), "{told}");
    assert!(told.starts_with("cargo demo: unexpected argument '--jsn' found"), "{told}");
    assert!(told.contains("'--json'"), "{told}");
    assert!(shown.stdout.is_empty());
}

#[test]
fn a_port_that_is_taken_is_said_in_one_line() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let shown = demo(&["--port", &port], &folder("taken")).output().unwrap();
    let told = String::from_utf8(shown.stderr).unwrap();
    assert_eq!((shown.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.starts_with(&format!("cargo demo: --port: port {port} is in use")), "{told}");
}

/// A demonstration that is left up, until this is dropped.
struct Up {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Up {
    fn start(folder: &Path) -> Self {
        let mut command = demo(&["--keep-running"], folder);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let prefix = "export AWS_ENDPOINT_URL=http://";
        let address = lines.find_map(|line| Some(line.unwrap().strip_prefix(prefix)?.to_owned()));
        Self { process, lines, address: address.unwrap() }
    }

    /// What a call of a service is answered with: the status and the body.
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
fn what_is_left_up_answers_and_tells_what_people_are_told() {
    let folder = folder("up");
    let mut up = Up::start(&folder);

    let (status, stack) = up.stack("ecr-warden");
    assert_eq!(status, 200, "{stack}");
    assert!(stack.contains("<OutputKey>Governance</OutputKey><OutputValue>[{&quot;"), "{stack}");
    let (status, none) = up.stack("other");
    assert_eq!(status, 400, "{none}");
    assert!(none.contains("Stack with id other does not exist"), "{none}");

    // The image has a good tag too, so that it loses the bad one, and that is told.
    let image = json!([{"imageTag": "litellm-v1.80.6"}]);
    let got =
        up.ecr("BatchGetImage", &json!({"repositoryName": "infrastructure", "imageIds": image}));
    let put = json!({
        "repositoryName": "infrastructure",
        "imageManifest": got["images"][0]["imageManifest"],
        "imageTag": "litellm-1.80.99",
    });
    up.ecr("PutImage", &put);
    let told = up.lines.find(|line| line.as_ref().unwrap().contains("Subject: "));
    let told = told.unwrap().unwrap();
    assert!(told.contains("infrastructure:litellm-1.80.99"), "{told}");

    // Functions that are run by hand find the same in their environment.
    let json = std::fs::read_to_string(folder.join("env.json")).unwrap();
    let all: Value = serde_json::from_str(&json).unwrap();
    let lines = std::fs::read_to_string(folder.join("functions.env")).unwrap();
    for id in [
        "CustomResourceFunction",
        "ImagePushFunction",
        "ImageSweepFunction",
        "ScanCompleteFunction",
        "SlackNotifierFunction",
    ] {
        assert_eq!(all[id]["AWS_ENDPOINT_URL"], format!("http://{}", up.address), "{all:#}");
        for (name, value) in all[id].as_object().unwrap() {
            let expected = format!("{name}='{}'", value.as_str().unwrap());
            assert!(lines.lines().any(|line| line == expected), "{expected} is not in:\n{lines}");
        }
    }
    assert!(all["ImagePushFunction"]["GOVERNANCE"].as_str().unwrap().starts_with("[{"));
}
