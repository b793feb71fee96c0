//! The functions as real processes, and a probe that tests the embedded Lambda.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at a mistake"
)]

mod access;
mod adoption;
mod book;
mod custom_resources;
mod dashboard;
mod deployer;
mod event_bus;
mod events;
mod faults;
mod indexes;
mod invokers;
mod killed;
mod lambda;
mod leaving;
mod policy;
mod privileges;
mod pushes;
mod reference;
mod rights;
mod rounds;
mod safety;
mod scans;
mod secrets;
mod services;
mod slack;
mod snippets;
mod sweeps;
mod tool;
mod workflow;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use local_aws::lambda::Function;
use local_aws::world::World;
use local_aws::{ACCOUNT, LocalAws, REGION};

/// The program that every function runs.
fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_bootstrap").into()
}

/// Deploys the stack with its functions as processes.
async fn deploy(parameters: &[(&str, &str)]) -> World {
    World::run(LocalAws::default(), parameters, program()).await
}

/// Stops the queue of sweeps, so that the calls and alerts of `image-sweep` do not mix with those of
/// other functions.
fn stop_sweep_queue(world: &World) {
    world.aws.disable_event_sources(&world.function("image-sweep").name);
}

/// A function of the probe.
fn probe(name: &str) -> Function {
    Function {
        name: name.to_owned(),
        program: program(),
        handler: "probe".to_owned(),
        environment: BTreeMap::new(),
        timeout: Duration::from_secs(30),
        memory_mb: 128,
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        retries: 2,
        dead_letter: None,
        on_failure: None,
        reserved_concurrency: None,
    }
}
