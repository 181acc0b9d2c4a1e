//! Progress on standard error: one line per finished run; on a terminal, below them, how many are done and how long it may take.
//!
//! Invariant: nothing of it reaches standard output, and with `--quiet` there is nothing of it.

use std::{
    io::{IsTerminal, Write},
    sync::Mutex,
    time::Instant,
};

use crate::report::{Run, text::Style};

/// Progress of one command.
pub struct Progress {
    quiet: bool,
    terminal: bool,
    style: Style,
    total: usize,
    began: Instant,
    finished: Mutex<usize>,
}

impl Progress {
    /// For `total` runs.
    #[expect(
        clippy::disallowed_methods,
        reason = "tells people how long it may take; no run sees it"
    )]
    pub fn new(total: usize, quiet: bool, style: Style) -> Progress {
        Progress {
            quiet,
            terminal: std::io::stderr().is_terminal(),
            style,
            total,
            began: Instant::now(),
            finished: Mutex::new(0),
        }
    }

    /// A run ended.
    pub fn finished(&self, run: &Run) {
        let verdict = self.style.verdict(run.verdict);
        let took = (run.sim_seconds, run.cpu_seconds);
        self.ended(
            &format!("{verdict}  {} seed {}", run.scenario, run.seed),
            took,
        );
    }

    /// A run of which `line` says how it ended took some seconds of virtual and of CPU time.
    pub fn ended(&self, line: &str, (sim_seconds, cpu_seconds): (f64, f64)) {
        if self.quiet {
            return;
        }
        let mut finished = self
            .finished
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *finished += 1;
        let line = format!("{line}  {sim_seconds:.0} simulated s in {cpu_seconds:.2} CPU s");
        // Who closed standard error does not want to be told.
        let mut err = std::io::stderr().lock();
        let _ = if self.terminal {
            write!(
                err,
                "\r\x1b[K{line}\n{}",
                bar(*finished, self.total, self.began.elapsed().as_secs_f64())
            )
        } else {
            writeln!(err, "{line}")
        };
        let _ = err.flush();
    }
}

/// The line that stays below while runs are left; empty (and the last one removed) at the end.
fn bar(finished: usize, total: usize, elapsed_s: f64) -> String {
    if finished >= total {
        return String::new();
    }
    let rate = finished as f64 / elapsed_s.max(0.001);
    let left_s = (total - finished) as f64 / rate;
    let filled = finished * 20 / total;
    format!(
        "[{}{}] {finished}/{total}  {rate:.1}/s  about {left_s:.0} s left",
        "#".repeat(filled),
        "-".repeat(20 - filled)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_rate_and_time_left_and_ends_with_the_last_run() {
        for (finished, total, elapsed_s, expected) in [
            (
                1,
                4,
                2.0,
                "[#####---------------] 1/4  0.5/s  about 6 s left",
            ),
            (
                50,
                100,
                10.0,
                "[##########----------] 50/100  5.0/s  about 10 s left",
            ),
            (4, 4, 8.0, ""),
        ] {
            assert_eq!(bar(finished, total, elapsed_s), expected);
        }
    }
}
