//! `firedrill test rules` beside `promtool test rules`: the same files, in the same run, as whole processes.
//!
//! What is measured: rule evaluations per CPU second (user and system time of the process, start and reading included) and peak
//! memory, at 10 and at 100 cases of 15 rules × 60 series × 241 steps. One rule at one step of one case is one evaluation. Every
//! case has other values, and both programs must pass the file: what is compared did the same work.
//!
//! `cargo bench --bench promtool`; promtool is the first of `FIREDRILL_PROMTOOL`, else the one on the path. Without it there is nothing to compare
//! with, which is an error.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use wait4::Wait4;

/// Rules of the file below, counted again when it is made.
const RULES: usize = 15;
/// Series of a case.
const SERIES: usize = 60;
/// An hour every 15 s, both ends included.
const STEPS: usize = 241;
/// Our process is short; the median of so many is taken.
const REPEATS: usize = 5;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), String> {
    let named = std::env::var("FIREDRILL_PROMTOOL").unwrap_or_else(|_| "promtool".into());
    let promtool = OsString::from(named.split(':').next().unwrap_or_default());
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path)
    };
    file("rules.yml", rules())?;
    let ours = env!("CARGO_BIN_EXE_firedrill").into();
    println!(
        "{RULES} rules × {SERIES} series × {STEPS} steps a case; rule evaluations per CPU second, whole process"
    );
    println!("cases       promtool      firedrill   ratio   peak MB: promtool  firedrill");
    for cases in [1, 10, 100] {
        let path = file(&format!("{cases}.yml"), tests(cases))?;
        let theirs = measure(&promtool, &path, 1)?;
        let mine = measure(&ours, &path, REPEATS)?;
        let rate = |cost: &Cost| (cases * RULES * STEPS) as f64 / cost.cpu.as_secs_f64();
        println!(
            "{cases:>5} {:>14.0} {:>14.0} {:>6.0}× {:>18.0} {:>10.0}",
            rate(&theirs),
            rate(&mine),
            rate(&mine) / rate(&theirs),
            theirs.peak_mb,
            mine.peak_mb,
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Cost {
    cpu: Duration,
    peak_mb: f64,
}

/// The median process of `repeats`.
fn measure(program: &OsString, file: &Path, repeats: usize) -> Result<Cost, String> {
    let mut costs = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let mut child = Command::new(program)
            .args(["test", "rules"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!(
                    "{} cannot be started: {error}; install Debian's package `prometheus` or set FIREDRILL_PROMTOOL",
                    program.display()
                )
            })?;
        let ended = child.wait4().map_err(|error| error.to_string())?;
        if !ended.status.success() {
            return Err(format!(
                "{} test rules {} ended with {}: the comparison is void",
                program.display(),
                file.display(),
                ended.status
            ));
        }
        costs.push(Cost {
            cpu: ended.rusage.utime + ended.rusage.stime,
            peak_mb: ended.rusage.maxrss as f64 / 1e6,
        });
    }
    costs.sort_by_key(|cost| cost.cpu);
    Ok(costs[repeats / 2])
}

/// What a service's rule file holds: recorded rates, error and latency ratios, quantiles, thresholds, absence, saturation.
fn rules() -> String {
    let rules = [
        "record: job:requests:rate5m\n  expr: sum by (job) (rate(http_requests_total[5m]))",
        "record: job:errors:rate5m\n  expr: sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m]))",
        "record: job:latency:p99\n  expr: histogram_quantile(0.99, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
        "alert: ErrorRatioHigh\n  expr: job:errors:rate5m / job:requests:rate5m > 0.05\n  for: 5m",
        "alert: ErrorRatioHighPerInstance\n  expr: sum by (instance) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (instance) (rate(http_requests_total[5m])) > 0.10\n  for: 5m",
        "alert: LatencyHigh\n  expr: job:latency:p99 > 0.9\n  for: 10m",
        "alert: NoTraffic\n  expr: job:requests:rate5m == 0\n  for: 5m",
        "alert: TargetDown\n  expr: up == 0\n  for: 2m",
        "alert: Absent\n  expr: absent(up{job=\"shop\"})\n  for: 5m",
        "alert: QueueGrows\n  expr: avg_over_time(queue_length[10m]) > 500\n  for: 10m",
        "alert: QueueWillOverflow\n  expr: predict_linear(queue_length[30m], 3600) > 100000\n  for: 15m",
        "alert: Saturated\n  expr: max by (instance) (pool_in_use) / on (instance) max by (instance) (pool_size) > 0.9\n  for: 3m",
        "alert: Restarts\n  expr: changes(up[30m]) > 3",
        "alert: Stalled\n  expr: increase(jobs_done_total[10m]) == 0 and on (instance) up == 1\n  for: 10m",
        "alert: MostInstancesDown\n  expr: count(up == 0) / count(up) > 0.5\n  for: 1m",
    ];
    assert_eq!(rules.len(), RULES);
    let mut text = "groups:\n- name: shop\n  rules:\n".to_string();
    for rule in rules {
        let labels = if rule.starts_with("alert") {
            "\n  labels: {severity: page}\n  annotations: {summary: '{{ $labels.instance }} is at {{ $value | humanize }}'}"
        } else {
            ""
        };
        let rule = format!("- {rule}{labels}").replace('\n', "\n  ");
        let _ = writeln!(text, "  {rule}");
    }
    text
}

/// Cases with values of their own; in each, one instance dies after half an hour and another serves errors.
fn tests(cases: usize) -> String {
    let mut text = "rule_files: [rules.yml]\nevaluation_interval: 15s\ntests:\n".to_string();
    for case in 0..cases {
        let _ = writeln!(
            text,
            "- name: case {case}\n  interval: 15s\n  input_series:"
        );
        let series = series(case);
        assert_eq!(series.len(), SERIES);
        for (series, values) in series {
            let _ = writeln!(text, "  - {{series: '{series}', values: '{values}'}}");
        }
        let instance = case % 5;
        let _ = write!(
            text,
            "  alert_rule_test:\n\
             \x20 - {{eval_time: 25m, alertname: TargetDown}}\n\
             \x20 - eval_time: 60m\n\
             \x20   alertname: TargetDown\n\
             \x20   exp_alerts:\n\
             \x20   - exp_labels: {{severity: page, job: shop, instance: i{instance}}}\n\
             \x20     exp_annotations: {{summary: i{instance} is at 0}}\n"
        );
    }
    text
}

fn series(case: usize) -> Vec<(String, String)> {
    let mut out = Vec::with_capacity(SERIES);
    let last = STEPS - 1;
    for instance in 0..5 {
        let labels = format!("job=\"shop\",instance=\"i{instance}\"");
        let dead = instance == case % 5;
        let mut add = |series: String, values: String| out.push((series, values));
        let half = last / 2;
        let up = if dead {
            format!("1x{} 0x{half}", last - half - 1)
        } else {
            format!("1x{last}")
        };
        add(format!("up{{{labels}}}"), up);
        for (code, rate) in [
            ("200", 150 + case + instance),
            ("404", 3),
            ("500", 1 + instance * 2),
        ] {
            add(
                format!("http_requests_total{{{labels},code=\"{code}\"}}"),
                format!("{case}+{rate}x{last}"),
            );
        }
        for (place, le) in ["0.1", "0.5", "1", "+Inf"].iter().enumerate() {
            add(
                format!("http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}}"),
                format!("0+{}x{last}", (place + 1) * (40 + case)),
            );
        }
        add(
            format!("queue_length{{{labels}}}"),
            wave(case * 31 + instance, 400),
        );
        add(
            format!("pool_in_use{{{labels}}}"),
            wave(case * 17 + instance, 60),
        );
        add(format!("pool_size{{{labels}}}"), format!("100x{last}"));
        add(
            format!("jobs_done_total{{{labels}}}"),
            format!("0+{}x{last}", 1 + case % 7),
        );
    }
    out
}

/// Written out, as recorded values are.
fn wave(seed: usize, top: usize) -> String {
    let value = |step: usize| ((step * step + seed * 7) % 97) * top / 97;
    (0..STEPS)
        .map(|step| value(step).to_string())
        .collect::<Vec<_>>()
        .join(" ")
}
