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

/// The maximum time until a process asks for its first event:
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>.
const INIT: Duration = Duration::from_secs(10);

/// A process that has asked for its next event.
pub struct Environment {
    /// The session token of the process.
    pub id: String,
    child: Child,
    api: RuntimeApi,
    /// The pending `GET /next` of the process.
    next: Option<Next>,
    log: Log,
}

/// The type and the message of an error, as Lambda reports them.
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

/// Serves an event. Returns the environment, if it can serve another event.
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
    /// Whether the process is running.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The maximum memory of the process so far, in bytes. Only Linux reports it.
    fn max_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kilobytes: u64 = kilobytes.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1_024)
    }

    /// Spawns a process, and returns the time of the spawn.
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
                // The embedded AWS reads the account of a caller from the access key.
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
            // A process has nothing to answer before its first event.
            Ok(Ok(Asked::Response(_))) | Err(_) => Err(too_long()),
        }
    }

    /// The next request of the process to the Runtime API, unless the process ends before.
    async fn until_asked(
        &mut self,
        request_id: &str,
        current: &str,
        end: &Notify,
    ) -> Result<Asked, Failure> {
        let status = tokio::select! {
            asked = self.api.asked(current) => return Ok(asked),
            () = end.notified() => {
                // The process may have ended already, with the same result.
                let _ = self.child.kill().await;
                self.child.wait().await
            }
            status = self.child.wait() => status,
        };
        let how = status.map_or_else(|error| error.to_string(), describe);
        let message = format!("RequestId: {request_id} Error: Runtime exited with error: {how}");
        Err(Failure::new("Runtime.ExitError", message))
    }

    /// Delivers an event and waits for the answer. Returns the duration, and whether the process can
    /// serve another event.
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
            // A process that asks for the next event without an answer has failed.
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
        // The process is free when it asks for the next event. Until then it may still write logs.
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

/// The output of a process, in an unlinked file. A line that the process writes before a call is in
/// the file when the call arrives.
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

    /// The output since the last time.
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
