use expect_test::expect;
use local_aws::Fault;
use serde_json::{Value, json};

use crate::{
    ARN, Function, NOTHING_MADE, calls, delete, event, foreign, names, push, rolled_back, update,
    with,
};

#[tokio::test(start_paused = true)]
async fn the_guides_repositories_are_created_with_its_settings() {
    let function = Function::new().await;
    let answer = function.succeed(&event("create-infrastructure")).await;
    assert_eq!(answer["PhysicalResourceId"], ARN);
    assert_eq!(answer["Data"]["Arn"], ARN);
    assert_eq!(answer["Data"]["RepositoryName"], "infrastructure");
    assert_eq!(
        answer["Data"]["RepositoryUri"],
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/infrastructure"
    );
    assert_eq!(answer["Data"]["RegistryId"], "123456789012");
    assert_eq!(function.aws.take_changes(), ["CreateRepository", "PutLifecyclePolicy"]);
    function.succeed(&event("create-deployments")).await;

    let mut state = function.aws.state();
    let mut shown = |name: &str| {
        let found = &state.ecr().repositories[name];
        let settings =
            ["imageTagMutability", "imageScanningConfiguration", "encryptionConfiguration"]
                .map(|field| format!("{}", found.described[field]));
        format!(
            "{}\n{:?}\n{}\n",
            settings.join(" "),
            found.tags,
            found.lifecycle.as_deref().unwrap()
        )
    };
    expect![[r#"
        "IMMUTABLE" {"scanOnPush":true} {"encryptionType":"KMS","kmsKey":"arn:aws:kms:us-east-1:123456789012:key/aws-managed"}
        {"ecr-warden:on-delete": "retain", "ecr-warden:owner": "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3/InfrastructureRepository"}
        {"rules":[{"rulePriority":1,"description":"Expire images 90 days after they were archived","selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}
        "MUTABLE" {"scanOnPush":true} {"encryptionType":"KMS","kmsKey":"arn:aws:kms:us-east-1:123456789012:key/aws-managed"}
        {"ecr-warden:on-delete": "retain", "ecr-warden:owner": "arn:aws:cloudformation:us-east-1:123456789012:stack/warden/5f2c1a30-c8e1-11f0-9d2e-0affd1f0a1b3/DeploymentsRepository"}
        {"rules":[{"rulePriority":1,"description":"Expire images 90 days after they were archived","selection":{"tagStatus":"any","storageClass":"archive","countType":"sinceImageTransitioned","countUnit":"days","countNumber":90},"action":{"type":"expire"}}]}
    "#]].assert_eq(&(shown("infrastructure") + &shown("deployments")));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_create_gives_the_same_answer_and_changes_nothing() {
    // See case P37 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    let first = function.succeed(&event("create-infrastructure")).await;
    let _ = function.aws.take_changes();
    assert_eq!(function.succeed(&event("create-infrastructure")).await, first);
    assert!(function.aws.take_changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_create_continues_from_any_point() {
    // See case P37 in docs/contributing/prior-art.md.
    for (operation, fault) in [
        ("CreateRepository", Fault::ResetAfter),
        ("CreateRepository", Fault::ResetBefore),
        ("PutLifecyclePolicy", Fault::Error(400, "AccessDeniedException")),
        ("PutLifecyclePolicy", Fault::ResetAfter),
        ("DescribeRepositories", Fault::Error(500, "ServerException")),
    ] {
        let whole = Function::new().await;
        let expected = whole.succeed(&event("create-infrastructure")).await;
        let function = Function::new().await;
        function.aws.fault(operation, 0, fault);
        let _ = function.answer(&event("create-infrastructure")).await;
        function.aws.heal();
        assert_eq!(
            function.succeed(&event("create-infrastructure")).await,
            expected,
            "{operation}"
        );
        let settings =
            |function: &Function| format!("{:?}", function.aws.state().ecr().repositories);
        assert_eq!(settings(&function), settings(&whole), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_was_lost_succeeds_within_the_request() {
    let function = Function::new().await;
    function.aws.fault("CreateRepository", 1, Fault::ResetAfter);
    function.succeed(&event("create-infrastructure")).await;
}

#[tokio::test(start_paused = true)]
async fn an_existing_repository_fails_the_creation_and_does_not_change() {
    // See case P29 in docs/contributing/prior-art.md.
    let mut reasons = String::new();
    for owner in
        [None, Some("arn:aws:cloudformation:us-east-1:123456789012:stack/other/1/Repository")]
    {
        let function = Function::new().await;
        {
            foreign(&function, "infrastructure");
            let mut state = function.aws.state();
            let repository = state.ecr().repository("infrastructure").unwrap();
            repository
                .tags
                .extend(owner.map(|owner| ("ecr-warden:owner".to_owned(), owner.to_owned())));
        }
        let request = event("create-infrastructure");
        let answer = function.answer(&request).await;
        assert_eq!(answer["PhysicalResourceId"], NOTHING_MADE);
        reasons += &format!("{}\n", answer["Reason"].as_str().unwrap());

        function
            .succeed(&with(
                delete(&request, &answer),
                "ResourceProperties.OnDelete",
                "delete-with-images",
            ))
            .await;
        assert!(function.aws.take_changes().is_empty());
        // The same if CloudFormation has the ARN as the physical ID, as after a Create that timed out.
        let by_arn = with(delete(&request, &answer), "PhysicalResourceId", ARN);
        function.succeed(&with(by_arn, "ResourceProperties.OnDelete", "delete-with-images")).await;
        assert!(function.aws.take_changes().is_empty());
    }
    expect![[r#"
        repository infrastructure exists already and was not created by ECR Warden. Nothing was changed. Set OnExisting to adopt to govern this repository, or choose another RepositoryName
        repository infrastructure exists already and belongs to arn:aws:cloudformation:us-east-1:123456789012:stack/other/1/Repository. Nothing was changed. Set OnExisting to adopt to govern this repository, or choose another RepositoryName
    "#]].assert_eq(&reasons);
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_only_settings_that_differ() {
    let function = Function::new().await;
    function.succeed(&event("create-infrastructure")).await;
    let _ = function.aws.take_changes();
    let answer = function.succeed(&event("update-infrastructure")).await;
    assert_eq!(answer["PhysicalResourceId"], ARN);
    let changes = function.aws.take_changes();
    assert_eq!(changes, ["SetRepositoryPolicy", "TagResource", "PutImageScanningConfiguration"]);
    function.succeed(&event("update-infrastructure")).await;
    assert!(function.aws.take_changes().is_empty(), "what was applied is not applied again");

    // The opposite change removes the tags again.
    function.succeed(&rolled_back(&event("update-infrastructure"))).await;
    let changes = function.aws.take_changes();
    assert_eq!(
        changes,
        ["DeleteRepositoryPolicy", "UntagResource", "PutImageScanningConfiguration"]
    );
}

#[tokio::test(start_paused = true)]
async fn mutability_and_its_exclusions_are_updated_in_place() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let _ = function.aws.take_changes();
    let request = update(
        &created,
        &answer["PhysicalResourceId"],
        "ImageTagMutability",
        "IMMUTABLE_WITH_EXCLUSION",
    );
    let request = with(
        request,
        "ResourceProperties.ImageTagMutabilityExclusionFilters",
        json!(["latest", "dev-*"]),
    );
    function.succeed(&request).await;
    assert_eq!(function.aws.take_changes(), ["PutImageTagMutability"]);
    // The order of the filters does not count.
    let turned = with(
        request,
        "ResourceProperties.ImageTagMutabilityExclusionFilters",
        json!(["dev-*", "latest"]),
    );
    function.succeed(&turned).await;
    assert_eq!(function.aws.take_changes(), [""; 0]);
    let mut state = function.aws.state();
    let described = &state.ecr().repositories["infrastructure"].described;
    assert_eq!(described["imageTagMutability"], "IMMUTABLE_WITH_EXCLUSION");
    assert_eq!(
        described["imageTagMutabilityExclusionFilters"],
        json!([{"filterType": "WILDCARD", "filter": "dev-*"}, {"filterType": "WILDCARD", "filter": "latest"}])
    );
}

#[tokio::test(start_paused = true)]
async fn any_update_corrects_drift_even_if_the_repository_was_deleted() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let request = update(&created, &answer["PhysicalResourceId"], "LifecycleImpactLimit", "51");
    {
        let mut state = function.aws.state();
        let repository = state.ecr().repositories.get_mut("infrastructure").unwrap();
        repository.described.insert("imageTagMutability".to_owned(), "MUTABLE".into());
        repository.lifecycle = None;
    }
    let _ = function.aws.take_changes();
    function.succeed(&request).await;
    assert_eq!(function.aws.take_changes(), ["PutImageTagMutability", "PutLifecyclePolicy"]);

    function.aws.state().ecr().repositories.clear();
    function.succeed(&request).await;
    assert_eq!(function.aws.take_changes(), ["CreateRepository", "PutLifecyclePolicy"]);
}

#[tokio::test(start_paused = true)]
async fn statements_of_others_in_the_repository_policy_are_kept() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let answer = function.succeed(&created).await;
    let theirs = json!({"Sid": "Audit", "Effect": "Allow", "Principal": "*", "Action": "ecr:DescribeImages"});
    let policy = json!({"Version": "2012-10-17", "Statement": [theirs]});
    function.aws.state().ecr().repositories.get_mut("infrastructure").unwrap().policy =
        Some(policy.to_string());
    let shared = update(
        &created,
        &answer["PhysicalResourceId"],
        "PullPrincipals",
        json!(["210987654321", "o-abcdefghij"]),
    );
    function.succeed(&shared).await;
    let in_force = || -> Value {
        let mut state = function.aws.state();
        serde_json::from_str(state.ecr().repositories["infrastructure"].policy.as_deref().unwrap())
            .unwrap()
    };
    let statements = in_force()["Statement"].clone();
    assert_eq!(statements[0], theirs);
    assert_eq!(statements[1]["Principal"], json!({"AWS": ["arn:aws:iam::210987654321:root"]}));
    assert_eq!(
        statements[2]["Condition"],
        json!({"StringEquals": {"aws:PrincipalOrgID": ["o-abcdefghij"]}})
    );
    function.succeed(&rolled_back(&shared)).await;
    assert_eq!(in_force(), policy);
}

#[tokio::test(start_paused = true)]
async fn a_rename_creates_another_repository_and_on_delete_decides_about_the_old_repository() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let old = function.succeed(&created).await;
    push(&function, "litellm-v1.0.0");
    let rename = update(&created, &old["PhysicalResourceId"], "RepositoryName", "platform");
    let new = function.succeed(&rename).await;
    assert_eq!(new["PhysicalResourceId"], "arn:aws:ecr:us-east-1:123456789012:repository/platform");
    assert_eq!(function.succeed(&rename).await, new, "delivered twice");

    // CloudFormation deletes the old repository with its old properties.
    function.succeed(&delete(&created, &old)).await;
    assert_eq!(names(&function), ["infrastructure", "platform"], "OnDelete retain, with an image");
    let with_images = with(created, "ResourceProperties.OnDelete", "delete-with-images");
    function.succeed(&with(with_images.clone(), "RequestType", "Create")).await;
    function.succeed(&delete(&with_images, &old)).await;
    assert_eq!(names(&function), ["platform"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_rename_leaves_nothing_behind_after_its_roll_back() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let old = function.succeed(&created).await;
    let rename = update(&created, &old["PhysicalResourceId"], "RepositoryName", "platform");
    function.aws.fault("PutLifecyclePolicy", 1, Fault::Error(400, "InvalidParameterException"));
    let answer = function.answer(&rename).await;
    assert_eq!(
        (&answer["Status"], &answer["PhysicalResourceId"]),
        (&"FAILED".into(), &old["PhysicalResourceId"])
    );
    assert_eq!(names(&function), ["infrastructure", "platform"]);
    // A failed removal is no failure of the request, because the roll-back itself is done.
    function.aws.fault("DeleteRepository", 1, Fault::Error(400, "RepositoryNotEmptyException"));
    function.succeed(&rolled_back(&rename)).await;
    let back = function.succeed(&rolled_back(&rename)).await;
    assert_eq!(back["PhysicalResourceId"], old["PhysicalResourceId"]);
    assert_eq!(names(&function), ["infrastructure"]);
}

#[tokio::test(start_paused = true)]
async fn a_rename_onto_somebody_elses_repository_is_refused_and_rolls_back() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let old = function.succeed(&created).await;
    foreign(&function, "platform");
    let rename = update(&created, &old["PhysicalResourceId"], "RepositoryName", "platform");
    let _ = function.aws.take_changes();
    expect!["repository platform exists already and was not created by ECR Warden. Nothing was changed. Set OnExisting to adopt to govern this repository, or choose another RepositoryName"].assert_eq(&function.fail(&rename).await);
    function.succeed(&rolled_back(&rename)).await;
    assert!(function.aws.take_changes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_encryption_is_refused_and_nothing_changes() {
    // See case P35 in docs/contributing/prior-art.md.
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let with_key = with(event("create-infrastructure"), "ResourceProperties.KmsKey", key);
    let mut reasons = String::new();
    for (created, property, value) in [
        (event("create-infrastructure"), "EncryptionType", json!("AES256")),
        (event("create-infrastructure"), "KmsKey", json!(key)),
        (with_key.clone(), "KmsKey", json!(key.replace('4', "5"))),
        (with_key, "KmsKey", Value::Null),
    ] {
        let function = Function::new().await;
        let answer = function.succeed(&created).await;
        let _ = function.aws.take_changes();
        let change = update(&created, &answer["PhysicalResourceId"], property, value);
        reasons += &format!("{}\n", function.fail(&change).await);
        function.succeed(&rolled_back(&change)).await;
        assert!(function.aws.take_changes().is_empty());
    }
    expect![[r#"
        repository infrastructure is encrypted with KMS (arn:aws:kms:us-east-1:123456789012:key/aws-managed), and ECR cannot change that to AES256. Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images
        repository infrastructure is encrypted with KMS (arn:aws:kms:us-east-1:123456789012:key/aws-managed), and ECR cannot change that to KMS (arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab). Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images
        repository infrastructure is encrypted with KMS (arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab), and ECR cannot change that to KMS (arn:aws:kms:us-east-1:123556789012:key/1235abcd-12ab-35cd-56ef-1235567890ab). Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images
        repository infrastructure is encrypted with KMS (arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab), and ECR cannot change that to KMS. Nothing was changed. Keep EncryptionType and KmsKey, or choose another RepositoryName and copy the images
    "#]].assert_eq(&reasons);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_adopted_without_being_named_can_be_named_and_rolled_back() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let function = Function::new().await;
    let input = json!({
        "repositoryName": "infrastructure",
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": key},
    });
    function.aws.by_hand("CreateRepository", &input).unwrap();
    let request = with(event("create-infrastructure"), "ResourceProperties.OnExisting", "adopt");
    let answer = function.succeed(&request).await;
    let named = update(&request, &answer["PhysicalResourceId"], "KmsKey", key);
    function.succeed(&named).await;
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&rolled_back(&named)).await;
}

#[tokio::test(start_paused = true)]
async fn a_rename_onto_an_adopted_repository_keeps_its_tags() {
    let function = Function::new().await;
    let created = event("create-infrastructure");
    let tagged = with(created, "ResourceProperties.Tags", json!({"team": "platform"}));
    let answer = function.succeed(&tagged).await;
    let tags = [("team".to_owned(), "data".to_owned())];
    foreign(&function, "platform");
    function.aws.state().ecr().repository("platform").unwrap().tags.extend(tags);
    let rename = update(&tagged, &answer["PhysicalResourceId"], "RepositoryName", "platform");
    let rename = with(rename, "ResourceProperties.Tags", Value::Null);
    let rename = with(rename, "ResourceProperties.EncryptionType", "AES256");
    function.succeed(&with(rename, "ResourceProperties.OnExisting", "adopt")).await;
    assert_eq!(function.aws.state().ecr().repositories["platform"].tags["team"], "data");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_rights_that_take_effect_late_and_reports_a_lasting_denial() {
    let function = Function::new().await;
    for nth in 1..=3 {
        function.aws.fault("CreateRepository", nth, Fault::Error(400, "AccessDeniedException"));
    }
    function.succeed(&event("create-infrastructure")).await;
    function.aws.fault("CreateRepository", 0, Fault::Error(400, "AccessDeniedException"));
    expect!["repository deployments: create the repository with MUTABLE tags, scanned on push, encrypted with KMS: AccessDeniedException: made to fail"].assert_eq(&function.fail(&event("create-deployments")).await);
}

#[tokio::test(start_paused = true)]
async fn a_roll_back_to_a_repository_that_another_adopted_since_is_not_refused() {
    let function = Function::new().await;
    foreign(&function, "infrastructure");
    let request =
        with(event("create-infrastructure"), "ResourceProperties.EncryptionType", "AES256");
    let mut back = update(&request, &json!(format!("{ARN}-renamed")), "LifecycleImpactLimit", "51");
    back["OldResourceProperties"]["RepositoryName"] = "infrastructure-renamed".into();
    function.fail(&back).await;
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    let _ = function.aws.take_changes();
    function.succeed(&back).await;
    assert!(function.aws.take_changes().is_empty(), "the repository stays somebody else's");
}

#[tokio::test(start_paused = true)]
async fn on_existing_decides_about_an_update_of_a_repository_without_a_tag_of_the_stack() {
    let function = Function::new().await;
    let created =
        with(event("create-infrastructure"), "ResourceProperties.EncryptionType", "AES256");
    let answer = function.succeed(&created).await;
    function.aws.state().ecr().repositories.clear();
    foreign(&function, "infrastructure");
    let _ = function.aws.take_changes();
    let change = update(&created, &answer["PhysicalResourceId"], "LifecycleTagCount", "30");
    function.fail(&change).await;
    function.set_stack_status("UPDATE_ROLLBACK_IN_PROGRESS");
    function.succeed(&rolled_back(&change)).await;
    assert!(function.aws.take_changes().is_empty(), "nor does the roll-back take it over");

    function.set_stack_status("UPDATE_IN_PROGRESS");
    let adopting = with(change, "ResourceProperties.OnExisting", "adopt");
    function.succeed(&adopting).await;
    // From now on, the tag of the adoption is enough.
    let next = update(&created, &answer["PhysicalResourceId"], "LifecycleTagCount", "31");
    function.succeed(&next).await;
}

#[tokio::test(start_paused = true)]
async fn all_invalid_properties_are_named_at_once_and_nothing_is_called() {
    // See cases P11 and P34 in docs/contributing/prior-art.md.
    let function = Function::new().await;
    expect![[r#"RepositoryName: expected 2 to 256 lower-case letters and digits, joined by '.', '_', '-' and '/', got "Infrastructure"; LifecycleTagCount: expected a whole number from 1 to 100000, got "0"; LifecycleUntaggedDays: this required property is missing; LifecycleUntagedDays: unknown property; the nearest known name is LifecycleUntaggedDays"#]].assert_eq(&function.fail(&event("create-misspelt")).await);
    let good = event("create-infrastructure");
    let mut reasons = String::new();
    for (path, value) in [
        ("ResourceProperties", Value::Null),
        ("ResourceProperties.RepositoryName", Value::Null),
        ("ResourceProperties.RepositoryName", json!(["a"])),
        ("ResourceProperties.ImageTagMutability", json!("immutable")),
        ("ResourceProperties.ImageTagMutabilityExclusionFilters", json!(["x"])),
        ("ResourceProperties.ImageTagMutability", json!("MUTABLE_WITH_EXCLUSION")),
        ("ResourceProperties.ScanOnPush", json!("yes")),
        ("ResourceProperties.EncryptionType", json!("aws")),
        ("ResourceProperties.KmsKey", json!("alias/x")),
        ("ResourceProperties.KmsKey", json!("arn:aws:kms:eu-west-1:123456789012:key/1")),
        ("ResourceProperties.LifecycleTagPrefixes", json!("v v")),
        ("ResourceProperties.LifecycleScope", json!("all")),
        ("ResourceProperties.LifecycleImpactLimit", json!("-1")),
        ("ResourceProperties.OnExisting", json!("take")),
        ("ResourceProperties.OnDelete", json!("keep")),
        ("ResourceProperties.PullPrincipals", json!(["12345"])),
        ("ResourceProperties.Tags", json!({"ecr-warden:owner": "me"})),
        ("ResourceProperties.Tags", json!(["a"])),
        ("ResourceProperties.PolicyVersion", json!("1")),
        ("ResourceProperties.PolicyVersoin", json!("1")),
        ("StackId", json!("warden")),
        ("ResourceType", json!("Custom::EcrRepositry")),
        ("RequestType", json!("create")),
    ] {
        reasons += &format!("{}\n", function.fail(&with(good.clone(), path, value)).await);
    }
    expect![[r#"
        ResourceProperties: missing; expected an object
        RepositoryName: this required property is missing
        RepositoryName: expected a single value
        ImageTagMutability: expected MUTABLE or IMMUTABLE or MUTABLE_WITH_EXCLUSION or IMMUTABLE_WITH_EXCLUSION, got "immutable"
        ImageTagMutabilityExclusionFilters: ImageTagMutability is IMMUTABLE, which allows no exclusions; leave the filters empty, or use IMMUTABLE_WITH_EXCLUSION
        ImageTagMutabilityExclusionFilters: expected 1 to 5 wildcards for MUTABLE_WITH_EXCLUSION, got 0
        ScanOnPush: expected true or false, got "yes"
        EncryptionType: expected AES256 or KMS or KMS_DSSE, got "aws"
        KmsKey: expected the ARN of a KMS key (not of an alias), got "alias/x"
        KmsKey: the key is in eu-west-1; expected a key in us-east-1
        LifecycleTagPrefixes: v is listed twice
        LifecycleScope: expected component or repository, got "all"
        LifecycleImpactLimit: expected a whole number from 0 to 100000, got "-1"
        OnExisting: expected fail or adopt, got "take"
        OnDelete: expected retain or delete-if-empty or delete-with-images, got "keep"
        PullPrincipals[0]: expected an account ID (12 digits), an organization ID (o-…), an organizational unit with its organization (o-…/ou-…, because another organization may have a unit with the same ID), the ARN of an IAM role, or lambda.amazonaws.com, got "12345"
        Tags: the key "ecr-warden:owner" is reserved
        Tags: expected a map of strings
        PolicyVersion: expected 16 lower-case hexadecimal digits, got "1"
        PolicyVersoin: unknown property; the nearest known name is PolicyVersion
        StackId: expected the ARN of a stack, got "warden"
        ResourceType: "Custom::EcrRepositry" is unknown; the nearest known type is Custom::EcrRepository
        RequestType: expected Create, Update or Delete, got "create"
    "#]].assert_eq(&reasons);
    assert_eq!(calls(&function), 0);
}
