//! Draws the lines at the bottom of a terminal, which change, and writes the lines above them, which scroll away.
//!
//! Does not know what the lines say. Each update is one write inside a synchronised update (mode 2026; terminals
//! without it ignore it). The cursor is hidden only during that write, so a program that is killed leaves a usable
//! terminal. Lines end with newlines, so that the terminal can copy and re-wrap them as lines.

use std::fmt::Write as _;
use std::io;

use super::text;

/// Begins a synchronised update and hides the cursor.
const BEGIN: &str = "\x1b[?2026h\x1b[?25l";
/// Shows the cursor and ends the update.
const END: &str = "\x1b[?25h\x1b[?2026l";
const ERASE_BELOW: &str = "\x1b[J";
const ERASE_RIGHT: &str = "\x1b[K";

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The number of columns.
    pub cols: u16,
    /// The number of rows.
    pub rows: u16,
}

/// A line as it is written, and the number of columns that it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Painted {
    /// The text, with escape sequences for styles.
    pub(crate) text: String,
    /// The columns that the text takes on the terminal.
    pub(crate) width: usize,
}

impl Painted {
    /// Makes a line without styles.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            width: text::width(&text),
            text,
        }
    }
}

/// The region at the bottom of a terminal.
///
/// Between updates the cursor is at the start of the region's last line.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// The lines that are on the screen now.
    shown: Vec<Painted>,
    /// The size of the terminal at the last update.
    size: Option<Size>,
    /// Whether something else has written into the region since.
    spoiled: bool,
}

impl Region {
    /// Makes an empty region. Nothing is written until the first update.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes `history` above the region and replaces the region's lines by `lines`, which must fit the terminal.
    ///
    /// Writes nothing if nothing changed.
    pub(crate) fn update(
        &mut self,
        out: &mut dyn io::Write,
        size: Size,
        history: &[Painted],
        lines: Vec<Painted>,
    ) -> io::Result<()> {
        let anew = self.size.is_some_and(|old| old != size) || std::mem::take(&mut self.spoiled);
        if history.is_empty() && !anew && self.shown == lines {
            return Ok(());
        }
        let mut update = String::from(BEGIN);
        if history.is_empty() && !anew && self.shown.len() == lines.len() {
            self.redraw(&mut update, size, &lines);
        } else {
            self.go_up(&mut update, size);
            update.push_str(ERASE_BELOW);
            for line in history {
                update.push_str(&line.text);
                update.push_str("\r\n");
            }
            for (at, line) in lines.iter().enumerate() {
                if at > 0 {
                    update.push_str("\r\n");
                }
                update.push_str(&line.text);
            }
            update.push('\r');
        }
        update.push_str(END);
        self.shown = lines;
        self.size = Some(size);
        out.write_all(update.as_bytes())?;
        out.flush()
    }

    /// Records that something else has written into the region, such as the terminal's `^C`. The next update draws
    /// all lines.
    pub(crate) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Removes the region and writes `history` in its place.
    pub(crate) fn close(
        &mut self,
        out: &mut dyn io::Write,
        size: Size,
        history: &[Painted],
    ) -> io::Result<()> {
        self.update(out, size, history, Vec::new())
    }

    /// Draws only the lines that changed.
    fn redraw(&self, update: &mut String, size: Size, lines: &[Painted]) {
        self.go_up(update, size);
        for (at, (old, new)) in self.shown.iter().zip(lines).enumerate() {
            if at > 0 {
                update.push_str("\r\n");
            }
            if old == new {
                continue;
            }
            update.push_str(&new.text);
            // After a character in the last column, the cursor stays on it, and erasing would remove it.
            if new.width < usize::from(size.cols) && new.width < old.width {
                update.push_str(ERASE_RIGHT);
            }
        }
        update.push('\r');
    }

    /// Moves the cursor to the start of the region's first line.
    fn go_up(&self, update: &mut String, size: Size) {
        let mut up = self.shown.len().saturating_sub(1);
        if self.size.is_some_and(|old| old.cols > size.cols) {
            // A terminal that became narrower has wrapped the lines. The cursor is still at the start of the last
            // one.
            let cols = usize::from(size.cols).max(1);
            let above = self.shown.iter().take(up);
            up = above.map(|line| line.width.div_ceil(cols).max(1)).sum();
        }
        // Lines that scrolled off the top cannot be reached.
        let up = up.min(usize::from(size.rows).saturating_sub(1));
        update.push('\r');
        if up > 0 {
            // Writing to a string cannot fail.
            let _ = write!(update, "\x1b[{up}A");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // A terminal to write to.
    struct Screen {
        parser: vt100::Parser,
        size: Size,
        written: usize,
    }

    impl io::Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.parser.process(bytes);
            self.written += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn nonzero(number: u16) -> std::num::NonZero<u16> {
        std::num::NonZero::new(number).unwrap()
    }

    impl Screen {
        fn new(cols: u16, rows: u16) -> Self {
            Self {
                parser: vt100::Parser::new(nonzero(rows), nonzero(cols), 1000),
                size: Size { cols, rows },
                written: 0,
            }
        }

        fn resize(&mut self, cols: u16, rows: u16) {
            self.parser
                .screen_mut()
                .set_size(nonzero(rows), nonzero(cols));
            self.size = Size { cols, rows };
        }

        fn text(&self) -> Vec<String> {
            let contents = self.parser.screen().contents();
            contents
                .lines()
                .map(|line| line.trim_end().to_owned())
                .collect()
        }

        // Everything that was written, including the lines that scrolled away.
        fn whole(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            self.parser.screen_mut().set_scrollback(usize::MAX);
            let back = self.parser.screen().scrollback();
            for offset in (1..=back).rev() {
                self.parser.screen_mut().set_scrollback(offset);
                lines.push(
                    self.parser
                        .screen()
                        .contents()
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .trim_end()
                        .to_owned(),
                );
            }
            self.parser.screen_mut().set_scrollback(0);
            lines.extend(self.text());
            lines
        }
    }

    fn lines(texts: &[&str]) -> Vec<Painted> {
        texts.iter().map(|text| Painted::plain(*text)).collect()
    }

    #[test]
    fn history_scrolls_and_the_region_stays() {
        let mut screen = Screen::new(20, 5);
        let mut region = Region::new();
        for n in 0..10 {
            let size = screen.size;
            let done = format!("done {n}");
            region
                .update(
                    &mut screen,
                    size,
                    &lines(&[&done]),
                    lines(&["head", &format!("step {n}")]),
                )
                .unwrap();
        }
        assert_eq!(
            screen.text(),
            ["done 7", "done 8", "done 9", "head", "step 9"]
        );
        let whole = screen.whole();
        assert_eq!(
            whole.iter().filter(|line| line.starts_with("done")).count(),
            10
        );
        assert_eq!(whole.iter().filter(|line| *line == "head").count(), 1);
        let size = screen.size;
        region
            .close(&mut screen, size, &lines(&["the end"]))
            .unwrap();
        assert_eq!(screen.text().last().unwrap(), "the end");
        assert!(!screen.parser.screen().hide_cursor());
    }

    #[test]
    fn only_changed_lines_are_written() {
        let mut screen = Screen::new(80, 24);
        let size = screen.size;
        let mut region = Region::new();
        let long = "x".repeat(70);
        region
            .update(
                &mut screen,
                size,
                &[],
                lines(&[&long, "a longer one", &long]),
            )
            .unwrap();
        let before = screen.written;
        region
            .update(&mut screen, size, &[], lines(&[&long, "short", &long]))
            .unwrap();
        assert!(screen.written - before < 60, "{}", screen.written - before);
        assert_eq!(screen.text(), [&*long, "short", &long]);
        let before = screen.written;
        region
            .update(&mut screen, size, &[], lines(&[&long, "short", &long]))
            .unwrap();
        assert_eq!(screen.written, before);
    }

    #[test]
    fn a_line_as_wide_as_the_terminal_keeps_its_last_column() {
        let mut screen = Screen::new(5, 4);
        let size = screen.size;
        let mut region = Region::new();
        region
            .update(&mut screen, size, &[], lines(&["abcde", "fghij"]))
            .unwrap();
        region
            .update(&mut screen, size, &[], lines(&["ABCDE", "F"]))
            .unwrap();
        assert_eq!(screen.text(), ["ABCDE", "F"]);
        region
            .update(&mut screen, size, &lines(&["12345"]), lines(&["FGHIJ"]))
            .unwrap();
        assert_eq!(screen.text(), ["12345", "FGHIJ"]);
    }

    #[test]
    fn a_resize_leaves_only_one_region() {
        let mut screen = Screen::new(40, 10);
        let mut region = Region::new();
        let size = screen.size;
        region
            .update(
                &mut screen,
                size,
                &lines(&["one", "two", "three", "four"]),
                lines(&["head", "step a", "step b"]),
            )
            .unwrap();
        for (cols, rows) in [(60, 10), (60, 4), (60, 12), (30, 12), (30, 3)] {
            screen.resize(cols, rows);
            let size = screen.size;
            region
                .update(&mut screen, size, &[], lines(&["head", "step a", "step b"]))
                .unwrap();
            let text = screen.text();
            assert_eq!(
                text.iter().filter(|line| *line == "head").count(),
                1,
                "{cols}x{rows}: {text:?}"
            );
            assert_eq!(
                &text[text.len() - 3..],
                ["head", "step a", "step b"],
                "{cols}x{rows}"
            );
        }
    }

    #[test]
    fn lines_wrapped_by_a_narrower_terminal_are_erased() {
        // The test's terminal does not wrap lines when it is resized, as real ones do, so the wrapped lines are
        // drawn by hand.
        let mut region = Region::new();
        let mut ignored = Screen::new(40, 10);
        let size = ignored.size;
        region
            .update(
                &mut ignored,
                size,
                &[],
                lines(&["a line of 24 columns now", "last"]),
            )
            .unwrap();
        let mut screen = Screen::new(10, 10);
        io::Write::write_all(
            &mut screen,
            b"old\r\na line of \r\n24 columns\r\n now\r\nlast\r",
        )
        .unwrap();
        let size = screen.size;
        region
            .update(&mut screen, size, &[], lines(&["a line of…", "last"]))
            .unwrap();
        assert_eq!(screen.text(), ["old", "a line of…", "last"]);
    }

    proptest! {
        // After any updates, the screen ends with the region, and the whole history is there once and in order.
        #[test]
        fn the_screen_ends_with_the_region(
            updates in prop::collection::vec((0usize..3, prop::collection::vec("[a-z]{0,12}", 0..4)), 1..20),
        ) {
            let mut screen = Screen::new(12, 6);
            let mut region = Region::new();
            let mut told = Vec::new();
            for (count, shown) in &updates {
                let history: Vec<String> = (0..*count).map(|n| format!("#{}", told.len() + n)).collect();
                told.extend(history.clone());
                let painted: Vec<Painted> = history.into_iter().map(Painted::plain).collect();
                let size = screen.size;
                region.update(&mut screen, size, &painted, shown.iter().map(Painted::plain).collect()).unwrap();
                prop_assert!(!screen.parser.screen().hide_cursor());
            }
            let size = screen.size;
            region.update(&mut screen, size, &lines(&["#end"]), lines(&["x", "y"])).unwrap();
            told.push("#end".to_owned());
            let whole = screen.whole();
            prop_assert_eq!(&whole[whole.len() - 2..], ["x", "y"]);
            let history: Vec<&String> = whole.iter().filter(|line| line.starts_with('#')).collect();
            prop_assert_eq!(history, told.iter().collect::<Vec<_>>());
        }
    }
}
