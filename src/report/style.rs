//! How the report looks: styles are chosen by role, so that no view names a colour, and lines consist of styled
//! pieces.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Effects, RgbColor, Style};

use super::text;
use crate::types::terminal;

/// The role of a piece of text. Its style follows from the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TextRole {
    /// Ordinary text.
    Plain,
    /// Less important: cached steps, log lines, times.
    Quiet,
    /// Names of targets and headings.
    Strong,
    /// Work that is running.
    Running,
    /// Work that succeeded.
    Done,
    /// Work that failed.
    Error,
    /// Work that was cancelled.
    Cancelled,
    /// Warnings.
    Warning,
}

/// The style of each role that the user can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Palette {
    running: Style,
    done: Style,
    error: Style,
    cancelled: Style,
    warning: Style,
}

impl Default for Palette {
    fn default() -> Self {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        Self {
            running: color(AnsiColor::Cyan),
            done: color(AnsiColor::Green),
            error: color(AnsiColor::Red),
            cancelled: color(AnsiColor::Yellow),
            warning: color(AnsiColor::Yellow),
        }
    }
}

impl Palette {
    /// Returns the default palette with the changes of `BUILDKIT_COLORS`, such as
    /// `run=green:warning=yellow:error=red:cancel=255,165,0`.
    ///
    /// Invalid entries are ignored, as in buildx.
    pub(crate) fn from_buildkit_colors(value: &str) -> Self {
        let mut palette = Self::default();
        for entry in value.split(':') {
            let Some((key, value)) = entry.split_once('=') else {
                continue;
            };
            let Some(color) = parse_color(value) else {
                continue;
            };
            let style = Style::new().fg_color(Some(color));
            match key.to_ascii_lowercase().as_str() {
                "run" => palette.running = style,
                "warning" => palette.warning = style,
                "error" => palette.error = style,
                "cancel" => palette.cancelled = style,
                _ => {}
            }
        }
        palette
    }

    fn style(&self, role: TextRole) -> Style {
        match role {
            TextRole::Plain => Style::new(),
            TextRole::Quiet => Style::new().effects(Effects::DIMMED),
            TextRole::Strong => Style::new().effects(Effects::BOLD),
            TextRole::Running => self.running,
            TextRole::Done => self.done,
            TextRole::Error => self.error.effects(Effects::BOLD),
            TextRole::Cancelled => self.cancelled,
            TextRole::Warning => self.warning,
        }
    }
}

/// Parses `RED,GREEN,BLUE` or a colour's name, as buildx does. `None` if it is neither.
fn parse_color(value: &str) -> Option<Color> {
    let parts: Vec<&str> = value.split(',').collect();
    if let [red, green, blue] = parts.as_slice() {
        let part = |text: &str| text.trim().parse::<u8>().ok();
        return Some(RgbColor(part(red)?, part(green)?, part(blue)?).into());
    }
    let color = match value.to_ascii_lowercase().as_str() {
        "black" => AnsiColor::Black,
        "blue" => AnsiColor::Blue,
        "cyan" => AnsiColor::Cyan,
        "green" => AnsiColor::Green,
        "magenta" => AnsiColor::Magenta,
        "red" => AnsiColor::Red,
        "white" => AnsiColor::White,
        "yellow" => AnsiColor::Yellow,
        "light-black" => AnsiColor::BrightBlack,
        "light-blue" => AnsiColor::BrightBlue,
        "light-cyan" => AnsiColor::BrightCyan,
        "light-green" => AnsiColor::BrightGreen,
        "light-magenta" => AnsiColor::BrightMagenta,
        "light-red" => AnsiColor::BrightRed,
        "light-white" => AnsiColor::BrightWhite,
        "light-yellow" => AnsiColor::BrightYellow,
        _ => return None,
    };
    Some(color.into())
}

/// How the report is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether ANSI colours and bold or dim text are used.
    pub color: bool,
    /// Whether signs outside of ASCII are used.
    pub unicode: bool,
    /// The colours that are used if `color` is set.
    pub palette: Palette,
    /// The number of output lines that are shown below a running step (`BUILDKIT_TTY_LOG_LINES`).
    pub log_lines: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            color: false,
            unicode: true,
            palette: Palette::default(),
            log_lines: 6,
        }
    }
}

/// A line made of pieces, each with a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StyledLine {
    pieces: Vec<(TextRole, String)>,
}

impl StyledLine {
    /// An empty line.
    pub(crate) const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    /// Returns the line with a piece added. `text` must have no control characters.
    #[must_use]
    pub(crate) fn with(mut self, role: TextRole, text: impl Into<String>) -> Self {
        self.push(role, text);
        self
    }

    /// Adds a piece. `text` must have no control characters.
    pub(crate) fn push(&mut self, role: TextRole, text: impl Into<String>) {
        let text = text.into();
        if text.is_empty() {
            return;
        }
        match self.pieces.last_mut() {
            Some((last, known)) if *last == role => known.push_str(&text),
            _ => self.pieces.push((role, text)),
        }
    }

    /// Adds the pieces of another line.
    pub(crate) fn append(&mut self, line: Self) {
        for (role, text) in line.pieces {
            self.push(role, text);
        }
    }

    /// Returns the number of columns that the line takes.
    pub(crate) fn width(&self) -> usize {
        self.pieces.iter().map(|(_, text)| text::width(text)).sum()
    }

    /// Returns the line cut to `columns`. If something was cut off, the line ends with an ellipsis.
    #[must_use]
    pub(crate) fn fit(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut cut = Self::new();
        let Some(mut left) = columns.checked_sub(1) else {
            return cut;
        };
        for (role, piece) in self.pieces {
            let wide = text::width(&piece);
            if wide <= left {
                left -= wide;
                cut.push(role, piece);
                continue;
            }
            // One column was kept free for the ellipsis.
            cut.push(role, format!("{}…", text::prefix(&piece, left)));
            break;
        }
        cut
    }

    /// Returns a line of `columns` with `right` at its right end. The left part is cut if there is not enough
    /// room.
    #[must_use]
    pub(crate) fn with_right(self, right: Self, columns: usize) -> Self {
        let room = columns.saturating_sub(right.width() + 1);
        let mut line = self.fit(room);
        let gap = columns.saturating_sub(line.width() + right.width());
        line.push(TextRole::Plain, " ".repeat(gap));
        line.append(right);
        line.fit(columns)
    }

    /// Returns the text without styles.
    #[cfg(test)]
    pub(crate) fn plain(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// Returns the text as it is written, with ANSI styles if `look.color` is set.
    pub(crate) fn paint(&self, look: &Look) -> String {
        let mut painted = String::new();
        for (role, text) in &self.pieces {
            // Pieces should have no control characters. If one has, they still must not reach a terminal.
            let text = terminal::visible_lines(text);
            let text = if look.unicode {
                text
            } else {
                text.replace('…', "~").into()
            };
            if !look.color {
                painted.push_str(&text);
                continue;
            }
            let style = look.palette.style(*role);
            // Writing to a string cannot fail.
            let _ = write!(painted, "{style}{text}{style:#}");
        }
        painted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buildkit_colors_are_parsed() {
        let palette = Palette::from_buildkit_colors(
            "run=light-blue:error=1,2,3:cancel=nope:x:warning=300,0,0",
        );
        let default = Palette::default();
        assert_eq!(
            palette.running,
            Style::new().fg_color(Some(AnsiColor::BrightBlue.into()))
        );
        assert_eq!(
            palette.error,
            Style::new().fg_color(Some(RgbColor(1, 2, 3).into()))
        );
        assert_eq!(palette.cancelled, default.cancelled);
        assert_eq!(palette.warning, default.warning);
    }

    #[test]
    fn the_right_part_stays_if_there_is_no_room() {
        let left = StyledLine::new()
            .with(TextRole::Strong, "web")
            .with(TextRole::Plain, " RUN pip install");
        let right = StyledLine::new().with(TextRole::Quiet, "12.3s");
        assert_eq!(
            left.clone().with_right(right.clone(), 30).plain(),
            "web RUN pip install      12.3s"
        );
        assert_eq!(left.with_right(right, 14).plain(), "web RUN… 12.3s");
    }

    #[test]
    fn colour_is_optional() {
        let line = StyledLine::new().with(TextRole::Error, "failed");
        assert_eq!(line.paint(&Look::default()), "failed");
        let painted = line.paint(&Look {
            color: true,
            ..Look::default()
        });
        assert!(
            painted.starts_with("\u{1b}[") && painted.ends_with("\u{1b}[0m"),
            "{painted:?}"
        );
    }

    proptest! {
        #[test]
        fn a_fitted_line_fits(pieces in prop::collection::vec("\\PC{0,12}", 0..5), columns in 0usize..40) {
            let mut line = StyledLine::new();
            for (n, piece) in pieces.iter().enumerate() {
                line.push(if n % 2 == 0 { TextRole::Plain } else { TextRole::Quiet }, piece.as_str());
            }
            let whole = line.plain();
            let cut = line.clone().fit(columns);
            prop_assert!(cut.width() <= columns);
            prop_assert!(cut.plain() == whole || columns == 0 || cut.plain().ends_with('…'), "{:?}", cut);
            let right = StyledLine::new().with(TextRole::Done, "right");
            prop_assert!(line.with_right(right, columns).width() <= columns);
        }
    }
}
