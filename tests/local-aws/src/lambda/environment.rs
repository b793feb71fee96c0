//! An execution environment: one process, which serves one invocation at a time.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use super::runtime_api::{Asked, Next, RuntimeApi};
use super::{Function, Invoked};

/// How long a process may take until it asks for its first event:
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
const INIT: Duration = Duration::from_secs(10);

/// A process that has asked for its next event.
pub struct Environment {
    /// Its session token.
    pub id: String,
    child: Child,
    api: RuntimeApi,
    /// The answer that its `GET /next` waits for.
    next: Option<Next>,
    log: Log,
}

/// What went wrong: its type and message, as Lambda has them.
struct Failure {
    kind: String,
    message: String,
    trace: Value,
}

impl Failure {
    fn new(kind: &str, message: String) -> Self {
        Self { kind: kind.to_owned(), message, trace: Value::Null }
    }
}

/// Serves one event. Gives back the environment, if it can serve another one.
pub async fn invoke(
    idle: Option<Environment>,
    id: &str,
    function: &Function,
    request_id: &str,
    event: &str,
    end: &Notify,
) -> (Invoked, Option<Environment>) {
    let mut cold_start = None;
    let mut invoked = Invoked {
        request_id: request_id.to_owned(),
        payload: Value::Null,
        error: None,
        log: String::new(),
        cold_start: None,
        duration: Duration::ZERO,
        max_memory: None,
    };
    let environment = if let Some(environment) = idle {
        Ok(environment)
    } else {
        match Environment::spawn(id, function).await {
            Ok((mut environment, spawned)) => match environment.init(request_id, end).await {
                Ok(()) => {
                    cold_start = Some(spawned.elapsed());
                    Ok(environment)
                }
                Err(failure) => {
                    invoked.log = environment.log.take();
                    Err(failure)
                }
            },
            Err(error) => {
                let program = function.program.display();
                let message = format!("RequestId: {request_id} Error: {program}: {error}");
                Err(Failure::new("Runtime.InvalidEntrypoint", message))
            }
        }
    };
    invoked.cold_start = cold_start;
    let (served, left) = match environment {
        Err(failure) => (Err(failure), None),
        Ok(mut environment) => {
            let (served, duration, alive) =
                environment.serve(function, request_id, event, end).await;
            invoked.duration = duration;
            invoked.log = environment.log.take();
            invoked.max_memory = environment.max_memory();
            (served, alive.then_some(environment))
        }
    };
    match served {
        Ok(payload) => invoked.payload = payload,
        Err(failure) => {
            let mut payload = json!({"errorType": failure.kind, "errorMessage": failure.message});
            if !failure.trace.is_null() {
                payload["stackTrace"] = failure.trace;
            }
            invoked.payload = payload;
            invoked.error = Some(failure.kind);
        }
    }
    (invoked, left)
}

impl Environment {
    /// Whether its process is still there.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The most memory that the process has held so far, in bytes: Linux knows.
    fn max_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = kilobytes.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1_024)
    }

    /// Spawns a process, and says when.
    async fn spawn(id: &str, function: &Function) -> io::Result<(Self, Instant)> {
        let api = RuntimeApi::open().await?;
        let log = Log::open()?;
        let group = format!("/aws/lambda/{}", function.name);
        let memory = function.memory_mb.to_string();
        let region = function.region.as_str();
        let mut command = Command::new(&function.program);
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", api.address()),
                ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
                ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
                ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
                ("AWS_LAMBDA_LOG_STREAM_NAME", id),
                ("AWS_REGION", region),
                ("AWS_DEFAULT_REGION", region),
                // The account is what the embedded AWS knows a caller by.
                ("AWS_ACCESS_KEY_ID", &function.account),
                ("AWS_SECRET_ACCESS_KEY", "any"),
                ("AWS_SESSION_TOKEN", id),
                ("LAMBDA_TASK_ROOT", "/var/task"),
                ("TZ", ":UTC"),
                ("_HANDLER", &function.handler),
            ])
            .envs(&function.environment)
            .stdin(Stdio::null())
            .stdout(log.writer()?)
            .stderr(log.writer()?)
            .kill_on_drop(true);
        let spawned = Instant::now();
        let child = command.spawn()?;
        Ok((Self { id: id.to_owned(), child, api, next: None, log }, spawned))
    }

    /// Waits until the process asks for its first event.
    async fn init(&mut self, request_id: &str, end: &Notify) -> Result<(), Failure> {
        let too_long = || {
            let message = format!("RequestId: {request_id} Error: Runtime did not start in time");
            Failure::new("Sandbox.Timedout", message)
        };
        match timeout(INIT, self.until_asked(request_id, "", end)).await {
            Ok(Ok(Asked::Next(next))) => {
                self.next = Some(next);
                Ok(())
            }
            Ok(Ok(Asked::Error(failure))) => Err(read_error(&failure)),
            Ok(Err(failure)) => Err(failure),
            // There is nothing to answer before the first event.
            Ok(Ok(Asked::Response(_))) | Err(_) => Err(too_long()),
        }
    }

    /// What the process asks of the Runtime API next, unless it ends before.
    async fn until_asked(
        &mut self,
        request_id: &str,
        current: &str,
        end: &Notify,
    ) -> Result<Asked, Failure> {
        let status = tokio::select! {
            asked = self.api.asked(current) => return Ok(asked),
            () = end.notified() => {
                // It may be gone already, which comes to the same.
                let _ = self.child.kill().await;
                self.child.wait().await
            }
            status = self.child.wait() => status,
        };
        let how = status.map_or_else(|error| error.to_string(), describe);
        let message = format!("RequestId: {request_id} Error: Runtime exited with error: {how}");
        Err(Failure::new("Runtime.ExitError", message))
    }

    /// Hands out an event and waits for its answer; says how long that took, and whether the
    /// process can serve another one.
    async fn serve(
        &mut self,
        function: &Function,
        request_id: &str,
        event: &str,
        end: &Notify,
    ) -> (Result<Value, Failure>, Duration, bool) {
        let deadline = tokio::time::Instant::now() + function.timeout;
        let begun = Instant::now();
        if let Some(next) = self.next.take() {
            next.send(request_id, event, function);
        }
        let answer = tokio::select! {
            asked = self.until_asked(request_id, request_id, end) => asked,
            () = sleep_until(deadline) => Err(timed_out(function, request_id)),
        };
        let duration = begun.elapsed();
        let served = match answer {
            Ok(Asked::Response(body)) => serde_json::from_slice(&body).map_err(|error| {
                Failure::new("Runtime.MarshalError", format!("the answer is not JSON: {error}"))
            }),
            Ok(Asked::Error(body)) => Err(read_error(&body)),
            // To ask for more without an answer is to have failed.
            Ok(Asked::Next(next)) => {
                self.next = Some(next);
                let message = format!("RequestId: {request_id} Error: there was no answer");
                return (Err(Failure::new("Runtime.NoResponse", message)), duration, true);
            }
            Err(failure) => {
                let _ = self.child.kill().await;
                return (Err(failure), duration, false);
            }
        };
        // It is free once it asks for more; until then it may still be logging.
        let alive = tokio::select! {
            asked = self.until_asked(request_id, "", end) => asked,
            () = sleep_until(deadline) => Err(timed_out(function, request_id)),
        };
        if let Ok(Asked::Next(next)) = alive {
            self.next = Some(next);
            return (served, duration, true);
        }
        let _ = self.child.kill().await;
        (served, duration, false)
    }
}

fn timed_out(function: &Function, request_id: &str) -> Failure {
    let seconds = function.timeout.as_secs_f64();
    let message =
        format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds");
    Failure::new("Sandbox.Timedout", message)
}

/// The error that a runtime has reported.
fn read_error(body: &[u8]) -> Failure {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
    let kind = match text("errorType") {
        kind if kind.is_empty() => "Runtime.Unknown".to_owned(),
        kind => kind,
    };
    Failure { kind, message: text("errorMessage"), trace: error["stackTrace"].clone() }
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(9) => "signal: killed".to_owned(),
        Some(signal) => format!("signal: {signal}"),
        None => format!("exit status {}", status.code().unwrap_or_default()),
    }
}

/// What a process writes, in a file that has no name any more: a line that was written
/// before a call is there when the call is.
struct Log {
    file: File,
    read: u64,
}

impl Log {
    fn open() -> io::Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let name = format!("local-aws-{}-{number}.log", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(Self { file, read: 0 })
    }

    fn writer(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// What was written since the last time.
    fn take(&mut self) -> String {
        let end = self.file.metadata().map_or(self.read, |metadata| metadata.len());
        let length = usize::try_from(end.saturating_sub(self.read)).unwrap_or_default();
        let mut bytes = vec![0; length];
        if self.file.read_exact_at(&mut bytes, self.read).is_err() {
            return String::new();
        }
        self.read = end;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
