//! `DescribeImages` and `ListImages`: filters and pages.

use local_aws::LocalAws;
use serde_json::{Value, json};

use crate::content::{image, transition};
use crate::{aws, ok, pages, refused, with};

/// A repository with a tagged and an untagged image of each class.
fn one_of_each() -> (LocalAws, [String; 6]) {
    let aws = aws();
    let images = ["a", "", "b", "", "c", ""].map(|tag| {
        let tags: &[&str] = if tag.is_empty() { &[] } else { &[tag] };
        image(&aws, tags)
    });
    for image in &images[2..] {
        transition(&aws, image, "ARCHIVE");
    }
    for image in &images[4..] {
        transition(&aws, image, "STANDARD");
    }
    (aws, images)
}

// Model: DescribeImagesFilter, ListImagesFilter, ImageStatusFilter
#[test]
fn images_are_filtered_by_tags_and_status_and_active_ones_are_the_default() {
    let (aws, images) = one_of_each();
    let cases: [(Value, &[usize]); 10] = [
        (json!({}), &[0, 1]),
        (json!({"tagStatus": "ANY"}), &[0, 1]),
        (json!({"tagStatus": "TAGGED"}), &[0]),
        (json!({"tagStatus": "UNTAGGED"}), &[1]),
        (json!({"imageStatus": "ACTIVE"}), &[0, 1]),
        (json!({"imageStatus": "ARCHIVED"}), &[2, 3]),
        (json!({"imageStatus": "ARCHIVED", "tagStatus": "TAGGED"}), &[2]),
        (json!({"imageStatus": "ACTIVATING", "tagStatus": "UNTAGGED"}), &[5]),
        (json!({"imageStatus": "ANY"}), &[0, 1, 2, 3, 4, 5]),
        (json!({"imageStatus": "ANY", "tagStatus": "TAGGED"}), &[0, 2, 4]),
    ];
    for (filter, expected) in cases {
        let input = json!({"repositoryName": "app", "filter": filter});
        let mut expected: Vec<&str> = expected.iter().map(|n| images[*n].as_str()).collect();
        expected.sort_unstable();
        for (operation, list) in [("DescribeImages", "imageDetails"), ("ListImages", "imageIds")] {
            let found = ok(&aws, operation, input.clone());
            let found = found[list].as_array().unwrap().iter();
            let mut found: Vec<&str> =
                found.map(|image| image["imageDigest"].as_str().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{operation} {filter}");
        }
    }
}

// Model: ImageIdentifier
#[test]
fn a_list_has_an_entry_for_each_tag_and_one_for_an_untagged_image() {
    let aws = aws();
    let tagged = image(&aws, &["v1", "v2"]);
    let untagged = image(&aws, &[]);
    let listed = ok(&aws, "ListImages", json!({"repositoryName": "app"}));
    let listed = listed["imageIds"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for id in [
        json!({"imageDigest": tagged, "imageTag": "v1"}),
        json!({"imageDigest": tagged, "imageTag": "v2"}),
        json!({"imageDigest": untagged}),
    ] {
        assert!(listed.contains(&id), "{id}");
    }
}

// Model: DescribeImagesRequest, ListImagesRequest
#[test]
fn pages_have_at_most_as_many_as_asked_for_and_together_everything_once() {
    let aws = aws();
    let tags: Vec<String> = (0..7).map(|n| format!("v{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    for n in 0..3 {
        image(&aws, &[&format!("w{n}")]);
    }
    image(&aws, &tags);
    image(&aws, &[]);
    for (operation, list, all) in
        [("DescribeImages", "imageDetails", 5), ("ListImages", "imageIds", 11)]
    {
        let whole = ok(&aws, operation, json!({"repositoryName": "app"}));
        assert_eq!(whole.get("nextToken"), None);
        for most in 1..=all + 1 {
            let input = json!({"repositoryName": "app", "maxResults": most});
            let pages = pages(&aws, operation, &input, list);
            let (last, full) = pages.split_last().unwrap();
            assert!(full.iter().all(|page| page.len() == most), "{operation} {most}");
            assert!(!last.is_empty(), "{operation} {most}");
            assert_eq!(Value::from(pages.concat()), whole[list], "{operation} {most}");
        }
    }
}

// Model: DescribeImagesRequest, maxResults
#[test]
fn a_page_has_a_hundred_unless_asked_for_otherwise() {
    let aws = aws();
    for _ in 0..101 {
        image(&aws, &[]);
    }
    for (operation, list) in [("DescribeImages", "imageDetails"), ("ListImages", "imageIds")] {
        let pages = pages(&aws, operation, &json!({"repositoryName": "app"}), list);
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 1], "{operation}");
    }
}

// Model: DescribeImagesRequest, nextToken
#[test]
fn a_token_continues_after_an_image_that_was_deleted_meanwhile() {
    let aws = aws();
    for _ in 0..4 {
        image(&aws, &[]);
    }
    let input = json!({"repositoryName": "app", "maxResults": 2});
    let first = ok(&aws, "DescribeImages", input.clone());
    for image in first["imageDetails"].as_array().unwrap() {
        let id = json!({"imageDigest": image["imageDigest"]});
        ok(&aws, "BatchDeleteImage", json!({"repositoryName": "app", "imageIds": [id]}));
    }
    let next = ok(&aws, "DescribeImages", with(input, json!({"nextToken": first["nextToken"]})));
    assert_eq!(next["imageDetails"].as_array().unwrap().len(), 2);
    assert_eq!(next.get("nextToken"), None);
}

// Model: InvalidParameterException; ListImagesRequest, nextToken: an opaque identifier
#[test]
fn a_token_that_was_not_given_out_is_refused() {
    let aws = aws();
    for operation in ["DescribeImages", "ListImages"] {
        let input = json!({"repositoryName": "app", "nextToken": "not a token"});
        assert_eq!(refused(&aws, operation, input), "InvalidParameterException", "{operation}");
    }
}

// Model: DescribeImagesRequest, maxResults and nextToken
#[test]
fn images_that_are_named_come_without_pages() {
    let aws = aws();
    image(&aws, &["v1", "v2"]);
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v2"}]});
    let found = ok(&aws, "DescribeImages", ids.clone());
    assert_eq!(found["imageDetails"][0]["imageTags"], json!(["v1", "v2"]));
    for page in [json!({"maxResults": 10}), json!({"nextToken": "dG9rZW4="})] {
        let input = with(ids.clone(), page);
        assert_eq!(refused(&aws, "DescribeImages", input), "InvalidParameterException");
    }
}

// Model: ImageNotFoundException
#[test]
fn a_missing_named_image_fails_the_whole_call() {
    let aws = aws();
    let digest = image(&aws, &["v1"]);
    let other = image(&aws, &["v2"]);
    for id in [
        json!({"imageTag": "gone"}),
        json!({"imageDigest": format!("sha256:{}", "0".repeat(64))}),
        json!({"imageDigest": other, "imageTag": "v1"}),
    ] {
        let input = json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1"}, id]});
        assert_eq!(refused(&aws, "DescribeImages", input), "ImageNotFoundException", "{id}");
    }
    let both =
        json!({"repositoryName": "app", "imageIds": [{"imageTag": "v1", "imageDigest": digest}]});
    ok(&aws, "DescribeImages", both);
}
