//! The part of `input.image` that comes from the image's configuration.

use serde_json::{Map, Value, json};

use super::{InputError, field, put};

/// Adds what `config`, the configuration of an image, says.
pub(super) fn add_config(image: &mut Map<String, Value>, config: &[u8]) -> Result<(), InputError> {
    let whole: Value = serde_json::from_slice(config).map_err(InputError::Config)?;
    if !whole.is_object() && !whole.is_null() {
        return Err(InputError::ConfigField("the whole"));
    }
    if let Some(created) = field(&whole, "created") {
        let created = created.as_str().and_then(without_fraction);
        put(
            image,
            "createdTime",
            json!(created.ok_or(InputError::ConfigField("created"))?),
        );
    }
    let config = field(&whole, "config").unwrap_or(&Value::Null);
    if !config.is_object() && !config.is_null() {
        return Err(InputError::ConfigField("config"));
    }
    put(image, "env", strings(config, "Env")?);
    put(image, "labels", labels(config)?);
    put(image, "user", text(config, "User")?);
    put(image, "volumes", volumes(config)?);
    put(image, "workingDir", text(config, "WorkingDir")?);
    Ok(())
}

/// The time `text` of RFC 3339 without fractions of a second, in its own zone. `None` if it is not such a time.
fn without_fraction(text: &str) -> Option<String> {
    text.parse::<jiff::Timestamp>().ok()?;
    let (whole, rest) = match text.split_once('.') {
        Some((whole, rest)) => (whole, rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => return Some(text.to_owned()),
    };
    Some(format!("{whole}{rest}"))
}

fn text(config: &Value, name: &'static str) -> Result<Value, InputError> {
    match field(config, name) {
        None => Ok(Value::Null),
        Some(value) if value.is_string() => Ok(value.clone()),
        Some(_) => Err(InputError::ConfigField(name)),
    }
}

fn strings(config: &Value, name: &'static str) -> Result<Value, InputError> {
    match field(config, name) {
        None => Ok(Value::Null),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            Ok(Value::Array(items.clone()))
        }
        Some(_) => Err(InputError::ConfigField(name)),
    }
}

fn labels(config: &Value) -> Result<Value, InputError> {
    match field(config, "Labels") {
        None => Ok(Value::Null),
        Some(Value::Object(labels)) if labels.values().all(Value::is_string) => {
            Ok(Value::Object(labels.clone()))
        }
        Some(_) => Err(InputError::ConfigField("Labels")),
    }
}

/// The names of the volumes, sorted.
fn volumes(config: &Value) -> Result<Value, InputError> {
    match field(config, "Volumes") {
        None => Ok(Value::Null),
        Some(Value::Object(volumes)) => {
            let mut names: Vec<&String> = volumes.keys().collect();
            names.sort();
            Ok(json!(names))
        }
        Some(_) => Err(InputError::ConfigField("Volumes")),
    }
}
