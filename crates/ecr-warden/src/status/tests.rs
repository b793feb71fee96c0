use expect_test::expect;
use warden_core::policy::RepositoryOrigin;

use super::*;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn run(changes: impl FnOnce(&mut LastRun)) -> LastRun {
    let mut run = LastRun {
        began_at: time("2027-01-15T08:00:00Z"),
        examined: Some(60),
        removed: 2,
        left: 0,
        stopped: None,
        waiting: 0,
        reported: None,
        uncovered: None,
    };
    changes(&mut run);
    run
}

fn repository(name: &str, last_run: Option<LastRun>, confirmed: Option<&str>) -> RepositoryState {
    let governance = crate::policy_file::tests::governance();
    let policy = governance.rule_for(&name.parse().unwrap(), RepositoryOrigin::Pushed).unwrap();
    RepositoryState::new(&policy, SweepRecord { last_run, confirmed_at: confirmed.map(time) })
}

/// A stack in which nothing needs a person.
fn quiet() -> Status {
    let alarm = |name: &str| AlarmState {
        alarm: name.to_owned(),
        state: "OK".to_owned(),
        since: Some(time("2027-01-01T00:00:00Z")),
        reason: String::new(),
    };
    let queue = |name: &str, is_dead_letter_queue| QueueState {
        queue: name.to_owned(),
        waiting: 0,
        in_flight: 0,
        is_dead_letter_queue,
    };
    Status {
        stack: "ecr-warden".to_owned(),
        status: "UPDATE_COMPLETE".to_owned(),
        policy_version: None,
        repositories: vec![repository("infrastructure", Some(run(|_| ())), None)],
        functions: vec![FunctionState {
            function: "ImagePushFunction".to_owned(),
            state: "Active".to_owned(),
            changed_at: "2027-01-01T00:00:00.000+0000".to_owned(),
            code: "abcdefghijklmnopqrstuvwxyz".to_owned(),
        }],
        alarms: vec![alarm("FailedEventsAlarm")],
        queues: vec![queue("FailedEvents", true), queue("InspectorFindings", false)],
        needs_attention: Vec::new(),
    }
}

/// The problems of a stack with one change.
fn needs(change: impl FnOnce(&mut Status)) -> Vec<String> {
    let mut status = quiet();
    change(&mut status);
    status.list_needs("--stack s", "")
}

#[test]
fn the_text_has_each_part_of_the_stack() {
    let mut status = quiet();
    assert_eq!(status.list_needs("--stack s", ""), Vec::<String>::new());
    expect![[r#"
        Stack ecr-warden: UPDATE_COMPLETE

        REPOSITORY      TAGS        CLEANUP  LAST SWEEP            RESULT
        infrastructure  quarantine  archive  2027-01-15T08:00:00Z  60 images examined, 2 removed

        FUNCTION           STATE   DEPLOYED                      CODE
        ImagePushFunction  Active  2027-01-01T00:00:00.000+0000  abcdefghijkl

        ALARM              STATE  SINCE
        FailedEventsAlarm  OK     2027-01-01T00:00:00Z

        QUEUE              WAITING  IN FLIGHT
        FailedEvents       0        0
        InspectorFindings  0        0

        Nothing needs attention."#]]
    .assert_eq(&status.to_text());
    let waits = run(|run| {
        run.waiting = 5;
        run.stopped = Some("the first plan waits for a confirmation".to_owned());
    });
    status.repositories.push(repository("deployments", Some(waits), None));
    status.policy_version = Some("0123456789abcdef".to_owned());
    status.needs_attention = status.list_needs("--stack s", "");
    expect![[r#"
        Stack ecr-warden: UPDATE_COMPLETE
        Policy version: 0123456789abcdef

        REPOSITORY      TAGS        CLEANUP  LAST SWEEP            RESULT
        infrastructure  quarantine  archive  2027-01-15T08:00:00Z  60 images examined, 2 removed
        deployments     report      archive  2027-01-15T08:00:00Z  plan of 5 images waits for a confirmation

        FUNCTION           STATE   DEPLOYED                      CODE
        ImagePushFunction  Active  2027-01-01T00:00:00.000+0000  abcdefghijkl

        ALARM              STATE  SINCE
        FailedEventsAlarm  OK     2027-01-01T00:00:00Z

        QUEUE              WAITING  IN FLIGHT
        FailedEvents       0        0
        InspectorFindings  0        0

        Needs attention:
          the plan of deployments waits for a confirmation: ecr-warden confirm deployments --stack s"#]].assert_eq(&status.to_text());
}

#[test]
fn each_disorder_needs_a_person() {
    let check = |change: fn(&mut Status), expected: &str| {
        assert_eq!(needs(change), [expected]);
    };
    check(
        |status| "UPDATE_FAILED".clone_into(&mut status.status),
        "the stack has the status UPDATE_FAILED",
    );
    check(
        |status| "Failed".clone_into(&mut status.functions[0].state),
        "ImagePushFunction: Failed",
    );
    check(
        |status| {
            "ALARM".clone_into(&mut status.alarms[0].state);
            "1 datapoint was above 0".clone_into(&mut status.alarms[0].reason);
        },
        "FailedEventsAlarm is in the state ALARM: 1 datapoint was above 0",
    );
    check(
        |status| (status.queues[0].waiting, status.queues[0].in_flight) = (2, 1),
        "3 messages wait in FailedEvents: ecr-warden replay --queue FailedEvents --stack s",
    );
    check(
        |status| {
            let blind = run(|run| {
                run.examined = None;
                run.stopped = Some("an index cannot be read".to_owned());
            });
            status.repositories = vec![repository("deployments", Some(blind), None)];
        },
        "the last sweep of deployments stopped: an index cannot be read",
    );
    check(
        |status| {
            let waits = run(|run| run.waiting = 5);
            status.repositories = vec![repository("deployments", Some(waits), None)];
        },
        "the plan of deployments waits for a confirmation: ecr-warden confirm deployments --stack s",
    );
    let status = quiet();
    assert_eq!(status.list_needs("", "one rule"), ["the policy has warnings: one rule"]);
}

#[test]
fn a_quiet_state_needs_no_person() {
    let check = |change: fn(&mut Status)| assert_eq!(needs(change), Vec::<String>::new());
    check(|status| "UPDATE_ROLLBACK_COMPLETE".clone_into(&mut status.status));
    check(|status| "Inactive".clone_into(&mut status.functions[0].state));
    check(|status| "INSUFFICIENT_DATA".clone_into(&mut status.alarms[0].state));
    // Events that wait for their function are normal in a queue that feeds one.
    check(|status| status.queues[1].waiting = 7);
    check(|status| status.repositories = vec![repository("deployments", None, None)]);
}

#[test]
fn a_plan_that_was_confirmed_after_the_sweep_waits_no_more() {
    let state = |confirmed| {
        let waits = run(|run| run.waiting = 5);
        repository("deployments", Some(waits), confirmed)
    };
    assert!(state(None).is_waiting);
    assert!(state(Some("2027-01-15T07:59:59Z")).is_waiting);
    let confirmed = state(Some("2027-01-15T08:00:01Z"));
    assert!(!confirmed.is_waiting);
    assert_eq!(confirmed.result(), "plan of 5 images confirmed since");
}
