//! Functions for UUIDs.

use uuid::Uuid;

use super::{Function, FunctionError, Parameter};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("uuidv4", "A new random UUID.", &[], |_| {
        Ok(Uuid::new_v4().to_string().into())
    }),
    Function::new(
        "uuidv5",
        "The UUID of a name in a namespace: `dns`, `url`, `oid`, `x500` or a UUID.",
        &[Parameter::string("namespace"), Parameter::string("name")],
        |call| {
            let namespace = match call.text(0)? {
                "dns" => Uuid::NAMESPACE_DNS,
                "url" => Uuid::NAMESPACE_URL,
                "oid" => Uuid::NAMESPACE_OID,
                "x500" => Uuid::NAMESPACE_X500,
                other => Uuid::parse_str(other).map_err(|error| {
                    FunctionError::new(format!(
                        "uuidv5() doesn't support namespace {other} ({error})"
                    ))
                })?,
            };
            Ok(Uuid::new_v5(&namespace, call.text(1)?.as_bytes())
                .to_string()
                .into())
        },
    ),
];
