//! What befalls whoever makes a call: a few faults that come together.

use std::time::Duration;

use crate::{Called, Fault, LocalAws};

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultScenario {
    /// It is throttled until the SDK's tries run out.
    ThrottledOut,
    /// It is throttled, and then fine.
    Throttled,
    /// The service is out of order until the SDK's tries run out.
    ServerError,
    /// It is denied until somebody mends the role.
    Denied,
    /// The connection breaks before it was carried out.
    ResetBefore,
    /// The connection breaks after it was carried out.
    ResetAfter,
    /// It takes longer than a call may.
    TooSlow,
    /// The process is killed before it was carried out.
    KilledBefore,
    /// The process is killed after it was carried out.
    KilledAfter,
    /// The function's time is up while it is not yet carried out.
    OutOfTimeBefore,
    /// The function's time is up while it is not answered.
    OutOfTimeAfter,
    /// The process is killed before it each time that Lambda tries.
    KilledBeforeEachTime,
    /// The process is killed after it each time that Lambda tries.
    KilledAfterEachTime,
    /// A second copy of the request is carried out just before it.
    Overtaken,
}

/// How long a call waits that is overtaken: less than a call may take, an answer to
/// CloudFormation 2 seconds.
const OVERTAKEN_FOR: Duration = Duration::from_millis(1_500);

impl FaultScenario {
    /// What befalls one attempt at one event.
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

    /// What befalls a request that is attempted several times, or comes twice.
    pub const OF_A_REQUEST: [Self; 5] = [
        Self::OutOfTimeBefore,
        Self::OutOfTimeAfter,
        Self::KilledBeforeEachTime,
        Self::KilledAfterEachTime,
        Self::Overtaken,
    ];

    /// Prepares it for the nth call of its operation from now on. Whoever calls has to be cut off
    /// where a process is killed, and a copy to be sent where a call is overtaken.
    pub fn prepare(self, aws: &LocalAws, call: &Called, nth: usize) {
        // More than anybody makes.
        const ALL: usize = 200;
        // Each service in its own words.
        let [throttled, out_of_order, denied] = match call.service.as_str() {
            "ecr" => ["ThrottlingException", "ServerException", "AccessDeniedException"],
            "iam" => ["Throttling", "ServiceFailure", "AccessDenied"],
            "cloudformation" => ["Throttling", "InternalFailure", "AccessDenied"],
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
            // Where CloudFormation takes answers.
            "" => ["SlowDown", "InternalError", "AccessDenied"],
            other => panic!("how does {other} fail?"),
        };
        let (count, fault) = match self {
            Self::ThrottledOut => (5, Fault::Error(400, throttled)),
            Self::Throttled => (1, Fault::Error(400, throttled)),
            Self::ServerError => (5, Fault::Error(500, out_of_order)),
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

    /// Whether the process ends in it.
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
