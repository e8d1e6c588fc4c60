//! A picture of a recorded run: `cargo run --features recording --example screenshot -- FILE COLS ROWS [UNTIL] > picture.svg`.
//!
//! The recording is shown in a terminal emulator of COLS by ROWS at the pace it happened; the picture is what the terminal
//! shows UNTIL seconds into it, or at the end. Recordings are those of `tests/fixtures/status/`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rbake::report::{Look, Mode, Options, ReportEnding, Reporter, Size, recording};
use rbake::types::Clock;

/// Width and height of a character, in pixels.
const CELL: (f32, f32) = (8.4, 18.0);
const MARGIN: f32 = 14.0;
const BACKGROUND: &str = "#1b1d23";
const FOREGROUND: &str = "#d7dae0";

#[derive(Clone)]
struct Screen(Arc<Mutex<vt100::Parser>>);

impl io::Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut terminal = self.0.lock().map_err(|_| io::Error::other("poisoned"))?;
        // A terminal's driver does the same with line ends.
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    terminal.process(line);
                    terminal.process(b"\r\n");
                }
                None => terminal.process(line),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match picture(&arguments).await {
        Ok(svg) => match io::stdout().write_all(svg.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(io::stderr(), "screenshot: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn picture(arguments: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let [file, cols, rows, until @ ..] = arguments else {
        return Err("usage: screenshot FILE COLS ROWS [UNTIL]".into());
    };
    let size = Size {
        cols: cols.parse()?,
        rows: rows.parse()?,
    };
    let until = until.first().map(|text| text.parse::<f64>()).transpose()?;
    let nonzero = |number| NonZero::new(number).ok_or("COLS and ROWS must not be 0");
    let screen = Screen(Arc::new(Mutex::new(vt100::Parser::new(
        nonzero(size.rows)?,
        nonzero(size.cols)?,
        0,
    ))));

    let events = recording::read(&std::fs::read_to_string(file)?)?;
    let clock = Clock::system();
    let options = Options {
        mode: Mode::Tty,
        look: Look {
            color: true,
            ..Look::default()
        },
        size: Some(Arc::new(move || Some(size))),
        sources: Arc::default(),
        clock: clock.clone(),
        annotations: false,
    };
    let (sink, reporter) = Reporter::start(options, Box::new(screen.clone()), Box::new(|| ()))?;
    for event in &events {
        if until.is_some_and(|until| event.at.as_secs_f64() > until) {
            break;
        }
        tokio::time::sleep(event.at.saturating_sub(clock.elapsed())).await;
        sink.send(event.kind.clone());
    }
    if let Some(until) = until {
        let until = Duration::try_from_secs_f64(until)?;
        tokio::time::sleep(until.saturating_sub(clock.elapsed())).await;
        // The view needs a moment to draw the last events.
        tokio::time::sleep(Duration::from_millis(200)).await;
        return svg(&screen, size);
    }
    reporter.finish(ReportEnding {
        outcome: recording::outcome_of(&events),
        ..ReportEnding::default()
    });
    svg(&screen, size)
}

fn svg(screen: &Screen, size: Size) -> Result<String, Box<dyn std::error::Error>> {
    let terminal = screen.0.lock().map_err(|_| "poisoned")?;
    let contents = terminal.screen();
    let text: Vec<String> = contents.rows(0, size.cols).collect();
    let used = text
        .iter()
        .rposition(|line| !line.trim().is_empty())
        .map_or(1, |at| at + 1);
    let width = f32::from(size.cols) * CELL.0 + 2.0 * MARGIN;
    let lines = u16::try_from(used)?;
    let height = f32::from(lines) * CELL.1 + 2.0 * MARGIN;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}">"#
    )?;
    writeln!(
        svg,
        r#"<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>"#
    )?;
    writeln!(
        svg,
        r#"<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">"#
    )?;
    for row in 0..lines {
        let mut col = 0;
        while col < size.cols {
            let Some(first) = contents.cell(row, col) else {
                break;
            };
            let style = style(first);
            let start = col;
            let mut run = String::new();
            while let Some(cell) = contents.cell(row, col) {
                if col >= size.cols || self::style(cell) != style {
                    break;
                }
                if !cell.is_wide_continuation() {
                    run.push_str(if cell.has_contents() {
                        cell.contents()
                    } else {
                        " "
                    });
                }
                col += 1;
            }
            if run.trim().is_empty() {
                continue;
            }
            let (x, y) = (
                MARGIN + f32::from(start) * CELL.0,
                MARGIN + f32::from(row) * CELL.1 + 13.0,
            );
            let length = f32::from(col - start) * CELL.0;
            let run = run
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace(' ', "\u{a0}");
            writeln!(
                svg,
                r#"<text x="{x:.1}" y="{y:.1}" textLength="{length:.1}" lengthAdjust="spacingAndGlyphs" {style}>{run}</text>"#
            )?;
        }
    }
    svg.push_str("</g>\n</svg>\n");
    Ok(svg)
}

fn style(cell: &vt100::Cell) -> String {
    const COLORS: [&str; 16] = [
        "#3f4451", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0",
        "#7f848e", "#ff7a85", "#a5e075", "#f0d197", "#74bfff", "#de8df2", "#6fd0db", "#ffffff",
    ];
    let color = match cell.fgcolor() {
        vt100::Color::Idx(index) => COLORS
            .get(usize::from(index))
            .copied()
            .unwrap_or(FOREGROUND)
            .to_owned(),
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        vt100::Color::Default => FOREGROUND.to_owned(),
    };
    let mut style = format!(r#"fill="{color}""#);
    if cell.bold() {
        style.push_str(r#" font-weight="bold""#);
    }
    if cell.dim() {
        style.push_str(r#" opacity="0.6""#);
    }
    style
}
