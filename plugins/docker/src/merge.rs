//! What is declared, laid over what is there: the rest of what is there stays as it is.
//!
//! Others may change a service too (`docker service update --label-add …`, a secret, a placement preference): what
//! cannot be declared here is not ours, and survives.

use serde_json::{Map, Value};

/// `actual` with everything that `wanted` says. Lists are replaced as a whole.
pub(crate) fn merge(actual: &Value, wanted: &Value) -> Value {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            let mut merged = actual.clone();
            for (key, value) in wanted {
                let before = actual.get(key).unwrap_or(&Value::Null);
                merged.insert(key.clone(), merge(before, value));
            }
            Value::Object(merged)
        }
        _ => wanted.clone(),
    }
}

/// Whether two values mean the same: to Docker, a field that is empty, zero or missing is one and the same.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    essence(one) == essence(other)
}

/// A value without what is empty.
pub(crate) fn essence(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: Map<_, _> = fields
                .iter()
                .map(|(key, value)| (key.clone(), essence(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect();
            Value::Object(fields)
        }
        // Places in a list mean something, what is empty at the end of one does not.
        Value::Array(items) => Value::Array(items.iter().map(essence).collect()),
        value => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_declared_survives_and_what_is_declared_wins() {
        let actual = json!({"Labels": {"theirs": "1", "ours": "old"}, "Env": ["A=1", "B=2"], "Init": true});
        let wanted = json!({"Labels": {"ours": "new"}, "Env": ["A=1"], "Dir": ""});
        let merged = merge(&actual, &wanted);
        assert_eq!(
            merged,
            json!({"Labels": {"theirs": "1", "ours": "new"}, "Env": ["A=1"], "Init": true, "Dir": ""})
        );
        assert!(!same(&actual, &merged));
        assert!(same(&merge(&merged, &wanted), &merged));
    }

    #[test]
    fn empty_zero_and_missing_are_one() {
        let one =
            json!({"Env": [], "Dir": "", "Init": null, "Resources": {"Limits": {"Pids": 0}}, "Replicas": 2});
        assert!(same(&one, &json!({"Replicas": 2.0_f64 as u64})));
        assert!(!same(&one, &json!({"Replicas": 3})));
        assert!(!same(&json!({"Args": ["", "a"]}), &json!({"Args": ["a"]})), "an empty argument is one");
    }
}
