//! Messages of panics, without the values that they may contain.

use std::any::Any;

/// How composed messages of the standard library begin, up to their first value.
const KNOWN: [&str; 11] = [
    "index out of bounds",
    "called `Result::unwrap()` on an `Err` value",
    "called `Result::unwrap_err()` on an `Ok` value",
    "assertion `left == right` failed",
    "assertion `left != right` failed",
    "range start index",
    "range end index",
    "slice index starts at",
    "start byte index",
    "end byte index",
    "byte index",
];

/// Returns what `payload`, of a panic, says without values.
///
/// A composed message may contain any value, such as the text that was cut at a wrong place, and with it a secret. Such a
/// message is returned only as far as it is one of the standard library's, otherwise an empty text. A literal has no values
/// and is returned whole.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &'static str {
    if let Some(literal) = payload.downcast_ref::<&'static str>() {
        return literal;
    }
    let composed = payload.downcast_ref::<String>();
    let known = |composed: &String| KNOWN.into_iter().find(|known| composed.starts_with(known));
    composed.and_then(known).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload of the panic of `work`.
    fn payload(work: impl FnOnce() + std::panic::UnwindSafe) -> Box<dyn Any + Send> {
        std::panic::catch_unwind(work).unwrap_err()
    }

    #[test]
    fn literals_are_returned_whole() {
        let payload = payload(|| panic!("a step: it has no name"));
        assert_eq!(message(&*payload), "a step: it has no name");
    }

    #[test]
    #[expect(
        clippy::unnecessary_literal_unwrap,
        reason = "the message of the panic is what is tested"
    )]
    fn values_in_composed_messages_are_left_out() {
        let secret = std::hint::black_box("hunter2é".to_owned());
        let text = secret.clone();
        let cut = payload(move || drop(text[..8].to_owned()));
        let text = secret.clone();
        let range = payload(move || drop(text[3..99].to_owned()));
        let text = secret.clone();
        let result = payload(move || Err::<(), String>(text).unwrap());
        let text = secret.clone();
        let expected = payload(move || Err::<(), String>(text).expect("a password is text"));
        let text = secret.clone();
        let compared = payload(move || assert_eq!(text, "x"));
        let text = secret.clone();
        let own = payload(move || panic!("{text} is wrong"));
        let numbers: Vec<u8> = std::hint::black_box(vec![1, 2, 3]);
        let index = payload(move || {
            let _ = numbers[std::hint::black_box(7)];
        });
        let found: Vec<&str> = [&cut, &range, &result, &expected, &compared, &own, &index]
            .map(|payload| message(&**payload))
            .to_vec();
        assert_eq!(
            found,
            [
                "end byte index",
                "end byte index",
                "called `Result::unwrap()` on an `Err` value",
                "",
                "assertion `left == right` failed",
                "",
                "index out of bounds",
            ]
        );
    }

    #[test]
    fn other_payloads_have_no_message() {
        let payload = payload(|| std::panic::panic_any(7_u8));
        assert_eq!(message(&*payload), "");
    }
}
