//! BuildKit's wire messages, as rbake needs them.
