//! The AWS in memory stays up, with the functions and their rules: for the AWS CLI, for Docker,
//! and for functions that are run by hand.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use local_aws::{ACCOUNT, LocalAws, REGION};
use serde_json::json;

use super::deployment::STACK;
use super::inbox::alerts;
use super::story::Shown;
use super::text;

/// How often is looked whether somebody was told something.
const LOOK: Duration = Duration::from_millis(200);

/// Writes the environments of the functions: one for all of them, for
/// `cargo lambda watch --env-file`, and one for each, as `sam local invoke --env-vars` has them.
pub fn write_environments(aws: &LocalAws, folder: &Path) -> anyhow::Result<()> {
    let mut together: BTreeMap<String, String> = BTreeMap::new();
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
            let other = together.insert(name.clone(), value.clone());
            ensure!(
                other.is_none_or(|other| other == *value),
                "two functions mean something else by {name}: there is no one environment"
            );
        }
        let id = name.trim_start_matches(STACK).trim_start_matches('-').to_owned();
        each.insert(id, environment);
    }
    let lines: anyhow::Result<String> = together.iter().map(assigned).collect();
    write(&folder.join("functions.env"), &lines?)?;
    write(&folder.join("env.json"), &format!("{:#}\n", json!(each)))
}

/// A line of the file, as cargo-lambda reads it: what is in quotes is taken as it is, and there
/// is no way to have a quote of the same kind in it.
/// <https://docs.rs/env-file-reader/0.3.0/env_file_reader/>
fn assigned((name, value): (&String, &String)) -> anyhow::Result<String> {
    let quote = ['\'', '`'].into_iter().find(|quote| !value.contains(*quote));
    let quote = quote.with_context(|| format!("{name} has every kind of quotes: {value}"))?;
    Ok(format!("{name}={quote}{value}{quote}\n"))
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
    let text = INVITATION.replace("REGISTRY", registry).replace("FOLDER", folder);
    format!(
        "{text}\n\
         export AWS_ENDPOINT_URL={endpoint}\n\
         export AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=any\n\
         export AWS_DEFAULT_REGION={REGION}\n"
    )
}

const INVITATION: &str = "
== It stays up until it is interrupted
   The functions run on what is pushed, and what people are told comes here. In another shell,
   after the three lines at the end:

   what stands, and what the stack gives out
      aws ecr describe-images --repository-name infrastructure
      aws cloudformation describe-stacks --stack-name ecr-warden

   a push of an image that you have, by a tag without its v: it is quarantined, and told
      aws ecr get-login-password | docker login --username AWS --password-stdin REGISTRY
      docker tag IMAGE REGISTRY/infrastructure:litellm-1.80.9
      docker push REGISTRY/infrastructure:litellm-1.80.9

   the same without Docker, of a folder that is an OCI layout
      aws ecr get-login-password | skopeo login --tls-verify=false --username AWS --password-stdin REGISTRY
      skopeo copy --dest-tls-verify=false oci:app docker://REGISTRY/infrastructure:litellm-1.80.9

   the plan of a sweep, and why one image is kept
      cargo run -p ecr-warden -- plan deployments
      cargo run -p ecr-warden -- explain deployments:myapp-v1.0.0

   any function by hand, with an event of ours, such as why an image stays
      aws lambda invoke --function-name ecr-warden-ImageSweepFunction \\
        --payload fileb://events/image-sweep/explain.json answer.json && cat answer.json

   a custom resource: what CloudFormation is answered comes here
      sed \"s#https://[^/]*#$AWS_ENDPOINT_URL#\" events/custom-resource/create-misspelt.json > event.json
      aws lambda invoke --function-name ecr-warden-CustomResourceFunction \\
        --payload fileb://event.json answer.json

   a function that you have changed, in the environment of the deployed one
      cargo lambda watch --env-file FOLDER/functions.env
      cargo lambda invoke image-push --data-file events/image-push/reported.json
";

/// Tells what people are told, as they read it, until the process ends.
pub async fn up(aws: &LocalAws, say: impl Fn(&str)) -> anyhow::Result<Infallible> {
    // What was told until now was shown.
    let mut told = aws.state().deliveries.len();
    loop {
        tokio::time::sleep(LOOK).await;
        let (new, answers) = {
            let mut state = aws.state();
            let new = state.deliveries.get(told..).unwrap_or_default().to_vec();
            told = state.deliveries.len();
            (new, std::mem::take(&mut state.answers))
        };
        for alert in alerts(&new, &[], Shown::Email)? {
            say(&text::alert(&alert));
        }
        // They come a moment later, by a function of their own.
        for message in aws.slack().take_messages() {
            say(&text::in_slack(&message));
        }
        for answer in answers {
            say(&format!("\n   CloudFormation is answered\n      {answer}\n"));
        }
    }
}
