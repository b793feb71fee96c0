//! The embedded ECR itself, as others see it: the service model that AWS publishes, the
//! README's commands, and skopeo where it is installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, anyhow, ensure};
use local_aws::ecr::image::manifest::{OCI_MANIFEST, digest};
use local_aws::ecr::model;
use serde_json::{Value, json};

use crate::local::Local;
use crate::readme;

/// Compares what ours takes with the published model; gives what is not served.
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
        ensure!(ours == theirs, "{name} takes {ours:#}\nand AWS publishes {theirs:#}");
    }
    let others = theirs["not served"].as_array().into_iter().flatten();
    Ok(others.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Runs the README's block about the embedded AWS; without skopeo, all but its lines. Gives
/// what it printed.
pub fn readme_block(local: &Local) -> anyhow::Result<String> {
    let block = readme::block("aws ecr create-repository")?;
    let folder = local.root().join("target/e2e/registry");
    let _ = fs::remove_dir_all(&folder);
    write_layout(&folder.join("app"))?;
    // Its port is another one here, since 4566 may be in use.
    let address = local.ecr().trim_start_matches("http://");
    let block = block.replace("127.0.0.1:4566", address);
    let block = if Command::new("skopeo").arg("--version").output().is_ok() {
        block
    } else {
        println!("   (skopeo is not installed: its commands are left out, the image is made up)");
        let (first, rest) = block.split_once('\n').context("the block has one line")?;
        local.shell(first)?;
        let mut state = local.aws.state();
        let now = state.now();
        let pushed = state.ecr().push_made_up("demo", &["app-v1.0.0", "app-v1.0.1"], now);
        pushed.map_err(|error| anyhow!("{}: {}", error.code, error.message))?;
        rest.lines().filter(|line| !line.contains("skopeo")).collect::<Vec<_>>().join("\n")
    };
    local.shell(&format!("cd {}\n{block}", folder.display())).context("the README's block")
}

/// An image of nothing in the OCI layout, as `skopeo` and `crane` write it.
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
