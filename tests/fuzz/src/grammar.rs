//! Templates and tags that anybody writes: what is printed reads the same, a tag says one thing,
//! and what is suggested conforms. The input is a grammar, a line end, and a tag; or an event
//! of ECR, whose tag is judged by the guide's grammar.

use serde_json::Value;
use warden_core::grammar::{ConformingTag, Grammar, Template, default_channels};
use warden_core::image::{RepositoryName, Tag};

const GUIDE: &str = "{component}-v{semver} {component}-{channel} {component}-{sha}";

fn grammar(templates: &str) -> Option<Grammar> {
    let templates: Result<Vec<Template>, _> = templates.split(' ').map(str::parse).collect();
    Grammar::new(templates.ok()?, default_channels(), vec![])
}

/// Runs the target on one input. Bytes that are not UTF-8 are skipped.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let event: Option<Value> = serde_json::from_str(text).ok();
    let of_event = event.as_ref().and_then(|event| event["detail"]["image-tag"].as_str());
    let of_line = text.split_once('\n');
    let Some((templates, tag)) = of_event.map(|tag| (GUIDE, tag)).or(of_line) else { return };
    let Some(grammar) = grammar(templates) else { return };
    let printed = self::grammar(&grammar.to_string()).expect("what is printed reads");
    assert_eq!(printed, grammar);

    let Ok(tag) = tag.parse::<Tag>() else { return };
    let repository: RepositoryName = "infrastructure".parse().expect("a name");
    let said = grammar.match_tag(&repository, &tag);
    assert_eq!(printed.match_tag(&repository, &tag), said);
    let suggestion = grammar.suggest(&repository, &tag);
    assert!(said.is_none() || suggestion.is_none(), "what conforms needs no suggestion");
    if let Some(suggestion) = suggestion {
        assert!(grammar.match_tag(&repository, &suggestion).is_some(), "{suggestion}");
    }
    if let Some(ConformingTag { component, values, .. }) = said {
        let text = tag.as_str();
        assert!(component.as_str() == repository.as_str() || text.contains(component.as_str()));
        assert!(values.iter().all(|(_, value)| text.contains(value.as_str())));
    }
}
