//! `cargo measure`: each function's release bootstrap beside a bare one, in one run.
//!
//! Each figure except the sizes is a ratio of medians. The processes take turns, so that other load
//! on the machine affects all of them alike. A start lasts from the spawn of the process to its
//! first `GET /next`. An invocation lasts from the delivery of the event to the answer, and
//! includes the time of the embedded AWS, which is not optimised. A sweep and the loop beside it
//! call an ECR with rendered answers instead.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures are printed for a person"
)]
#![expect(clippy::indexing_slicing, reason = "only JSON is indexed, which accepts any name")]

mod scale;
mod static_ecr;
mod sweep;
mod tls;
mod work;
mod year;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use ecr_warden::arguments;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use local_aws::lambda::Function;
use local_aws::{ACCOUNT, LocalAws, REGION};

/// The functions that a release contains.
const FUNCTIONS: [&str; 6] = [
    "custom-resource",
    "image-push",
    "scan-complete",
    "sweep-dispatch",
    "image-sweep",
    "slack-notifier",
];

/// Measures the release build of each function beside a bare bootstrap, and sweeps beside a loop
/// that only pages.
#[derive(Parser)]
#[command(name = "cargo measure", bin_name = "cargo measure")]
struct Options {
    /// Runs each benchmark once, with the bootstraps that `sam build` wrote to this folder: checks
    /// that the benchmark works, and measures nothing
    #[arg(long, value_name = "FOLDER")]
    smoke: Option<PathBuf>,
    /// Runs rounds, sweeps and pushes of 1,000 and of 10,000 repositories in this process, and prints
    /// their calls, bytes, memory and times. Takes some minutes
    #[arg(long, conflicts_with = "smoke")]
    scale: bool,
    /// Measures one number of repositories and of images in each, such as 1000,100
    #[arg(long, value_name = "REPOSITORIES,IMAGES", hide = true)]
    scale_shape: Option<String>,
    /// Runs a simulated year of 50 components in this process, and prints the kept and removed images, the
    /// alerts and the calls. Fails if an image went that ran or was promoted. Takes some minutes
    #[arg(long, conflicts_with_all = ["smoke", "scale"])]
    year: bool,
    /// Runs the year in this process, whose functions also write metrics to standard output
    #[arg(long, hide = true)]
    year_process: bool,
}

/// The measured programs and the number of repetitions.
struct Benchmark {
    programs: Programs,
    /// The number of processes of each subject, and of warm invocations of each process.
    processes: usize,
    warm: usize,
    /// For sweeps: the number of processes, of invocations of each process, and the sizes of the
    /// repository in thousands of images.
    sweep_processes: usize,
    sweep_invocations: usize,
    sweep_thousands: &'static [usize],
}

/// The folders of the programs.
enum Programs {
    /// `cargo build --release` built all programs into this folder.
    Release(PathBuf),
    /// `sam build` built the functions. The other programs are in the folder of this program.
    Smoke { functions: PathBuf, others: PathBuf },
}

impl Programs {
    /// Returns the path of a function, or of a program beside which functions are measured.
    fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Release(folder) => folder.join(name),
            Self::Smoke { functions, others } => match logical_id(name) {
                Some(id) => functions.join(id).join("bootstrap"),
                None => others.join(name),
            },
        }
    }
}

/// The logical ID of a function in the template.
fn logical_id(name: &str) -> Option<&'static str> {
    match name {
        "custom-resource" => Some("CustomResourceFunction"),
        "image-push" => Some("ImagePushFunction"),
        "scan-complete" => Some("ScanCompleteFunction"),
        "image-sweep" => Some("ImageSweepFunction"),
        "slack-notifier" => Some("SlackNotifierFunction"),
        "sweep-dispatch" => Some("SweepDispatchFunction"),
        _ => None,
    }
}

impl Benchmark {
    fn new(options: &Options, root: &Path, target: &Path) -> anyhow::Result<Self> {
        let Some(functions) = options.smoke.clone() else {
            build(root)?;
            return Ok(Self {
                programs: Programs::Release(target.join("release")),
                processes: 15,
                warm: 20,
                sweep_processes: 3,
                sweep_invocations: 3,
                sweep_thousands: &[20, 100],
            });
        };
        let program = std::env::current_exe()?;
        let others = program.parent().context("the path of this program has no folder")?.to_owned();
        Ok(Self {
            programs: Programs::Smoke { functions: functions.canonicalize()?, others },
            processes: 1,
            warm: 1,
            sweep_processes: 1,
            sweep_invocations: 1,
            sweep_thousands: &[20],
        })
    }
}

/// The work of one invocation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// The deletion of a repository that no longer exists: the custom resource asks ECR for the
    /// repository and answers CloudFormation. The bare bootstrap ignores the content of the event.
    Deletion,
    /// A push whose tag conforms, in an hour whose sweep is queued: one call of a new process, and then
    /// no call.
    Conforming,
    /// A push that is quarantined: nine calls.
    Quarantine,
    /// A scan without findings at or above the threshold: two calls.
    Clean,
    /// A scan with a new finding: six calls.
    Findings,
    /// A round of sweeps that finds one repository due.
    Round,
    /// An alert for Slack: a call of the webhook, and first a read of its secret.
    Slack,
}

/// The kinds of work of each function.
const WORKS: [(&str, Work); 7] = [
    ("custom-resource", Work::Deletion),
    ("image-push", Work::Conforming),
    ("image-push", Work::Quarantine),
    ("scan-complete", Work::Clean),
    ("scan-complete", Work::Findings),
    ("sweep-dispatch", Work::Round),
    ("slack-notifier", Work::Slack),
];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match arguments::parse::<Options>() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ncargo measure: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A program with its endpoint and its work, and the measured times.
struct Subject {
    label: String,
    function: Function,
    work: Work,
    start: Vec<Duration>,
    first: Vec<Duration>,
    warm: Vec<Duration>,
}

async fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(shape) = &options.scale_shape {
        return scale::measure_shape(shape).await;
    }
    if options.scale {
        return scale::measure_all();
    }
    if options.year_process {
        return year::run();
    }
    if options.year {
        return year::run_in_process();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| root.join("target"));
    let benchmark = Benchmark::new(options, &root, &target)?;
    let aws = LocalAws::default();
    let http = aws.serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    // The folder is named after the process, because another run may be active.
    let folder = target.join(format!("measure/{}", std::process::id()));
    let tls = tls::serve(&aws, &folder).await?;

    let slack = aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let webhook = work::prepare(&aws, slack.endpoint()).await?;
    let bare = benchmark.programs.path("bare");
    let mut subjects =
        vec![subject("bare", &bare, Work::Deletion, http.endpoint(), None, &webhook)];
    for (name, work) in WORKS {
        let program = benchmark.programs.path(name);
        let mut add = |over: &str, endpoint: &str, roots: &Path| {
            let label = format!("{name}, {}{over}", work.label());
            subjects.push(subject(&label, &program, work, endpoint, Some(roots), &webhook));
        };
        // Each process gets a file of roots: without one it may search more places than exist in
        // Lambda.
        let (roots, count) = &tls.system_roots;
        add("HTTP", http.endpoint(), roots);
        add("TLS, one root", &tls.endpoint, &tls.one_root);
        add(&format!("TLS, {count} roots"), &tls.endpoint, roots);
    }
    for _ in 0..benchmark.processes {
        for subject in &mut subjects {
            observe(&aws, subject, benchmark.warm).await.with_context(|| subject.label.clone())?;
        }
    }
    aws.lambda().stop();
    let bare = print_times(&subjects, &benchmark)?;
    sweep::measure(&aws, &benchmark, http.endpoint(), &tls.system_roots.0).await?;
    std::fs::remove_dir_all(folder)?;
    if options.smoke.is_some() {
        println!("\nthis was a smoke run, so its figures mean nothing");
        return Ok(());
    }
    print_decisions(&root, bare)?;
    print_sizes(&benchmark.programs)
}

/// Builds a release of the functions and of the programs beside which they are measured.
fn build(root: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Separate builds, because one build would unify the features of their dependencies.
    for packages in [&[][..], &["--package", "bare"], &["--package", "pager"]] {
        let mut command = Command::new(&cargo);
        command.args(["build", "--release", "--locked"]).args(packages).current_dir(root);
        let built = command.status().context("running cargo")?;
        let what = packages.last().unwrap_or(&"the functions");
        ensure!(
            built.success(),
            "building {what} for release failed, see the output of cargo above"
        );
    }
    Ok(())
}

fn subject(
    label: &str,
    program: &Path,
    work: Work,
    endpoint: &str,
    roots: Option<&Path>,
    webhook: &str,
) -> Subject {
    let mut environment = work::environment(webhook);
    environment.insert("AWS_ENDPOINT_URL".to_owned(), endpoint.to_owned());
    environment.insert("CUSTOM_RESOURCE_RESPONSE_ORIGIN".to_owned(), endpoint.to_owned());
    if let Some(roots) = roots {
        environment.insert("SSL_CERT_FILE".to_owned(), roots.display().to_string());
    }
    let function = function(label, program, environment, Duration::from_secs(60));
    let (start, first, warm) = (Vec::new(), Vec::new(), Vec::new());
    Subject { label: label.to_owned(), function, work, start, first, warm }
}

fn function(
    label: &str,
    program: &Path,
    environment: BTreeMap<String, String>,
    timeout: Duration,
) -> Function {
    Function {
        name: label.replace([',', ' '], "-"),
        program: program.to_owned(),
        handler: "bootstrap".to_owned(),
        environment,
        timeout,
        memory_mb: 256,
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        retries: 0,
        dead_letter: None,
        on_failure: None,
        reserved_concurrency: None,
    }
}

/// Starts a process, and measures its start, its first invocation and its warm invocations.
async fn observe(aws: &LocalAws, subject: &mut Subject, warm: usize) -> anyhow::Result<()> {
    // Creating the function again ends its warm process. The sleep lets that process exit before
    // the next one starts.
    aws.lambda().create(subject.function.clone());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let endpoint = subject.function.environment["AWS_ENDPOINT_URL"].clone();
    for n in 0..=warm {
        let event = subject.work.event(aws, &endpoint)?;
        let invoked = aws.lambda().invoke(&subject.function.name, event).await?;
        if let Some(error) = invoked.error {
            bail!("{error}: {}\n{}", invoked.payload, invoked.log);
        }
        match invoked.cold_start {
            Some(start) => {
                subject.start.push(start);
                subject.first.push(invoked.duration);
            }
            None => subject.warm.push(invoked.duration),
        }
        if subject.label != "bare" {
            subject.work.check(aws).with_context(|| format!("invocation {n}"))?;
        }
    }
    Ok(())
}

fn median(times: &[Duration]) -> anyhow::Result<f64> {
    let mut times: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("nothing was measured")
}

/// Prints the times, and returns the seconds of a warm invocation of the bare bootstrap.
fn print_times(subjects: &[Subject], benchmark: &Benchmark) -> anyhow::Result<f64> {
    let Benchmark { processes, warm: warm_invocations, .. } = benchmark;
    let medians = |subject: &Subject| -> anyhow::Result<[f64; 4]> {
        let (start, first) = (median(&subject.start)?, median(&subject.first)?);
        Ok([start, first, median(&subject.warm)?, start + first])
    };
    let bare = medians(subjects.first().context("nothing was measured")?)?;
    let [start, first, warm, _] = bare.map(|seconds| seconds * 1_000.0);
    println!(
        "\nratios to a bare bootstrap, medians of {processes} processes with {warm_invocations} warm invocations each\n\
         (the bare bootstrap took {start:.2} ms to start, {first:.2} ms for the first and {warm:.2} ms for a warm invocation)\n"
    );
    println!(
        "target: start and first invocation together within 4× of bare, where the event needs at most one call; each zip under 4 MB\n"
    );
    println!("{:<38}{:>8}{:>8}{:>8}{:>16}", "", "start", "first", "warm", "start + first");
    for subject in subjects {
        let found = medians(subject)?;
        let ratios: Vec<f64> = found.iter().zip(bare).map(|(found, bare)| found / bare).collect();
        if let [start, first, warm, both] = ratios[..] {
            println!("{:<38}{start:>7.1}×{first:>7.1}×{warm:>7.1}×{both:>15.1}×", subject.label);
        }
    }
    Ok(bare[2])
}

/// Prints the times of decisions without AWS, in a release build, beside a warm invocation of the
/// bare bootstrap.
fn print_decisions(root: &Path, bare: f64) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!(
        "\ndecisions without AWS, beside a warm invocation of the bare bootstrap (target: the report within 2 ms, planning within 2 µs for each image)\n"
    );
    for bench in ["judgement", "retention", "findings"] {
        let arguments = ["bench", "--package", "warden-core", "--bench", bench, "--locked"];
        let output = Command::new(&cargo).args(arguments).current_dir(root).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8(output.stdout)?.lines() {
            let (name, nanoseconds) = line
                .rsplit_once(' ')
                .context("the benchmark printed a line without a name and a number")?;
            let seconds = nanoseconds.parse::<f64>()? / 1e9;
            let microseconds = seconds * 1e6;
            println!("{name:<38}{:>7.4}×  ({microseconds:.1} µs)", seconds / bare);
        }
    }
    Ok(())
}

/// Prints sizes in MB of 10⁶ bytes: of the stripped binary, and deflated as in a zip file.
fn print_sizes(programs: &Programs) -> anyhow::Result<()> {
    println!("\n{:<38}{:>8}{:>8}", "MB", "binary", "zipped");
    for name in ["bare"].into_iter().chain(FUNCTIONS) {
        let binary = std::fs::read(programs.path(name))?;
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::best());
        deflated.write_all(&binary)?;
        let zipped = deflated.finish()?.len();
        let megabytes =
            |bytes: usize| -> anyhow::Result<f64> { Ok(f64::from(u32::try_from(bytes)?) / 1e6) };
        println!("{name:<38}{:>8.2}{:>8.2}", megabytes(binary.len())?, megabytes(zipped)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_reported_with_the_nearest_option() {
        let error = Options::try_parse_from(["measure", "--hlep"]).err().unwrap();
        assert_eq!(
            arguments::in_one_line(&error.to_string()),
            "unexpected argument '--hlep' found; a similar argument exists: '--help'; \
             Usage: cargo measure --help"
        );
    }
}
