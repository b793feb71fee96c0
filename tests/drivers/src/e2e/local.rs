//! The environment of the run: a Python virtual environment with the tools, ministack as a process,
//! and the embedded ECR, Inspector and Slack on ports of this process.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use local_aws::LocalAws;
use local_aws::server::Server;
use local_aws::slack;
use tokio::runtime::Runtime;

/// The account and the region of every resource.
pub use local_aws::{ACCOUNT, REGION};

/// How long the emulator may take to start.
const START: Duration = Duration::from_secs(60);

/// The running emulators. They stop when this value is dropped.
pub struct Local {
    /// The embedded AWS, whose ECR has the repositories of the stacks.
    pub aws: LocalAws,
    root: PathBuf,
    programs: PathBuf,
    venv: PathBuf,
    endpoint: String,
    ecr: Server,
    slack: slack::Server,
    _runtime: Runtime,
    _ministack: Process,
}

/// A process that is killed when this value is dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Local {
    /// Installs the missing tools, and starts the emulators on free ports.
    pub fn start() -> anyhow::Result<Self> {
        let (root, venv) = (root()?, install()?);
        let program = std::env::current_exe()?;
        let programs =
            program.parent().context("the path of this program has no folder")?.to_owned();
        let target = root.join("target/e2e");
        let logs = target.join("logs");
        fs::create_dir_all(&logs)?;
        let aws = LocalAws::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting a thread for ECR")?;
        let ecr = runtime.block_on(aws.serve((Ipv4Addr::LOCALHOST, 0).into()))?;
        let slack = runtime.block_on(aws.slack().serve((Ipv4Addr::LOCALHOST, 0).into()))?;
        let port = free_port()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        // The functions inherit these endpoints. The embedded Inspector knows the running images.
        let mut ministack = Command::new(venv.join("bin/ministack"))
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("AWS_ENDPOINT_URL", &endpoint)
            // CloudFormation's response URLs are on the port of ministack.
            .env("CUSTOM_RESOURCE_RESPONSE_ORIGIN", &endpoint)
            .env("AWS_ENDPOINT_URL_ECR", ecr.endpoint())
            .env("AWS_ENDPOINT_URL_INSPECTOR2", ecr.endpoint())
            .env("TMPDIR", fs::create_dir_all(target.join("tmp")).map(|()| target.join("tmp"))?)
            .stdin(Stdio::null())
            .stdout(File::create(logs.join("ministack.log"))?)
            .stderr(File::create(logs.join("ministack-errors.log"))?)
            .spawn()
            .map(Process)
            .context("starting ministack")?;
        wait_for(&mut ministack.0, port)
            .with_context(|| format!("ministack did not start; see {}", logs.display()))?;
        Ok(Self {
            aws,
            root,
            programs,
            venv,
            endpoint,
            ecr,
            slack,
            _runtime: runtime,
            _ministack: ministack,
        })
    }

    /// The folder of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The endpoint of ministack.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The endpoint of the embedded ECR, such as `http://127.0.0.1:4566`.
    pub fn ecr(&self) -> &str {
        self.ecr.endpoint()
    }

    /// The endpoint of the embedded Slack, such as `http://127.0.0.1:4567`.
    pub fn slack(&self) -> &str {
        self.slack.endpoint()
    }

    /// The path of a program that the same build made.
    pub fn program(&self, name: &str) -> String {
        self.programs.join(name).display().to_string()
    }

    /// The folder with the service model of ECR.
    pub fn model(&self) -> PathBuf {
        self.venv.join(MODEL_FOLDER)
    }

    /// A tool of the virtual environment. It runs in `infra/sam` and reaches only the emulators.
    pub fn tool(&self, name: &str) -> Command {
        self.command(&self.venv.join("bin").join(name))
    }

    /// Runs a script in bash with the same tools, and returns its standard output.
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        let shell =
            self.command(Path::new("bash")).args(["-euo", "pipefail", "-c", script]).output()?;
        if !shell.status.success() {
            bail!("{}", String::from_utf8_lossy(&shell.stderr).trim());
        }
        Ok(String::from_utf8(shell.stdout)?)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.venv.join("bin")).chain(std::env::split_paths(&path));
        command
            .current_dir(self.root.join("infra/sam"))
            .env("PATH", std::env::join_paths(paths).unwrap_or(path.clone()))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ENDPOINT_URL_ECR", self.ecr.endpoint())
            .env("AWS_PAGER", "")
            .env("SAM_CLI_TELEMETRY", "0")
            .stdin(Stdio::null());
        command
    }
}

/// The folder of the workspace.
pub fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?)
}

/// Creates the virtual environment, unless it has exactly these requirements already.
pub fn install() -> anyhow::Result<PathBuf> {
    let root = root()?;
    let venv = root.join("target/e2e/venv");
    let requirements = root.join("tests/drivers/requirements.txt");
    let installed = venv.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements)? + MODEL;
    if fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(venv);
    }
    require_python(Command::new("python3").arg("--version").output())?;
    println!("installing the SAM CLI, the AWS CLI and an emulator into {}", venv.display());
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).status();
    if !made.context("running python3")?.success() {
        bail!("python3 -m venv failed; on Debian it needs the package python3-venv");
    }
    let pip = || {
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    if !pip().arg("--requirement").arg(&requirements).status()?.success() {
        bail!("pip could not install {}", requirements.display());
    }
    let model = venv.join(MODEL_FOLDER);
    if !pip().args(["--no-deps", MODEL, "--target"]).arg(model).status()?.success() {
        bail!("pip could not install {MODEL}");
    }
    fs::write(installed, wanted)?;
    Ok(venv)
}

/// The release of botocore whose model of ECR is compared with ours, and its folder in the virtual
/// environment. The SAM CLI needs an older release, which lacks `deleteReplication`.
const MODEL: &str = "botocore==1.44.8";
const MODEL_FOLDER: &str = "model";

/// The minor version of the oldest Python 3 that can install the requirements.
const PYTHON: u32 = 11;

/// Checks the output of `python3 --version`. The error says which version is needed.
fn require_python(version: io::Result<Output>) -> anyhow::Result<()> {
    let found = match version {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "there is none".to_owned(),
        Err(error) => format!("it cannot be run: {error}"),
        Ok(output) => {
            let printed = if output.status.success() { output.stdout } else { output.stderr };
            let printed = String::from_utf8_lossy(&printed);
            let version = printed.strip_prefix("Python 3.").and_then(|rest| rest.split('.').next());
            if version
                .and_then(|minor| minor.parse().ok())
                .is_some_and(|minor: u32| minor >= PYTHON)
            {
                return Ok(());
            }
            format!("it says {:?}", printed.lines().next().unwrap_or_default())
        }
    };
    bail!("Python 3.{PYTHON} or newer is needed, with its venv, as python3 on the PATH; {found}")
}

/// A port that no program listens on.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("finding a free port")?.local_addr()?.port())
}

fn wait_for(process: &mut Child, port: u16) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("the process exited: {status}");
        }
        if started.elapsed() > START {
            bail!("nothing answers on port {port} after {} s", START.as_secs());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(python: &str, expected: &str) {
        // The shell stands for a `python3`.
        let version = Command::new("sh").args(["-c", python]).output();
        let said =
            require_python(version).map_or_else(|error| error.to_string(), |()| String::new());
        let needed = "Python 3.11 or newer is needed, with its venv, as python3 on the PATH; ";
        assert_eq!(said.strip_prefix(needed).unwrap_or(&said), expected);
    }

    #[test]
    fn a_missing_or_old_python_is_an_error_before_anything_is_installed() {
        check("echo Python 3.11.7", "");
        check("echo Python 3.14.0rc1+", "");
        check("echo Python 3.10.13", r#"it says "Python 3.10.13""#);
        check(
            "echo 'pyenv: python3: command not found' >&2; exit 127",
            r#"it says "pyenv: python3: command not found""#,
        );
        let absent = require_python(Command::new("/nonexistent/python3").output()).unwrap_err();
        assert!(absent.to_string().ends_with("; there is none"), "{absent}");
    }
}
