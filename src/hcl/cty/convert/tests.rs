use super::*;

fn tuple(items: &[&str]) -> Value {
    Value::tuple(items.iter().copied().map(Value::from).collect())
}

fn object(entries: &[(&str, Value)]) -> Value {
    Value::object(
        entries
            .iter()
            .map(|(name, value)| (Text::from(*name), value.clone()))
            .collect(),
    )
}

fn converted(value: &Value, to: &Type) -> String {
    match convert(value, to) {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("error: {error} at {}", error.path()),
    }
}

#[test]
fn primitives_are_converted() {
    assert_eq!(converted(&Value::number(1i64), &Type::String), "\"1\"");
    assert_eq!(converted(&"1.50".into(), &Type::Number), "1.5");
    assert_eq!(converted(&"1".into(), &Type::Bool), "true");
    assert_eq!(
        converted(&"x".into(), &Type::Number),
        "error: a number is required at "
    );
    assert_eq!(
        converted(&"TRUE".into(), &Type::Bool),
        "error: a bool is required; to convert from string, use lowercase \"true\" at "
    );
    assert_eq!(
        converted(&Value::number(1i64), &Type::Bool),
        "error: bool required, but have number at "
    );
}

#[test]
fn a_null_takes_the_type_that_it_is_converted_to() {
    assert_eq!(
        converted(&Value::null(), &Type::list(Type::String)),
        "null(list(string))"
    );
    assert_eq!(
        converted(&Value::Null(Type::Number), &Type::Dynamic),
        "null(number)"
    );
}

#[test]
fn tuples_become_lists_and_sets() {
    let list = Type::list(Type::Number);
    assert_eq!(converted(&tuple(&["1", "2"]), &list), "list(number)[1, 2]");
    assert_eq!(
        converted(&tuple(&["1", "x"]), &list),
        "error: a number is required at [1]"
    );
    assert_eq!(
        converted(&tuple(&["b", "a", "b"]), &Type::set(Type::Dynamic)),
        "set(string)[\"a\", \"b\"]"
    );
    let mixed = Value::tuple(vec![Value::number(1i64), "a".into(), Value::null()]);
    assert_eq!(
        converted(&mixed, &Type::list(Type::Dynamic)),
        "list(string)[\"1\", \"a\", null(string)]"
    );
    assert_eq!(
        converted(&"a".into(), &Type::list(Type::String)),
        "error: list of string required, but have string at "
    );
}

#[test]
fn objects_and_maps_are_converted() {
    let pair = object(&[("a", Value::number(1i64)), ("b", "x".into())]);
    assert_eq!(
        converted(&pair, &Type::map(Type::Dynamic)),
        "map(string){\"a\": \"1\", \"b\": \"x\"}"
    );
    let wanted = Type::Object(Arc::new(ObjectType::with_optional(
        [
            ("a".into(), Type::String),
            ("c".into(), Type::list(Type::String)),
        ]
        .into(),
        ["c".into()],
    )));
    assert_eq!(
        converted(&pair, &wanted),
        "{\"a\": \"1\", \"c\": null(list(string))}"
    );
    let map = convert(&pair, &Type::map(Type::String)).unwrap();
    assert_eq!(
        converted(&map, &wanted),
        "{\"a\": \"1\", \"c\": null(list(string))}"
    );
    assert_eq!(
        converted(&object(&[]), &wanted),
        "error: attribute \"a\" is required at "
    );
    assert_eq!(
        converted(&object(&[("a", tuple(&[]))]), &Type::map(Type::String)),
        "error: element \"a\": string required, but have tuple at "
    );
}
