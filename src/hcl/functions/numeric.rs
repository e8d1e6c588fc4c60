//! Functions for arithmetic.

use num_bigint::BigInt;
use num_traits::{One as _, Zero as _};

use super::call::not_an_integer;
use super::logarithm::{logarithm, power};
use super::{Function, FunctionCall, FunctionError, Parameter};
use crate::golang::quote::quote;
use crate::hcl::cty::number::{NotANumber, Number};
use crate::hcl::cty::{Type, Value};

/// The most digits that `parseint` accepts.
const DIGITS_LIMIT: usize = 100_000;

/// The most numbers that `range` makes, as in go-cty.
const RANGE_LIMIT: usize = 1024;

const NUMBER: &[Parameter] = &[Parameter::number("num")];
const TWO_NUMBERS: &[Parameter] = &[Parameter::number("a"), Parameter::number("b")];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("absolute", "The number without its sign.", NUMBER, |call| {
        Ok(call.number(0)?.absolute().into())
    }),
    Function::new("add", "The sum of two numbers.", TWO_NUMBERS, |call| {
        binary(
            call,
            Number::add,
            "can't compute sum of opposing infinities",
        )
    }),
    Function::new(
        "subtract",
        "The difference of two numbers.",
        TWO_NUMBERS,
        |call| {
            binary(
                call,
                Number::subtract,
                "can't subtract infinity from itself",
            )
        },
    ),
    Function::new(
        "multiply",
        "The product of two numbers.",
        TWO_NUMBERS,
        |call| binary(call, Number::multiply, "can't multiply zero by infinity"),
    ),
    Function::new(
        "divide",
        "The quotient of two numbers; infinity if the second is zero.",
        TWO_NUMBERS,
        |call| {
            binary(
                call,
                Number::divide,
                "can't divide zero by zero or infinity by infinity",
            )
        },
    ),
    Function::new(
        "modulo",
        "The remainder of the division of two numbers, with the sign of the first.",
        TWO_NUMBERS,
        |call| binary(call, Number::modulo, "can't use modulo with infinity"),
    ),
    Function::new(
        "negate",
        "The number with the opposite sign.",
        NUMBER,
        |call| Ok(call.number(0)?.negate().into()),
    ),
    Function::new(
        "ceil",
        "The smallest whole number that is not less than the given one.",
        NUMBER,
        |call| Ok(toward(call.number(0)?, false).into()),
    ),
    Function::new(
        "floor",
        "The greatest whole number that is not greater than the given one.",
        NUMBER,
        |call| Ok(toward(call.number(0)?, true).into()),
    ),
    Function::new("int", "The number without its fraction.", NUMBER, int),
    Function::new(
        "log",
        "The logarithm of a number to a base.",
        &[Parameter::number("num"), Parameter::number("base")],
        |call| from_float(logarithm(float(call, 0)?) / logarithm(float(call, 1)?)),
    ),
    Function::new(
        "pow",
        "A number raised to a power.",
        &[Parameter::number("num"), Parameter::number("power")],
        |call| from_float(power(float(call, 0)?, float(call, 1)?)),
    ),
    Function::new(
        "signum",
        "-1, 0 or 1 if the whole number is negative, zero or positive.",
        NUMBER,
        |call| Ok(Value::number(call.integer(0)?.signum())),
    ),
    Function::new("max", "The greatest of the numbers.", &[], |call| {
        extreme(call, |number, best| number > best)
    })
    .and_more(Parameter::number("numbers")),
    Function::new("min", "The smallest of the numbers.", &[], |call| {
        extreme(call, |number, best| number < best)
    })
    .and_more(Parameter::number("numbers")),
    Function::new(
        "parseint",
        "The whole number that a string represents in a base from 2 to 62.",
        &[Parameter::any("number"), Parameter::number("base")],
        parse_int,
    ),
    Function::new(
        "range",
        "The numbers from a start (default: 0) up or down to an end, which is excluded, in steps (default: 1).",
        &[],
        range,
    )
    .and_more(Parameter::number("params")),
];

fn binary(
    call: &FunctionCall<'_>,
    operation: fn(&Number, &Number) -> Result<Number, NotANumber>,
    undefined: &str,
) -> Result<Value, FunctionError> {
    operation(call.number(0)?, call.number(1)?)
        .map(Value::Number)
        .map_err(|NotANumber| FunctionError::new(undefined))
}

/// Rounds down or up to an integer. Infinity stays.
fn toward(number: &Number, down: bool) -> Number {
    let Some(mut whole) = number.truncate() else {
        return number.clone();
    };
    if !number.is_integer() {
        match (down, number.is_negative()) {
            (true, true) => whole -= BigInt::one(),
            (false, false) => whole += BigInt::one(),
            _ => {}
        }
    }
    Number::from_bigint(&whole).with_precision(number.precision())
}

fn int(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let number = call.number(0)?;
    if number.is_integer() {
        return Ok(number.clone().into());
    }
    let whole = number
        .truncate()
        .ok_or_else(|| FunctionError::new("can't truncate infinity to an integer"))?;
    Ok(Number::from_bigint(&whole).into())
}

/// The number argument at `place` as a machine float. A finite number that is too large is an error, so the result
/// is infinite only if the argument is.
fn float(call: &FunctionCall<'_>, place: usize) -> Result<f64, FunctionError> {
    let number = call.number(place)?;
    let float = number.to_f64();
    if float.is_infinite() && !number.is_infinite() {
        return Err(FunctionError::argument(
            place,
            format!("value must be between {:e} and {:e}", f64::MIN, f64::MAX),
        ));
    }
    Ok(float)
}

fn from_float(float: f64) -> Result<Value, FunctionError> {
    Number::from_f64(float)
        .map(Value::Number)
        .ok_or_else(|| FunctionError::new("the result is not a number"))
}

fn extreme(
    call: &FunctionCall<'_>,
    better: fn(&Number, &Number) -> bool,
) -> Result<Value, FunctionError> {
    let mut best = None;
    for place in 0..call.arguments().len() {
        let number = call.number(place)?;
        if best.is_none_or(|best| better(number, best)) {
            best = Some(number);
        }
    }
    best.map(|number| number.clone().into())
        .ok_or_else(|| FunctionError::new("must pass at least one number"))
}

fn parse_int(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let Some(text) = call.value(0).as_str() else {
        return Err(FunctionError::argument(
            0,
            format!(
                "first argument must be a string, not {}",
                call.value(0).ty().name()
            ),
        ));
    };
    let base = call
        .number(1)?
        .to_i64()
        .ok_or_else(|| FunctionError::argument(1, not_an_integer()))?;
    let Some(base) = u32::try_from(base)
        .ok()
        .filter(|base| (2..=62).contains(base))
    else {
        return Err(FunctionError::argument(
            1,
            "base must be a whole number between 2 and 62 inclusive",
        ));
    };
    if text.len() > DIGITS_LIMIT {
        return Err(FunctionError::argument(0, "the number is too long"));
    }
    read_integer(text, base)
        .map(|integer| Number::from_bigint(&integer).into())
        .ok_or_else(|| {
            FunctionError::argument(
                0,
                format!("cannot parse {} as a base {base} integer", quote(text)),
            )
        })
}

/// Parses an integer in a base of up to 62. Above 36, capital letters are digits after the small ones. `None` if
/// the text is not valid.
fn read_integer(text: &str, base: u32) -> Option<BigInt> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() {
        return None;
    }
    let mut values = Vec::with_capacity(digits.len());
    for digit in digits.bytes() {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'z' => digit - b'a' + 10,
            b'A'..=b'Z' if base <= 36 => digit - b'A' + 10,
            b'A'..=b'Z' => digit - b'A' + 36,
            _ => return None,
        };
        if u32::from(value) >= base {
            return None;
        }
        values.push(value);
    }
    let magnitude =
        BigInt::from_radix_be(num_bigint::Sign::Plus, &values, base).unwrap_or_else(BigInt::zero);
    Some(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

fn range(call: &FunctionCall<'_>) -> Result<Value, FunctionError> {
    let step_toward =
        |start: &Number, end: &Number| Number::from(if end < start { -1i64 } else { 1 });
    let (start, end, step) = match call.arguments() {
        [_] => {
            let end = call.number(0)?.clone();
            let start = Number::zero();
            let step = step_toward(&start, &end);
            (start, end, step)
        }
        [_, _] => {
            let (start, end) = (call.number(0)?.clone(), call.number(1)?.clone());
            let step = step_toward(&start, &end);
            (start, end, step)
        }
        [_, _, _] => (
            call.number(0)?.clone(),
            call.number(1)?.clone(),
            call.number(2)?.clone(),
        ),
        _ => {
            return Err(FunctionError::new("must have one, two, or three arguments"));
        }
    };
    let down = step.signum() < 0;
    if down && end > start {
        return Err(FunctionError::argument(
            1,
            "end must be less than start when step is negative",
        ));
    }
    if !down && end < start {
        return Err(FunctionError::argument(
            1,
            "end must be greater than start when step is positive",
        ));
    }
    let mut numbers = Vec::new();
    let mut next = start;
    while if down { next > end } else { next < end } {
        if numbers.len() >= RANGE_LIMIT {
            return Err(FunctionError::new(format!(
                "more than {RANGE_LIMIT} values were generated; either decrease the difference between start and \
                 end or use a smaller step"
            )));
        }
        let following = next
            .add(&step)
            .map_err(|error| FunctionError::new(error.to_string()))?;
        numbers.push(Value::Number(next));
        next = following;
    }
    Ok(Value::list(Type::Number, numbers))
}
