//! The AWS query protocol: forms in, XML out.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// The form, flat, as `Tags.member.1.Key` → `…`.
pub type Input = BTreeMap<String, String>;

pub fn read(form: &str) -> Input {
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    form.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// An element with a text.
pub fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", winterbaume_core::xml_escape(text))
}

pub fn result(operation: &str, inner: &str) -> String {
    format!(
        "<{operation}Response><{operation}Result>{inner}</{operation}Result>\
         <ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></{operation}Response>"
    )
}

pub fn error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type>{}{}</Error>\
         <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>",
        element("Code", code),
        element("Message", message),
    )
}
