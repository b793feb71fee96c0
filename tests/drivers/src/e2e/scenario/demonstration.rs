//! The AWS of `cargo demo --keep-running`, and the documented commands that invoke its functions.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use local_aws::snippets::snippet;

use super::{Run, step};
use crate::local::{ACCOUNT, Process, free_port};

/// The longest time until the demonstration has deployed its functions.
const START: Duration = Duration::from_secs(120);

impl Run<'_> {
    pub fn demonstration(&self) -> anyhow::Result<()> {
        step("cargo demo --keep-running, and the documented commands for its functions");
        let folder = self.local.root().join("target/e2e/demo");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let port = free_port()?.to_string();
        let command = snippet("local-aws/keep-running.sh")?.replace("4566", &port);
        let arguments = command.strip_prefix("cargo demo ").context("it is not cargo demo")?;
        let mut demo = Command::new(self.local.program("demo"));
        demo.args(arguments.split_whitespace()).arg("--output").arg(&folder);
        let output = File::create(folder.join("output.txt"))?;
        let demo = demo.stdin(Stdio::null()).stdout(output).spawn();
        let mut demo = Process(demo.context("starting the demonstration")?);
        let started = Instant::now();
        // The demonstration writes the file when every function is deployed.
        while !folder.join("functions.env").is_file() {
            ensure!(started.elapsed() < START, "no functions after {} s", START.as_secs());
            if let Some(status) = demo.0.try_wait()? {
                anyhow::bail!("the demonstration exited: {status}");
            }
            sleep(Duration::from_millis(100));
        }
        let prepare = format!(
            "ln -s {}/events events\nunset AWS_ENDPOINT_URL_ECR\n\
             export AWS_ENDPOINT_URL=http://127.0.0.1:{port} AWS_ACCESS_KEY_ID={ACCOUNT}",
            self.local.root().display()
        );
        for (name, expected) in
            [("local-aws/invoke.sh", "\"reason\""), ("local-aws/custom-resource.sh", "null")]
        {
            let commands = snippet(name)?;
            let printed = self.in_scratch(&format!("{prepare}\n{commands}\ncat answer.json"))?;
            self.contains(name, &printed, expected)?;
        }
        Ok(())
    }
}
