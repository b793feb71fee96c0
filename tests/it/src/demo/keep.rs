//! The AWS in memory stays up, with the functions and their rules: for the AWS CLI, for Docker,
//! and for functions that are run by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::{Value, json};

use super::deployment::STACK;
use super::inbox::alerts;
use super::story::Shown;
use super::text;

/// How often is looked whether somebody was told something.
const LOOK: Duration = Duration::from_millis(200);

/// Writes the environment of each function, for `sam local invoke --env-vars` and for
/// `cargo lambda watch --env-file`.
pub fn write_environments(aws: &LocalAws, folder: &Path) -> anyhow::Result<()> {
    let mut all = BTreeMap::new();
    for name in aws.lambda().functions() {
        let Some(function) = aws.lambda().function(&name) else { continue };
        let mut environment = function.environment;
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", ACCOUNT),
            ("AWS_SECRET_ACCESS_KEY", "any"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let lines = environment.iter().map(|(name, value)| format!("{name}={value}\n"));
        let path = folder.join(format!("{}.env", function.handler));
        write(&path, &lines.collect::<String>())?;
        let id = name.trim_start_matches(STACK).trim_start_matches('-').to_owned();
        all.insert(id, environment);
    }
    write(&folder.join("env.json"), &format!("{:#}\n", json!(all)))
}

/// Writes a file in one piece, so that whoever reads it never finds half of it.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let begun = path.with_extension(format!("{}.part", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&begun, text))
        .and_then(|()| std::fs::rename(&begun, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// What can be done with it, and where it is.
pub fn invitation(endpoint: &str, folder: &str) -> String {
    let registry = endpoint.trim_start_matches("http://");
    let mut text = format!(
        "\n== It stays up until it is interrupted\n   \
         The functions run on what is pushed, and what they tell comes here. In another shell,\n   \
         after the three lines at the end:\n\n"
    );
    for (why, commands) in [
        (
            "what stands",
            vec![
                "aws ecr describe-images --repository-name infrastructure".to_owned(),
                format!("aws cloudformation describe-stacks --stack-name {STACK}"),
            ],
        ),
        (
            "a tag without its v, of an image that you have: it is quarantined, and told",
            vec![
                format!("docker login --username AWS --password-stdin {registry} < <(aws ecr get-login-password)"),
                format!("docker tag IMAGE {registry}/infrastructure:litellm-1.80.9"),
                format!("docker push {registry}/infrastructure:litellm-1.80.9"),
                "aws ecr list-images --repository-name infrastructure".to_owned(),
            ],
        ),
        (
            "the same with skopeo",
            vec![
                format!("aws ecr get-login-password | skopeo login --tls-verify=false --username AWS --password-stdin {registry}"),
                format!("skopeo copy --dest-tls-verify=false docker-daemon:IMAGE docker://{registry}/infrastructure:litellm-1.80.9"),
            ],
        ),
        (
            "why an image stays",
            vec![
                "printf '{\"repository\": \"deployments\", \"image\": \"myapp-v1.0.0\"}' > sweep.json".to_owned(),
                format!("aws lambda invoke --function-name {STACK}-ImageSweepFunction --payload fileb://sweep.json answer.json && cat answer.json"),
            ],
        ),
        (
            "a function of your own building, in the place of the deployed one",
            vec![
                format!("cargo lambda watch --package image-push --env-file {folder}/image-push.env"),
                "cargo lambda invoke image-push --data-file events/image-push/near-miss.json".to_owned(),
            ],
        ),
    ] {
        let commands: String = commands.iter().map(|command| format!("      {command}\n")).collect();
        let _ = write!(text, "   {why}\n{commands}");
    }
    let _ = write!(
        text,
        "\nexport AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=any\n\
         export AWS_DEFAULT_REGION={REGION}\n"
    );
    text
}

/// Tells what people are told, as they read it, until the process ends.
pub async fn up(aws: &LocalAws, say: impl Fn(&str)) -> anyhow::Result<Infallible> {
    // What was told until now was shown.
    let mut told = aws.state().deliveries.len();
    loop {
        tokio::time::sleep(LOOK).await;
        let new = {
            let state = aws.state();
            let new = state.deliveries.get(told..).unwrap_or_default().to_vec();
            told = state.deliveries.len();
            new
        };
        // Whoever needs one of these looks at a queue, or reads the mail.
        let in_slack: Vec<Value> = aws.slack().take_messages();
        for alert in alerts(&new, &in_slack, Shown::Email)? {
            say(&text::alert(&alert));
        }
    }
}
