//! Byte ranges in source files, and values that know where they were written.

use super::SourceId;

/// A byte range in one source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The file that the offsets belong to.
    pub(crate) source: SourceId,
    /// The offset of the first byte.
    pub(crate) start: u32,
    /// The offset after the last byte.
    pub(crate) end: u32,
}

impl Span {
    /// Makes the range `start..end` of `source`. Offsets past 4 GiB are clamped.
    pub(crate) fn new(source: SourceId, range: std::ops::Range<usize>) -> Self {
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self {
            source,
            start: clamp(range.start),
            end: clamp(range.end),
        }
    }

    /// Returns the offsets as `usize`, for slicing.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value and the place where it was written.
///
/// Equality ignores the place.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    /// The place, or `None` if the value comes from a flag, the environment or a default.
    pub(crate) span: Option<Span>,
}

impl<T> Spanned<T> {
    /// Makes a value that was written at `span`.
    pub(crate) const fn new(value: T, span: Span) -> Self {
        Self {
            value,
            span: Some(span),
        }
    }

    /// Makes a value that was not written in a file.
    pub(crate) const fn without_span(value: T) -> Self {
        Self { value, span: None }
    }

    /// Applies `f` to the value and keeps the place.
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: f(self.value),
            span: self.span,
        }
    }
}

// Two values are equal wherever they were written, so the place is not compared.
impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
