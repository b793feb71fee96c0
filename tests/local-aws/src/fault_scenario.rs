//! Scenarios of failure, each of which combines the faults of several calls.

use std::time::Duration;

use crate::{Called, Fault, LocalAws};

/// A scenario of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultScenario {
    /// The call is throttled until the SDK's attempts are used up.
    ThrottledOut,
    /// The call is throttled once.
    Throttled,
    /// The service fails until the SDK's attempts are used up.
    ServerError,
    /// Every call is denied, as by a role without the permission.
    Denied,
    /// The connection breaks before the call is carried out.
    ResetBefore,
    /// The connection breaks after the call was carried out.
    ResetAfter,
    /// The call takes longer than the timeout of a call.
    TooSlow,
    /// The process is killed before the call is carried out.
    KilledBefore,
    /// The process is killed after the call was carried out.
    KilledAfter,
    /// The function's timeout ends before the call is carried out.
    OutOfTimeBefore,
    /// The function's timeout ends after the call was carried out and before its answer.
    OutOfTimeAfter,
    /// The process is killed before the call in each attempt of Lambda.
    KilledBeforeEachTime,
    /// The process is killed after the call in each attempt of Lambda.
    KilledAfterEachTime,
    /// A second copy of the request is carried out just before the call.
    Overtaken,
}

/// The time for which an overtaken call waits. It is less than the timeout of a call, which is 2
/// seconds for an answer to CloudFormation.
const OVERTAKEN_FOR: Duration = Duration::from_millis(1_500);

impl FaultScenario {
    /// The scenarios of a single attempt at an event.
    pub const OF_AN_ATTEMPT: [Self; 9] = [
        Self::ThrottledOut,
        Self::Throttled,
        Self::ServerError,
        Self::Denied,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::TooSlow,
        Self::KilledBefore,
        Self::KilledAfter,
    ];

    /// The scenarios of a request that is attempted several times or delivered twice.
    pub const OF_A_REQUEST: [Self; 5] = [
        Self::OutOfTimeBefore,
        Self::OutOfTimeAfter,
        Self::KilledBeforeEachTime,
        Self::KilledAfterEachTime,
        Self::Overtaken,
    ];

    /// Injects the faults, beginning with the nth call of the operation from now on. The test itself
    /// must end the caller where a process is killed, and must send the copy where a call is
    /// overtaken.
    pub fn prepare(self, aws: &LocalAws, call: &Called, nth: usize) {
        // More calls than any function makes.
        const ALL: usize = 200;
        // The error codes of each service.
        let [throttled, internal, denied] = match call.service.as_str() {
            "ecr" => ["ThrottlingException", "ServerException", "AccessDeniedException"],
            "iam" => ["Throttling", "ServiceFailure", "AccessDenied"],
            "cloudformation" => ["Throttling", "InternalFailure", "AccessDenied"],
            "events" => ["ThrottlingException", "InternalException", "AccessDeniedException"],
            "sqs" => ["RequestThrottled", "InternalFailure", "AccessDeniedException"],
            "sns" => ["Throttling", "InternalError", "AuthorizationError"],
            "dynamodb" | "ssm" => {
                ["ThrottlingException", "InternalServerError", "AccessDeniedException"]
            }
            "secretsmanager" => {
                ["ThrottlingException", "InternalServiceError", "AccessDeniedException"]
            }
            "inspector2" => {
                ["ThrottlingException", "InternalServerException", "AccessDeniedException"]
            }
            // The bucket that receives answers to CloudFormation.
            "" => ["SlowDown", "InternalError", "AccessDenied"],
            other => panic!("the error codes of {other} are not known"),
        };
        let (count, fault) = match self {
            Self::ThrottledOut => (5, Fault::Error(400, throttled)),
            Self::Throttled => (1, Fault::Error(400, throttled)),
            Self::ServerError => (5, Fault::Error(500, internal)),
            Self::Denied => (ALL, Fault::Error(403, denied)),
            Self::ResetBefore => (1, Fault::ResetBefore),
            Self::ResetAfter => (1, Fault::ResetAfter),
            Self::TooSlow => (ALL, Fault::Slow(Duration::from_secs(3_600))),
            Self::OutOfTimeBefore | Self::KilledBefore | Self::KilledBeforeEachTime => {
                (ALL, Fault::Hang)
            }
            Self::OutOfTimeAfter | Self::KilledAfter | Self::KilledAfterEachTime => {
                (ALL, Fault::HangAfter)
            }
            Self::Overtaken => (1, Fault::Slow(OVERTAKEN_FOR)),
        };
        for nth in nth..nth + count {
            aws.fault(&call.operation, nth, fault.clone());
        }
    }

    /// Whether the scenario kills the process.
    #[must_use]
    pub fn kills(self) -> bool {
        matches!(
            self,
            Self::KilledBefore
                | Self::KilledAfter
                | Self::KilledBeforeEachTime
                | Self::KilledAfterEachTime
        )
    }
}
