//! Keeps the embedded AWS, the functions and their rules running: for the AWS CLI, for Docker, and
//! for functions that a developer starts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use local_aws::world::record_tags;
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::json;

use super::deployment::STACK;
use super::inbox::collect_alerts;
use super::story::Shown;
use super::sweeps::fill;
use super::{text, word};

/// The time that a restore from the archive takes.
const RESTORE_TIME: Duration = Duration::from_secs(5);

/// The interval at which new alerts are collected.
const INTERVAL: Duration = Duration::from_millis(200);

/// Writes the environments of the functions: one file for all functions together, which
/// `cargo lambda watch --env-file` reads, and one with an environment for each function, which
/// `sam local invoke --env-vars` reads.
pub fn write_environments(aws: &LocalAws, folder: &Path) -> anyhow::Result<()> {
    let mut shared: BTreeMap<String, String> = BTreeMap::new();
    let mut each = BTreeMap::new();
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
        for (name, value) in &environment {
            let other = shared.insert(name.clone(), value.clone());
            ensure!(
                other.is_none_or(|other| other == *value),
                "two functions have different values of {name}, so they cannot share an environment"
            );
        }
        let id = name.trim_start_matches(STACK).trim_start_matches('-').to_owned();
        each.insert(id, environment);
    }
    let lines: anyhow::Result<String> = shared.iter().map(env_line).collect();
    write_file(&folder.join("functions.env"), &lines?)?;
    write_file(&folder.join("env.json"), &format!("{:#}\n", json!(each)))
}

/// A line of the file, as cargo-lambda reads it. A value in quotes has no escapes, so it cannot
/// contain a quote of the same kind.
/// <https://docs.rs/env-file-reader/0.3.0/env_file_reader/>
fn env_line((name, value): (&String, &String)) -> anyhow::Result<String> {
    let quote = ['\'', '`'].into_iter().find(|quote| !value.contains(*quote));
    let quote = quote.with_context(|| format!("{name} contains every kind of quotes: {value}"))?;
    Ok(format!("{name}={quote}{value}{quote}\n"))
}

/// Writes a file atomically, so that a reader never finds a part of it.
pub fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&temporary, text))
        .and_then(|()| std::fs::rename(&temporary, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// Pushes old versions, so that the next sweep of `infrastructure` would remove more images than
/// `MaxRemovePercent` allows. Returns the hash of that plan, which waits for a confirmation. A restore
/// takes seconds from now on.
pub async fn leave_waiting_plan(aws: &LocalAws) -> anyhow::Result<String> {
    fill::gateway(aws)?;
    record_tags(aws, "infrastructure").await;
    aws.state().ecr().restore_time = Some(RESTORE_TIME.as_secs_f64());
    let request = json!({"repository": "infrastructure", "mode": "report"});
    let plan = aws.lambda().invoke("ecr-warden-ImageSweepFunction", request).await?.payload;
    ensure!(plan["confirmable"] == true, "no plan waits for a confirmation: {plan:#}");
    Ok(word(&plan["hash"]).to_owned())
}

/// The commands that a reader can try, and the environment variables that they need. `hash` identifies
/// the waiting plan, and `undo` is the command of the first alert.
pub fn commands(endpoint: &str, folder: &str, hash: &str, undo: &str) -> String {
    let registry = endpoint.trim_start_matches("http://");
    let walk = WALK.replace("HASH", hash);
    let walk: String = walk.lines().map(|line| format!("      {line}\n")).collect();
    let text = COMMANDS
        .replace("REGISTRY", registry)
        .replace("FOLDER", folder)
        .replace("      WALK\n", &walk)
        .replace("UNDO", undo);
    format!(
        "{text}\n\
         export AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=any\n\
         export AWS_DEFAULT_REGION={REGION}\n"
    )
}

/// The commands from a plan to a restore, which `docs/contributing/local-aws.md` shows.
const WALK: &str = include_str!("../../../../docs/snippets/local-aws/walk.sh");

const COMMANDS: &str = "
The embedded AWS stays up until you press Ctrl-C
   A push starts the functions, and this terminal shows their alerts. In another shell, run the
   three export lines below, and then any of these commands:

   a plan of infrastructure waits for a confirmation. Read it, explain one image, confirm the plan,
   start the sweep, and restore an image. ECR restores an image in about twenty minutes, this AWS in
   five seconds
      WALK

   undo the quarantine of the first alert
      cargo UNDO

   list the images, and read the stack's outputs
      aws ecr describe-images --repository-name infrastructure
      aws cloudformation describe-stacks --stack-name ecr-warden

   push an image of yours by a tag without the v: the image is quarantined, and an alert is sent
      aws ecr get-login-password | docker login --username AWS --password-stdin REGISTRY
      docker tag IMAGE REGISTRY/infrastructure:litellm-1.80.9
      docker push REGISTRY/infrastructure:litellm-1.80.9

   do the same without Docker, from a folder with an OCI layout
      aws ecr get-login-password | skopeo login --tls-verify=false --username AWS --password-stdin REGISTRY
      skopeo copy --dest-tls-verify=false oci:app docker://REGISTRY/infrastructure:litellm-1.80.9

   without Docker and skopeo, add such a tag to an image that is there
      cargo ecr-warden restore infrastructure:litellm-v1.80.4 --tag litellm-1.80.9

   invoke a function with a request or an event from events/
      aws lambda invoke --function-name ecr-warden-ImageSweepFunction \\
        --payload fileb://events/image-sweep/explain.json answer.json && cat answer.json

   send a request of CloudFormation: this terminal shows the response
      sed \"s#https://[^/]*#$AWS_ENDPOINT_URL#\" events/custom-resource/create-misspelt.json > event.json
      aws lambda invoke --function-name ecr-warden-CustomResourceFunction \\
        --payload fileb://event.json answer.json

   run a function that you have changed, in the environment of the deployed one
      cargo lambda watch --env-file FOLDER/functions.env
      cargo lambda invoke image-push --data-file events/image-push/reported.json
";

/// Prints each new alert as people receive it, until the process ends.
pub async fn print_alerts(aws: &LocalAws, print: impl Fn(&str)) -> anyhow::Result<Infallible> {
    // The steps have already shown the alerts until now.
    let mut printed = aws.state().deliveries.len();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (new, answers) = {
            let mut state = aws.state();
            let new = state.deliveries.get(printed..).unwrap_or_default().to_vec();
            printed = state.deliveries.len();
            (new, std::mem::take(&mut state.answers))
        };
        for alert in collect_alerts(&new, &[], Shown::Email)? {
            print(&text::alert(&alert));
        }
        // slack-notifier sends these messages a moment later.
        for message in aws.slack().take_messages() {
            print(&text::slack_message(&message));
        }
        for answer in answers {
            print(&format!("\n   response to CloudFormation\n      {answer}\n"));
        }
    }
}
