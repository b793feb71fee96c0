//! Some weeks of the simulated year, and its page of the book.

use expect_test::expect_file;
use it::year::rates::{group_table, rate_table, setting_table};
use local_aws::snippets::workspace;

/// The text with this table between the marks of a name.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (before, rest) = text.split_once(&format!("<!-- {name} -->\n")).unwrap();
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    format!("{before}<!-- {name} -->\n{table}<!-- end -->\n{after}")
}

#[test]
fn the_page_of_the_year_has_the_rates_of_the_code() {
    let path = workspace().join("docs/contributing/simulated-year.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut expected = with_table(&text, "groups", &group_table());
    expected = with_table(&expected, "rates", &rate_table());
    expected = with_table(&expected, "settings", &setting_table());
    expect_file![&path].assert_eq(&expected);
}
