//! Reading the plugin's own part of a declaration, and the arguments of its actions.
//!
//! Derive `#[serde(deny_unknown_fields)]` on every type of a spec: a misspelt field that is passed over in silence is
//! found out too late.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::Rejected;

/// Reads a spec. Nothing at all is read as `{}`.
///
/// # Errors
/// The path of the field to blame, such as `spec.health.tpc`, and what is allowed there.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, Rejected> {
    let json = if json.is_empty() { b"{}" } else { json };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            path if path.starts_with('[') => format!("spec{path}"),
            path => format!("spec.{path}"),
        };
        rejected(field, &error.into_inner())
    })?;
    reader.end().map_err(|error| rejected("spec".to_owned(), &error))?;
    Ok(parsed)
}

fn rejected(field: String, error: &serde_json::Error) -> Rejected {
    // Places in the JSON mean nothing to who wrote YAML.
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let message = match error.classify() {
        Category::Data => format!("{field}: {text}"),
        _ => format!("{field} is not JSON: {error}"),
    };
    Rejected { field, message }
}

/// The JSON Schema (draft 2020-12) of a type.
#[must_use]
pub fn schema<T: JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        #[allow(dead_code)]
        members: u32,
        health: Option<Health>,
        #[serde(default)]
        #[allow(dead_code)]
        ports: Vec<Port>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Health {
        tcp: String,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Port {
        #[allow(dead_code)]
        from: u16,
    }

    fn why(json: &str) -> (String, String) {
        let Rejected { field, message } = parse::<Spec>(json.as_bytes()).expect_err("refused");
        (field, message)
    }

    #[test]
    fn an_unknown_field_is_named_by_its_path_with_what_is_allowed() {
        let (field, message) = why(r#"{"members": 1, "health": {"tpc": "80"}}"#);
        assert_eq!(field, "spec.health.tpc");
        assert_eq!(message, "spec.health.tpc: unknown field `tpc`, expected `tcp`");
        let (field, message) = why(r#"{"membres": 1}"#);
        assert_eq!(field, "spec.membres");
        assert!(message.contains("expected one of `members`, `health`, `ports`"), "{message}");
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path_without_a_place_in_the_json() {
        let (field, message) = why(r#"{"members": 1, "ports": [{"from": 1}, {"from": "x"}]}"#);
        assert_eq!(field, "spec.ports[1].from");
        assert_eq!(message, "spec.ports[1].from: invalid type: string \"x\", expected u16");
        let (field, message) = why("[]");
        assert_eq!(field, "spec");
        assert!(message.starts_with("spec: invalid "), "{message}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let (field, message) = why("{}");
        assert_eq!((field.as_str(), message.as_str()), ("spec", "spec: missing field `members`"));
        assert_eq!(why(""), (field, message));
    }

    #[test]
    fn what_is_not_json_is_said_to_be_so() {
        let (field, message) = why(r#"{"members": 1} x"#);
        assert_eq!(field, "spec");
        assert!(message.contains("not JSON"), "{message}");
    }

    #[test]
    fn a_good_spec_is_read_and_has_a_schema() {
        let spec: Spec = parse(br#"{"members": 1, "health": {"tcp": "80"}}"#).expect("good");
        assert_eq!(spec.health.map(|health| health.tcp).as_deref(), Some("80"));
        let schema: serde_json::Value = serde_json::from_str(&schema::<Spec>()).expect("JSON");
        assert_eq!(schema["properties"]["members"]["type"], "integer");
    }
}
