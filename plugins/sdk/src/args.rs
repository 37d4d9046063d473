//! Arguments of actions: text on the wire, typed by the action's JSON Schema.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Reads arguments by the schema of an object; no schema: no arguments. Names are checked here, and whether a text can
/// be of the property's type; finer rules are the plugin's own.
///
/// # Errors
/// What is wrong and what is allowed.
pub(crate) fn read(schema: &str, given: HashMap<String, String>) -> Result<Value, String> {
    let schema: Value = if schema.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(schema).map_err(|cause| format!("the plugin's schema is no JSON: {cause}"))?
    };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let mut read = Map::new();
    for (name, text) in given {
        let Some(property) = properties.get(&name) else {
            return Err(format!("no argument {name:?}; {}", allowed(properties)));
        };
        let value =
            typed(resolve(&schema, property), &text).map_err(|why| format!("{name}={text:?}: {why}"))?;
        read.insert(name, value);
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !read.contains_key(name) {
            return Err(format!("the argument {name:?} is missing; {}", allowed(properties)));
        }
    }
    Ok(Value::Object(read))
}

fn allowed(properties: &Map<String, Value>) -> String {
    if properties.is_empty() {
        return "it takes none".to_owned();
    }
    let names: Vec<_> = properties.keys().map(String::as_str).collect();
    format!("it takes {}", names.join(", "))
}

/// Follows a reference into `$defs`, and looks through "this or null", as schemas of optional fields are written.
fn resolve<'a>(root: &'a Value, property: &'a Value) -> &'a Value {
    let is_null = |schema: &&Value| schema.get("type").and_then(Value::as_str) == Some("null");
    let mut schema = property;
    // More than this is no argument any more; a reference to itself ends here too.
    for _ in 0..8 {
        if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'))
        {
            match root.pointer(pointer) {
                Some(target) => schema = target,
                None => break,
            }
        } else if let Some(some) = schema
            .get("anyOf")
            .and_then(Value::as_array)
            .and_then(|choices| choices.iter().find(|choice| !is_null(choice)))
        {
            schema = some;
        } else {
            break;
        }
    }
    schema
}

fn typed(schema: &Value, text: &str) -> Result<Value, String> {
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let value = match types.iter().find(|name| **name != "null") {
        Some(&"integer") => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => text.parse::<u64>().map_err(|_| "not a whole number")?.into(),
        },
        Some(&"number") => {
            let number: f64 = text.parse().map_err(|_| "not a number")?;
            serde_json::Number::from_f64(number).ok_or("not a finite number")?.into()
        }
        Some(&"boolean") => text.parse::<bool>().map_err(|_| "not true or false")?.into(),
        Some(&("array" | "object")) => {
            let value: Value = serde_json::from_str(text).map_err(|cause| format!("not JSON: {cause}"))?;
            let wanted_array = types.contains(&"array");
            if value.is_array() != wanted_array || value.is_object() == wanted_array {
                return Err(format!("not a JSON {}", if wanted_array { "array" } else { "object" }));
            }
            value
        }
        _ => text.into(),
    };
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(&value)
    {
        let choices: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
        return Err(format!("not one of {}", choices.join(", ")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Newest,
        Oldest,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    struct Args {
        member: String,
        lines: Option<u32>,
        ratio: Option<f64>,
        #[serde(default)]
        follow: bool,
        order: Option<Order>,
        #[serde(default)]
        only: Vec<String>,
    }

    fn with(given: &[(&str, &str)]) -> Result<Args, String> {
        let given = given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let value = read(&crate::spec::schema::<Args>(), given)?;
        serde_json::from_value(value).map_err(|cause| cause.to_string())
    }

    #[test]
    fn texts_are_read_by_the_type_of_the_property() {
        let given = [
            ("member", "7"),
            ("lines", "20"),
            ("ratio", "0.5"),
            ("follow", "true"),
            ("order", "oldest"),
            ("only", "[\"a\"]"),
        ];
        let read = with(&given).expect("all fit");
        let only = vec!["a".to_owned()];
        let order = Some(Order::Oldest);
        assert_eq!(
            read,
            Args { member: "7".into(), lines: Some(20), ratio: Some(0.5), follow: true, order, only }
        );
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_is_allowed() {
        let why = |given: &[(&str, &str)]| with(given).expect_err("refused");
        assert_eq!(why(&[("member", "a"), ("lines", "x")]), "lines=\"x\": not a whole number");
        assert_eq!(why(&[("member", "a"), ("follow", "yes")]), "follow=\"yes\": not true or false");
        assert_eq!(why(&[("member", "a"), ("order", "best")]), "order=\"best\": not one of newest, oldest");
        assert!(why(&[("member", "a"), ("only", "{}")]).contains("not a JSON array"));
        let unknown = why(&[("member", "a"), ("linse", "1")]);
        assert!(unknown.contains("no argument \"linse\"; it takes "), "{unknown}");
        assert!(unknown.contains("lines"), "{unknown}");
        assert!(why(&[]).contains("\"member\" is missing"));
    }

    #[test]
    fn an_action_without_a_schema_takes_no_arguments() {
        assert_eq!(read("", HashMap::new()), Ok(json!({})));
        let given = HashMap::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!(read("", given), Err("no argument \"a\"; it takes none".to_owned()));
    }
}
