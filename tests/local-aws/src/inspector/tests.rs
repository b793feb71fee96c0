//! Tests of the answers of Inspector.

use super::*;

fn inspector() -> Inspector {
    let image = |n: u64| Coverage {
        repository: if n.is_multiple_of(2) { "even" } else { "odd/ly" }.to_owned(),
        digest: format!("sha256:{n:064}"),
        tags: vec![format!("web-1.{n}")],
        in_use_count: (n != 0).then_some(n % 5),
        last_in_use_at: Some(1_795_000_000),
        pulled_at: None,
        status: ("ACTIVE", "SUCCESSFUL"),
    };
    let workloads = vec![
        Workload {
            last_in_use: 1_795_000_000,
            running: 3,
            stopped: 1,
            of: Orchestrator::Eks {
                namespace: "shop".to_owned(),
                owners: vec![("web".to_owned(), "Deployment".to_owned())],
            },
        },
        Workload {
            last_in_use: 1_795_000_000,
            running: 1,
            stopped: 0,
            of: Orchestrator::Ecs {
                group: "service:web".to_owned(),
                task_definition_arn: "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1"
                    .to_owned(),
            },
        },
    ];
    let cluster = |n| Cluster {
        arn: format!("arn:aws:eks:us-east-1:123456789012:cluster/c{n}"),
        workloads: workloads.clone(),
    };
    let clusters = (0..3).map(cluster).collect();
    Inspector {
        images: (0..450).map(image).collect(),
        clusters: BTreeMap::from([(image_arn("even", "sha256:1"), clusters)]),
    }
}

fn ask(path: &str, input: &Value) -> (u16, Value) {
    let request = Request::post(path).body(Bytes::from(input.to_string())).unwrap();
    let response = inspector().handle(&request);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

/// All pages, by the digests' numbers.
fn listed(filter: &Value, size: Option<u64>) -> Vec<Vec<u64>> {
    let (mut pages, mut token) = (Vec::new(), Value::Null);
    loop {
        let input = json!({"filterCriteria": filter, "maxResults": size, "nextToken": token});
        let (status, output) = ask("/coverage/list", &input);
        assert_eq!(status, 200, "{output}");
        let page = output["coveredResources"].as_array().unwrap();
        let number = |resource: &Value| {
            let id = resource["resourceId"].as_str().unwrap();
            id.rsplit(':').next().unwrap().parse().unwrap()
        };
        pages.push(page.iter().map(number).collect());
        token = output["nextToken"].clone();
        if token.is_null() {
            return pages;
        }
    }
}

#[test]
fn coverage_comes_in_pages_of_200_and_of_what_is_asked_for() {
    let lengths = |pages: &[Vec<u64>]| pages.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(&listed(&json!({}), None)), [200, 200, 50]);
    let pages = listed(&json!({}), Some(150));
    assert_eq!(lengths(&pages), [150, 150, 150]);
    assert_eq!(pages.concat(), (0..450).collect::<Vec<_>>());
}

#[test]
fn filters_are_joined_and_their_values_are_alternatives() {
    let equals = |value: &str| json!({"comparison": "EQUALS", "value": value});
    let in_use = json!({
        "ecrRepositoryName": [equals("even")],
        "ecrImageInUseCount": [{"lowerInclusive": 1}],
        "resourceType": [equals("AWS_ECR_CONTAINER_IMAGE"), equals("AWS_ECR_REPOSITORY")],
        "scanStatusCode": [equals("ACTIVE")],
    });
    let found = listed(&in_use, None).concat();
    assert!(found.iter().all(|n| n % 2 == 0 && n % 5 != 0), "{found:?}");
    assert_eq!(found.len(), 180);
    let not = json!({"ecrRepositoryName": [{"comparison": "NOT_EQUALS", "value": "even"}]});
    assert_eq!(listed(&not, None).concat().len(), 225);
    let unused = json!({"ecrImageInUseCount": [{"lowerInclusive": 0, "upperInclusive": 0}]});
    assert!(!listed(&unused, None).concat().contains(&0), "not known is not zero");
    let inactive = json!({"scanStatusCode": [equals("INACTIVE")]});
    assert_eq!(listed(&inactive, None), [Vec::<u64>::new()]);
}

#[test]
fn a_request_that_the_model_does_not_allow_is_refused() {
    let filter = |filter: Value| json!({"filterCriteria": filter});
    for (path, input) in [
        ("/coverage/list", json!({"maxResults": 0})),
        ("/coverage/list", json!({"maxResults": 201})),
        ("/coverage/list", json!({"nextToken": "elsewhere"})),
        ("/coverage/list", filter(json!({"ecrRepositoryName": []}))),
        ("/coverage/list", filter(json!({"ecrRepositoryName": [{"value": "even"}]}))),
        ("/coverage/list", filter(json!({"ecrImageInUseCount": [{"lowerInclusive": "1"}]}))),
        ("/coverage/list", filter(json!({"lambdaFunctionName": [{}]}))),
        ("/cluster/get", json!({})),
        ("/cluster/get", json!({"filter": {"resourceId": "x"}})),
        ("/cluster/get", json!({"filter": {"resourceId": image_arn("a", "b")}, "maxResults": 101})),
    ] {
        let (status, output) = ask(path, &input);
        assert_eq!(
            (status, &output["reason"]),
            (400, &json!("FIELD_VALIDATION_FAILED")),
            "{input}"
        );
    }
    assert_eq!(ask("/coverage/statistics/list", &json!({})).0, 404);
}

#[test]
fn clusters_name_what_runs_the_image() {
    let resource = |digest: &str| json!({"resourceId": image_arn("even", digest)});
    let input = json!({"filter": resource("sha256:1"), "maxResults": 2});
    let (_, first) = ask("/cluster/get", &input);
    assert_eq!(first["cluster"].as_array().unwrap().len(), 2);
    let metadata = |n: usize| &first["cluster"][0]["clusterDetails"][n]["clusterMetadata"];
    assert_eq!(
        metadata(0)["awsEksMetadataDetails"],
        json!({"namespace": "shop", "workloadInfoList": [{"name": "web", "type": "Deployment"}]})
    );
    assert_eq!(metadata(1)["awsEcsMetadataDetails"]["detailsGroup"], "service:web");
    let next = json!({"filter": resource("sha256:1"), "nextToken": first["nextToken"]});
    let (_, last) = ask("/cluster/get", &next);
    assert_eq!(last["cluster"].as_array().unwrap().len(), 1);
    assert_eq!(last["nextToken"], Value::Null);
    assert_eq!(
        ask("/cluster/get", &json!({"filter": resource("sha256:2")})).1,
        json!({"cluster": []})
    );
}
