//! The embedded ECR, compared with the service model that AWS publishes, and used by the documented
//! commands: the AWS CLI and, where it is installed, skopeo.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::image::manifest::{OCI_MANIFEST, digest};
use local_aws::ecr::model;
use local_aws::snippets::snippet;
use serde_json::{Value, json};

use crate::local::Local;

/// Compares the input of each operation with the published model. Returns the operations that the
/// embedded ECR does not serve.
pub fn compare_models(local: &Local) -> anyhow::Result<Vec<String>> {
    let script = local.root().join("tests/drivers/ecr_model.py");
    let served = model::OPERATIONS.iter().map(|(name, _)| name);
    let mut python = local.tool("python");
    let printed = python.env("PYTHONPATH", local.model()).arg(script).args(served).output()?;
    ensure!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let theirs: Value = serde_json::from_slice(&printed.stdout)?;
    let ours = model::published();
    for (name, _) in model::OPERATIONS {
        let (ours, theirs) = (&ours[name], &theirs["served"][name]);
        ensure!(ours == theirs, "the embedded {name} takes {ours:#}\nand AWS publishes {theirs:#}");
    }
    let others = theirs["not served"].as_array().into_iter().flatten();
    Ok(others.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Runs the documented commands about the embedded ECR and returns their output. Without skopeo,
/// its commands are left out.
pub fn run_commands(local: &Local) -> anyhow::Result<String> {
    let commands = snippet("local-aws/ecr.sh")?;
    let folder = local.root().join("target/e2e/registry");
    let _ = fs::remove_dir_all(&folder);
    write_layout(&folder.join("app"))?;
    // Another program may use the documented port.
    let address = local.ecr().trim_start_matches("http://");
    let commands = commands.replace("127.0.0.1:4566", address);
    let commands = if Command::new("skopeo").arg("--version").output().is_ok() {
        commands
    } else {
        println!(
            "   (skopeo is not installed: its commands are left out, and this process pushes)"
        );
        let (first, rest) = commands.split_once('\n').context("there is only one command")?;
        local.shell(first)?;
        let mut state = local.aws.state();
        let now = state.now();
        let pushed = state.ecr().push_made_up("demo", &["app-v1.0.0", "app-v1.0.1"], now);
        pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        rest.lines().filter(|line| !line.contains("skopeo")).collect::<Vec<_>>().join("\n")
    };
    local.shell(&format!("cd {}\n{commands}", folder.display())).context("local-aws/ecr.sh")
}

/// Writes an image without layers in the OCI layout, as `skopeo` and `crane` do.
fn write_layout(folder: &Path) -> anyhow::Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |value: Value, kind: &str| -> anyhow::Result<Value> {
        let bytes = value.to_string();
        let digest = digest(bytes.as_bytes());
        fs::write(blobs.join(digest.trim_start_matches("sha256:")), &bytes)?;
        let media_type = format!("application/vnd.oci.image.{kind}.v1+json");
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    };
    let rootfs = json!({"type": "layers", "diff_ids": []});
    let config = json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs});
    let config = blob(config, "config")?;
    let manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []});
    let index = json!({"schemaVersion": 2, "manifests": [blob(manifest, "manifest")?]});
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(())
}
