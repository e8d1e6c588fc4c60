//! Shows a recorded run again, at the pace it happened:
//! `cargo run --features recording --example replay -- FILE [MODE] [SPEED] [UNTIL]`.
//!
//! MODE is `tty` (the default), `plain`, `quiet` or `rawjson`; SPEED 2 is twice as fast; if UNTIL is given, the replay stops
//! that many seconds into the recording without a summary, as for a picture of a running build. Recordings are those of
//! `tests/fixtures/status/`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rbake::report::{Look, Mode, Options, ReportEnding, Reporter, recording, terminal_size};
use rbake::types::Clock;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match replay(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use io::Write as _;
            let _ = writeln!(io::stderr(), "replay: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn replay(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [file, rest @ ..] = arguments else {
        return Err("usage: replay FILE [tty|plain|quiet|rawjson] [SPEED] [UNTIL]".into());
    };
    let mode = match rest.first().map_or("tty", String::as_str) {
        "tty" => Mode::Tty,
        "plain" => Mode::Plain,
        "quiet" => Mode::Quiet,
        "rawjson" => Mode::RawJson,
        other => return Err(format!("unknown mode `{other}`").into()),
    };
    let number = |at: usize| rest.get(at).map(|text| text.parse::<f64>()).transpose();
    let speed = number(1)?.unwrap_or(1.0).max(0.01);
    let until = number(2)?;

    let events = recording::read(&std::fs::read_to_string(file)?)?;
    let clock = Clock::system();
    let terminal = io::stderr().is_terminal();
    let options = Options {
        mode,
        look: Look {
            color: terminal,
            ..Look::default()
        },
        size: terminal.then(|| -> rbake::report::AskSize { Arc::new(terminal_size) }),
        sources: Arc::default(),
        clock: clock.clone(),
        annotations: false,
    };
    let (sink, reporter) = Reporter::start(options, Box::new(io::stderr()), Box::new(|| ()))?;
    for event in &events {
        if until.is_some_and(|until| event.at.as_secs_f64() > until) {
            break;
        }
        let at = event.at.div_f64(speed);
        tokio::time::sleep(at.saturating_sub(clock.elapsed())).await;
        sink.send(event.kind.clone());
    }
    if until.is_some() {
        // The program that takes the picture ends this one.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    reporter.finish(ReportEnding {
        outcome: recording::outcome_of(&events),
        ..ReportEnding::default()
    });
    Ok(())
}
