use governance::lifecycle::document;
use governance::policy::Policy;
use local_aws::ecr::lifecycle::validate;
use proptest::prelude::*;
use serde_json::json;

proptest! {
    #[test]
    fn every_lifecycle_document_is_valid_by_the_grammar_of_ecr(
        count in 1..=100_000_u32,
        days in 1..=3_650_u32,
        prefixes in prop::collection::btree_set("[a-zA-Z0-9_][a-z0-9._-]{0,7}", 0..=48),
        scope in prop::sample::select(vec!["component", "repository"]),
    ) {
        let properties = json!({
            "RepositoryName": "infrastructure",
            "LifecycleTagCount": count,
            "LifecycleUntaggedDays": days,
            "LifecycleTagPrefixes": prefixes,
            "LifecycleScope": scope,
            "Governance": {
                "Tags": {"Grammar": "v{semver}", "Enforcement": "report"},
                "Retention": {"Enforcement": "report"},
            },
        });
        let policy = Policy::parse(&properties.to_string()).unwrap();
        prop_assert!(validate(&document(&policy)).is_ok(), "{}", document(&policy));
    }
}
