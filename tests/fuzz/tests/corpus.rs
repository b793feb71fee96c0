//! Every fuzz target, over every event in `events/` and every committed input.

#![expect(clippy::print_stdout, reason = "the output of a failed test names its input")]

use std::fs;
use std::path::{Path, PathBuf};

/// Lists the files below a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .into_iter()
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn every_target_accepts_every_event_and_its_corpus() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let events = files(&package.join("../../events"));
    assert!(events.len() > 30, "only {} events were found", events.len());
    for (name, run) in fuzz::TARGETS {
        let corpus = files(&package.join("corpus").join(name));
        assert!(!corpus.is_empty(), "the target {name} has no corpus");
        for file in events.iter().chain(&corpus) {
            let input =
                fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            println!("{name}: {}", file.display());
            run(&input);
        }
    }
}
