//! Properties of custom resources: they are accepted as a whole, or refused with a reason that names a
//! property and fits into an answer.

use custom_resource::governance;
use custom_resource::push_pull;
use custom_resource::repository::properties::{Desired, Previous};
use custom_resource::request::Request;
use custom_resource::response::Answer;
use serde_json::Value;
use warden_core::policy::Governance;

/// Runs the target on one input.
pub fn run(bytes: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Value>(bytes) else { return };
    let Some(request) = Request::read(&payload) else { return };
    let _ = request.kind();
    let Ok(stack) = request.stack() else { return };
    let _ = Previous::read(&request.old_properties);

    let (properties, owner) = (&request.properties, request.owner());
    let read = [
        Desired::read(properties, &stack, owner.clone()).map(|_| ()),
        governance::desired(properties).map(|governance| {
            // Functions read the normal form of an accepted policy.
            assert_eq!(Governance::parse(&governance.normalised()).as_ref(), Ok(&governance));
        }),
        push_pull::Desired::read(properties, &stack, "PushPullPolicy", owner).map(|_| ()),
    ];
    for refused in read.into_iter().filter_map(Result::err) {
        assert!(
            refused
                .0
                .iter()
                .all(|problem| !problem.property.is_empty() && !problem.message.is_empty())
        );
        let reason = refused.to_string();
        let answer = Answer::failed(&request, "id".to_owned(), &reason);
        // An answer contains the IDs of the request, which CloudFormation limits.
        let sent = [&request.stack_id, &request.request_id, &request.logical_resource_id];
        if sent.iter().map(|text| text.len()).sum::<usize>() < 600 {
            assert!(answer.body().len() <= 4_096, "{} bytes", answer.body().len());
        }
        assert!(serde_json::from_str::<Value>(&answer.body()).is_ok());
    }
}
