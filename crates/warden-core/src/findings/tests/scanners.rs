//! Findings and packages as scanners report them.

use super::*;

#[test]
fn merged_findings_have_the_worse_values_and_the_first_link() {
    let one = Finding {
        epss: Some(0.2),
        in_use: Some(1),
        url: Some("https://one".to_owned()),
        ..Finding::new("CVE-1", Level::High).unwrap()
    };
    let other = Finding {
        exploit: Some(false),
        fix: Some(true),
        epss: Some(0.1),
        in_use: Some(3),
        url: Some("https://other".to_owned()),
        ..Finding::new("CVE-1", Level::Low).unwrap()
    };
    let expected =
        Finding { exploit: Some(false), fix: Some(true), in_use: Some(3), ..one.clone() };
    assert_eq!(merge_findings([one.clone(), other.clone()]), std::slice::from_ref(&expected));
    let swapped = Finding { url: other.url.clone(), ..expected };
    assert_eq!(merge_findings([other.clone(), one]), [swapped]);
    let unknown = Finding::new("CVE-1", Level::Low).unwrap();
    assert_eq!(merge_findings([unknown, other.clone()]), [other]);
}

#[test]
fn a_merged_finding_has_the_first_twenty_packages_once_each() {
    let finding = |nth: usize| Finding {
        packages: Package::new(&format!("p{nth:02}"), None, None).into_iter().collect(),
        ..Finding::new("CVE-1", Level::High).unwrap()
    };
    let merged = merge_findings((0..15).chain(0..30).map(finding));
    let names: Vec<&str> = merged[0].packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!((names.len(), names[0], names[19]), (20, "p00", "p19"));
}

#[test]
fn an_empty_name_gives_no_finding_and_not_available_gives_no_version() {
    assert_eq!(Finding::new(" \u{200b}<>", Level::High), None);
    assert_eq!(Package::new("\u{0}", Some("1"), None), None);
    let package = Package::new("a", Some("notAvailable"), Some(" 1.1 ")).unwrap();
    assert_eq!((package.installed, package.fixed.as_deref()), (None, Some("1.1")));
}

#[test]
fn a_fix_is_known_from_the_scanner_or_from_a_package() {
    let finding = |fix, fixed: Option<&str>| Finding {
        packages: Package::new("a", None, fixed).into_iter().collect(),
        fix,
        ..Finding::new("CVE-1", Level::High).unwrap()
    };
    assert!(finding(Some(true), None).has_fix() && finding(Some(false), Some("2")).has_fix());
    assert!(finding(None, Some("2")).has_fix());
    assert!(!finding(Some(false), None).has_fix() && !finding(None, None).has_fix());
}
