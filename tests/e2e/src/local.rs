//! A virtual environment with the tools, and the emulators as processes of their own.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The account and region that everything is in.
pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "us-east-1";

/// How long an emulator may take to start.
const START: Duration = Duration::from_secs(60);

/// The emulators, which end with this.
pub struct Local {
    root: PathBuf,
    venv: PathBuf,
    endpoint: String,
    ecr_endpoint: String,
    _processes: [Process; 2],
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Local {
    /// Installs what is missing, and starts the emulators on free ports.
    pub fn start() -> anyhow::Result<Self> {
        let (root, venv) = (root()?, install()?);
        let target = root.join("target/e2e");
        let logs = target.join("logs");
        fs::create_dir_all(&logs)?;
        let (port, ecr_port) = (free_port()?, free_port()?);
        let endpoint = format!("http://127.0.0.1:{port}");
        let ecr_endpoint = format!("http://127.0.0.1:{ecr_port}");

        let ecr = Command::new(venv.join("bin/python"))
            .arg(root.join("tests/e2e/ecr.py"))
            .arg(ecr_port.to_string())
            .env("MOTO_ACCOUNT_ID", ACCOUNT)
            .stdin(Stdio::null())
            .stdout(File::create(logs.join("ecr.log"))?)
            .stderr(File::create(logs.join("ecr-errors.log"))?)
            .spawn()
            .map(Process)
            .context("starting moto")?;
        // Its functions inherit the endpoints, and so find both emulators.
        let ministack = Command::new(venv.join("bin/ministack"))
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("MINISTACK_ACCOUNT_ID", ACCOUNT)
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_ENDPOINT_URL_ECR", &ecr_endpoint)
            .env("TMPDIR", fs::create_dir_all(target.join("tmp")).map(|()| target.join("tmp"))?)
            .stdin(Stdio::null())
            .stdout(File::create(logs.join("ministack.log"))?)
            .stderr(File::create(logs.join("ministack-errors.log"))?)
            .spawn()
            .map(Process)
            .context("starting ministack")?;
        let mut processes = [ecr, ministack];
        for (process, port) in processes.iter_mut().zip([ecr_port, port]) {
            wait_for(&mut process.0, port)
                .with_context(|| format!("an emulator did not start; see {}", logs.display()))?;
        }
        Ok(Self { root, venv, endpoint, ecr_endpoint, _processes: processes })
    }

    /// A tool of the virtual environment, in `infra/sam`, reaching nothing but the emulators.
    pub fn tool(&self, name: &str) -> Command {
        self.command(&self.venv.join("bin").join(name))
    }

    /// What a shell says to `script`, with the same tools.
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
            .env("AWS_ENDPOINT_URL_ECR", &self.ecr_endpoint)
            .env("AWS_PAGER", "")
            .env("SAM_CLI_TELEMETRY", "0")
            .stdin(Stdio::null());
        command
    }
}

fn root() -> anyhow::Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?)
}

/// Makes the virtual environment, unless it has just these requirements already.
pub fn install() -> anyhow::Result<PathBuf> {
    let root = root()?;
    let venv = root.join("target/e2e/venv");
    let requirements = root.join("tests/e2e/requirements.txt");
    let installed = venv.join("requirements.txt");
    let wanted = fs::read(&requirements)?;
    if fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Ok(venv);
    }
    println!("installing the SAM CLI, the AWS CLI and the emulators into {}", venv.display());
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).status();
    if !made.context("running python3, which is needed (3.11 or newer)")?.success() {
        bail!("python3 -m venv failed; on Debian it needs the package python3-venv");
    }
    let pip = Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&requirements)
        .status()?;
    if !pip.success() {
        bail!("pip could not install {}", requirements.display());
    }
    fs::write(installed, wanted)?;
    Ok(venv)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("finding a free port")?.local_addr()?.port())
}

fn wait_for(process: &mut Child, port: u16) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = process.try_wait()? {
            bail!("it ended with {status}");
        }
        if started.elapsed() > START {
            bail!("nothing answers on port {port} after {} s", START.as_secs());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
