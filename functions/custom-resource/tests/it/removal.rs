use local_aws::Fault;
use serde_json::{Value, json};

use crate::{
    ARN, Function, NOTHING_MADE, delete, event, foreign, names, push, rolled_back, update, with,
};

#[tokio::test(start_paused = true)]
async fn an_adopted_repository_is_governed_and_never_deleted() {
    // See case P39 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    foreign(&function, "infrastructure");
    let team = ("team".to_owned(), "data".to_owned());
    function.aws.state().ecr().repository("infrastructure").unwrap().tags.extend([team]);
    let mut request =
        with(event("create-infrastructure"), "ResourceProperties.OnExisting", "adopt");
    request = with(request, "ResourceProperties.OnDelete", "delete-with-images");
    request = with(request, "ResourceProperties.EncryptionType", "AES256");
    let answer = function.succeed(&request).await;
    assert_eq!(
        function.aws.take_changes(),
        ["TagResource", "PutImageTagMutability", "PutImageScanningConfiguration"]
    );
    let tags = function.aws.state().ecr().repositories["infrastructure"].tags.clone();
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["ecr-warden:adopted-by", "team"]);
    // A creation without OnExisting=adopt does not adopt the repository, although it was adopted before.
    function.fail(&with(request.clone(), "ResourceProperties.OnExisting", "fail")).await;
    // The roll-back of a rename returns to the adopted repository without OnExisting=adopt.
    let mut back = update(&request, &answer["PhysicalResourceId"], "OnExisting", "fail");
    back["PhysicalResourceId"] = format!("{ARN}-renamed").into();
    function.succeed(&back).await;
    assert!(function.aws.take_changes().is_empty());

    function.succeed(&delete(&request, &answer)).await;
    assert!(function.aws.take_changes().is_empty(), "the stack did not create the repository");
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_another_resource_adopted_outlives_the_one_that_made_it() {
    // Two resources exchange their names, and each gets a Delete for the repository of the other.
    let function = Function::new().await;
    let (one, other) = (event("create-infrastructure"), event("create-deployments"));
    let adopting = |request, name: &str| {
        let request = with(request, "ResourceProperties.OnExisting", "adopt");
        let request = with(request, "ResourceProperties.OnDelete", "delete-with-images");
        with(request, "ResourceProperties.RepositoryName", name)
    };
    let (first, second) = (function.succeed(&one).await, function.succeed(&other).await);
    let swap = update(&one, &first["PhysicalResourceId"], "LifecycleImpactLimit", "51");
    function.succeed(&adopting(swap, "deployments")).await;
    let swap = update(&other, &second["PhysicalResourceId"], "LifecycleImpactLimit", "51");
    function.succeed(&adopting(swap, "infrastructure")).await;
    for (request, answer) in [(&one, &first), (&other, &second)] {
        let request = delete(request, answer);
        function.succeed(&with(request, "ResourceProperties.OnDelete", "delete-with-images")).await;
    }
    assert_eq!(names(&function), ["deployments", "infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn the_roll_back_of_a_creation_never_deletes_images_that_existed_before() {
    // The repository was retained and is taken over with `delete-with-images`, and then another resource
    // fails.
    for (status, blind, stays) in [
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", false, true),
        ("ROLLBACK_IN_PROGRESS", false, true),
        ("DELETE_IN_PROGRESS", true, true),
        ("DELETE_IN_PROGRESS", false, false),
    ] {
        let function = Function::new().await;
        let request = event("create-infrastructure");
        let request = with(request, "ResourceProperties.OnDelete", "delete-with-images");
        function.succeed(&request).await;
        push(&function, "litellm-v1.0.0");
        let answer = function.succeed(&request).await;
        function.set_stack_status(status);
        if blind {
            function.aws.fault("DescribeStacks", 0, Fault::Error(500, "InternalFailure"));
        }
        function.succeed(&delete(&request, &answer)).await;
        assert_eq!(!names(&function).is_empty(), stays, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_leaves_nothing_and_the_next_creation_succeeds() {
    // See case P40 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    let request = event("create-infrastructure");
    function.aws.fault("PutLifecyclePolicy", 1, Fault::Error(400, "InvalidParameterException"));
    let answer = function.answer(&request).await;
    assert_eq!((&answer["Status"], &answer["PhysicalResourceId"]), (&"FAILED".into(), &ARN.into()));
    function.succeed(&delete(&request, &answer)).await;
    assert!(names(&function).is_empty());
    function.succeed(&request).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_on_a_retained_repository_never_deletes_its_images() {
    let function = Function::new().await;
    let request =
        with(event("create-infrastructure"), "ResourceProperties.OnDelete", "delete-with-images");
    function.succeed(&request).await;
    push(&function, "litellm-v1.0.0");
    // The resource left the template, its repository was retained, and the resource returns with a mistake.
    let mistaken = with(request.clone(), "ResourceProperties.EncryptionType", "AES256");
    let answer = function.answer(&mistaken).await;
    assert_eq!(
        (&answer["Status"], &answer["PhysicalResourceId"]),
        (&"FAILED".into(), &NOTHING_MADE.into())
    );
    function.succeed(&delete(&mistaken, &answer)).await;
    assert_eq!(names(&function), ["infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn a_repository_with_images_is_deleted_only_with_delete_with_images() {
    // The property of the Delete never overrides a stricter value of the last accepted request.
    for (stored, on_delete, archived, stays) in [
        ("retain", "retain", false, true),
        ("retain", "retain", true, true),
        ("delete-if-empty", "delete-if-empty", false, true),
        ("delete-with-images", "delete-with-images", false, false),
        ("delete-with-images", "delete-with-images", true, false),
        ("delete-with-images", "retain", false, true),
        ("delete-with-images", "delete-everything", false, true),
        ("retain", "delete-with-images", false, true),
        ("delete-if-empty", "delete-with-images", true, true),
    ] {
        let function = Function::new().await;
        let request = with(event("create-infrastructure"), "ResourceProperties.OnDelete", stored);
        let answer = function.succeed(&request).await;
        let digest = push(&function, "litellm-v1.0.0");
        if archived {
            let input = json!({"repositoryName": "infrastructure", "imageId": {"imageDigest": digest}, "targetStorageClass": "ARCHIVE"});
            function.aws.by_hand("UpdateImageStorageClass", &input).unwrap();
        }
        let request = delete(&event("create-infrastructure"), &answer);
        function.succeed(&with(request.clone(), "ResourceProperties.OnDelete", on_delete)).await;
        assert_eq!(!names(&function).is_empty(), stays, "{stored}, {on_delete}");
    }
    let function = Function::new().await;
    function.succeed(&event("create-infrastructure")).await;
    function.succeed(&event("delete-infrastructure")).await;
    assert!(names(&function).is_empty());
    function.succeed(&event("delete-infrastructure")).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_accepted_request_decides_whether_images_are_deleted() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    push(&function, "litellm-v1.0.0");
    let stored = |function: &Function| {
        let state = &mut function.aws.state();
        state.ecr().repositories["infrastructure"].tags["ecr-warden:on-delete"].clone()
    };
    let change = update(&created, &answer["PhysicalResourceId"], "OnDelete", "delete-with-images");
    // A refused update stores nothing.
    let refused = with(change.clone(), "ResourceProperties.EncryptionType", "AES256");
    function.fail(&refused).await;
    assert_eq!(stored(&function), "retain");
    function.succeed(&change).await;
    assert_eq!(stored(&function), "delete-with-images");
    // A roll-back restores the value that was stored before.
    function.succeed(&rolled_back(&change)).await;
    assert_eq!(stored(&function), "retain");
    let delete = delete(&change, &answer);
    function.succeed(&delete).await;
    assert_eq!(names(&function), ["infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_arrives_during_a_delete_keeps_the_repository() {
    let function = Function::new().await;
    function.succeed(&event("create-infrastructure")).await;
    function.aws.fault("DeleteRepository", 1, Fault::Error(400, "RepositoryNotEmptyException"));
    function.succeed(&event("delete-infrastructure")).await;
    assert_eq!(names(&function), ["infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_of_an_unknown_physical_id_changes_nothing() {
    // See case P33 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    function.succeed(&event("delete-never-made")).await;
    foreign(&function, "infrastructure");
    for id in [
        "warden-InfrastructureRepository-1ABCDEF",
        "arn:aws:ecr:eu-west-1:123456789012:repository/infrastructure",
        "arn:aws:ecr:us-east-1:999999999999:repository/infrastructure",
        "arn:aws:s3:::bucket",
        "",
    ] {
        function.succeed(&with(event("delete-infrastructure"), "PhysicalResourceId", id)).await;
    }
    // An empty request changes nothing either.
    let mut bare = with(event("delete-infrastructure"), "ResourceProperties", Value::Null);
    bare = with(bare, "PhysicalResourceId", Value::Null);
    function.succeed(&bare).await;
    assert!(function.aws.take_changes().is_empty());
}
