//! Templates against an installed promtool: what it accepts on loading, and what it makes of an annotation.

use alerts::labels::Labels;
use alerts::rules::{RuleSet, Schedule};
use alerts::series::SeriesStore;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

mod installed;

use installed::Promtool;

/// Annotations of an alert on `m{instance="a.b.c:9090", job="x y"}` of 1234567.891, among `up{job="b"}` 2 and `up{job="a"}` 1.
const EXPANDED: &[&str] = &[
    "plain",
    "{{ $labels.instance }} {{ .Labels.job }} {{ $labels.missing }}! {{ $labels.__name__ }}",
    "{{ $value }} {{ .Value | printf \"%.2f\" }} {{ $value | humanize }} {{ printf \"%v\" .Value }}",
    "{{ $externalLabels.region }}{{ $externalURL }}|{{ .ExternalLabels }}|{{ $labels }}",
    "{{ humanize 0.0 }} {{ humanize 999.94 }} {{ humanize 1000.0 }} {{ humanize -0.00123 }} {{ humanize \"12345\" }} {{ humanize 5 }}",
    "{{ humanize1024 1024.0 }} {{ humanize1024 1.0 }} {{ humanize1024 -123456789.0 }} {{ humanize \"NaN\" }} {{ humanize \"+Inf\" }}",
    "{{ humanizeDuration 0.0 }} {{ humanizeDuration 59.9 }} {{ humanizeDuration 3661.5 }} {{ humanizeDuration 90061.0 }} {{ humanizeDuration -1.5 }} {{ humanizeDuration 0.00012 }} {{ humanizeDuration 60 }}",
    "{{ humanizePercentage 0.12345 }} {{ humanizePercentage 1 }} {{ humanizePercentage \"1e-9\" }}",
    "{{ humanizeTimestamp 1.7e9 }} {{ humanizeTimestamp 1435065584.128 }} {{ humanizeTimestamp \"NaN\" }} {{ humanizeTimestamp -1.5 }}",
    "{{ toTime 1.7e9 }} {{ (toTime 1.7e9).Unix }} {{ (toTime 1700000000).Year }} {{ (toTime 1.7e9).Month }} {{ (toTime 1.7e9).Weekday }}",
    "{{ (1.7e9 | toTime).Format \"2006-01-02T15:04:05Z07:00 Mon Jan _2 3:04PM\" }} {{ $t := toTime 0 }}{{ $t.UTC.Format \"15:04\" }} {{ ($t.Format \"Monday, 02-Jan-06 15:04:05 MST\") | toUpper }}",
    "{{ parseDuration \"1h30m\" }} {{ parseDuration \"90s\" | humanizeDuration }}",
    "{{ title \"ab cd-ef gh_ij a.b a'b x:y 1a\" }} {{ toUpper \"äb\" }} {{ \"ÄB\" | toLower }}",
    "{{ stripPort \"a:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"::1\" }} {{ stripPort \"a\" }} {{ stripPort \"a:b:c\" }} {{ $labels.instance | stripPort }}",
    "{{ stripDomain $labels.instance }} {{ stripDomain \"a.b\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"[::1]:80\" }} {{ stripDomain \"a.b:\" }}",
    "{{ match \"^a\" $labels.instance }} {{ match \"b$\" \"abc\" }} {{ if match \"x.y\" .Labels.job }}m{{ end }}",
    "{{ reReplaceAll \"(.*):(.*)\" \"$2-${1}x $$ $1x\" $labels.instance }} {{ reReplaceAll \"[a-z]\" \".\" \"a1b\" }} {{ \"x\" | reReplaceAll \"x\" \"y\" }}",
    "{{ graphLink \"up == 0\" }} {{ tableLink \"rate(a[5m]) > ä\" }} {{ safeHtml \"<b>\" }}",
    "{{ html \"<a b='c'>&\" }} {{ js \"it's <x> = \\\"y\\\"\" }} {{ urlquery \"a b&c/d\" }} {{ 5 | html }}",
    "{{ print 1 2 \"a\" \"b\" 3 4.5 true }}|{{ println 1 \"a\" }}|{{ print }}",
    "{{ printf \"%d %5d|%-5d|%05d %+d %x %X %o %b %c %q %U\" 3 4 5 6 7 255 255 8 5 65 65 65 }}",
    "{{ printf \"%f %.1f %8.2f|%-8.2f|%08.2f %+.1f %e %g %G %E\" 1.5 2.25 3.14159 3.14159 -3.14159 1.0 12345.678 1e21 1e-7 1.5 }}",
    "{{ printf \"%s %10s|%-10s|%.2s %q %x %X %v %t %T %T %T\" \"a\" \"b\" \"c\" \"defg\" \"h\\n\\\"\" \"hi\" \"hi\" true false 1 1.5 \"s\" }}",
    "{{ printf \"%d %s %f %t %z %!\" 1.5 2 \"x\" 3 4 }} {{ printf \"%d\" }} {{ printf \"%d\" 1 2 }} {{ printf \"%%\" }} {{ printf \"%*d\" 5 1 }}",
    "{{ printf \"%v %v %s\" $labels nil $value }} {{ printf \"%5t|%-7v|%6.2f%%\" true 1.5 99.5 }} {{ printf \"% d %#x %#q\" 5 255 \"a\" }}",
    "{{ printf \"%*d|%*d|%.*f|%.*f|%*d\" \"x\" 1 -5 2 -1 1.5 2 1.555 2000000 1 }} {{ printf \"a%66666666666666d b\" 1 }} {{ printf \"%.99999999999d\" 1 }}",
    "{{ printf \"%*d\" }} {{ printf \"%5.*d\" 1.5 7 }} {{ printf \"%66666666.2d|%d\" 1 2 }} {{ printf \"%.5666666666d %d\" 1 }}",
    "{{ printf \"%s %q\" $labels $labels }} {{ printf \"%05s|%-+5d|%x|%v|%6v|%06d\" \"a\" 5 -255 true \"b\" -42 }} {{ printf \"%.3v %v %5.1v|%q\" 3.14159 1e21 2.55 \"ä\\u0001\" }}",
    "{{ printf \"%v %f %d %5v|%-6v|%06.1f\" (\"NaN\" | print) 1e300 100000 nil false -2.5 }} {{ title \"o'neil 3rd x1y é-é\" }}",
    "{{ eq 1 1 }} {{ eq \"a\" \"b\" \"a\" }} {{ ne 1 2 }} {{ lt 1.5 2.5 }} {{ le \"a\" \"b\" }} {{ gt 2 1 }} {{ ge 1 1 }} {{ eq true true }}",
    "{{ eq 1 1.0 }}",
    "{{ lt true false }}",
    "{{ eq $labels $labels }}",
    "{{ gt $value 5 }}",
    "{{ gt $value 5.0 }} {{ if lt $value 1e7 }}low{{ else if gt $value 1.0 }}mid{{ else }}high{{ end }}",
    "{{ and 1 0 2 }} {{ and 1 2 }} {{ or 0 \"\" \"x\" }} {{ or 0 false }} {{ not 0 }} {{ not \"a\" }} {{ 1 | and 0 }} {{ 5 | or 0 }} {{ and true (query \"boom(\") | len }}",
    "{{ or true (query \"boom(\") }} {{ and false (query \"boom(\") }}",
    "{{ len $labels }} {{ len \"äb\" }} {{ len (query \"up\") }}",
    "{{ index $labels \"job\" }} {{ index (query \"sort(up)\") 1 | value }} {{ index \"abc\" 1 }} {{ index $labels \"none\" }}!",
    "{{ index (query \"up\") 9 }}",
    "{{ index $labels 5 }}",
    "{{ slice \"abcdef\" 1 3 }} {{ slice \"abc\" 1 }} {{ slice \"abc\" }} {{ len (slice (query \"up\") 1) }}",
    "{{ slice \"abc\" 4 }}",
    "{{- 1 -}} x {{- /* note */ -}} y {{/* note */}}z {{ \"q\" -}}\n  w",
    "{{ range query \"sort(up)\" }}{{ .Labels.job }}={{ .Value }};{{ end }} {{ range query \"none\" }}x{{ else }}empty{{ end }}",
    "{{ range sortByLabel \"job\" (query \"up\") }}{{ label \"job\" . }}{{ end }} {{ range $i, $s := query \"sort(up)\" }}{{ $i }}{{ $s | value }} {{ end }}",
    "{{ range $s := query \"sort(up)\" }}{{ $s.Labels.job }}{{ $.Value }}{{ end }} {{ range $k, $v := $labels }}{{ $k }}:{{ $v }},{{ end }}",
    "{{ range query \"sort(up)\" }}{{ if eq .Value 2.0 }}{{ continue }}{{ end }}{{ .Value }}{{ end }} {{ range query \"sort(up)\" }}{{ .Value }}{{ break }}{{ end }}",
    "{{ with query \"sort(up)\" }}{{ . | first | value | humanize }}{{ end }} {{ with $x := $labels.none }}{{ $x }}{{ else }}-{{ end }} {{ with $labels.job }}[{{ . }}]{{ end }}",
    "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }} {{ $x := 5 }}{{ $x }} {{ range $i, $s := query \"up\" }}{{ $x = $i }}{{ end }}{{ $x }}",
    "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" 5 }}{{ template \"t\" $value }}{{ template \"t\" }} {{ block \"b\" .Labels }}{{ .job }}{{ end }}{{ template \"b\" $labels }}",
    "{{ template \"nosuch\" }}",
    "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"t\" }}",
    "{{ first (query \"none\") }}",
    "{{ query \"sort(up)\" | first | label \"job\" }} {{ strvalue (query \"sort(up)\" | first) }} {{ with query \"vector(7)\" }}{{ . | first | value }}{{ end }} {{ query \"1\" | first | value }}",
    "{{ query \"up ==\" }}",
    "{{ query \"up[5m]\" }}",
    "{{ (query \"sort(up)\" | first).Value }} {{ (query \"sort(up)\" | first).Labels.job }} {{ (index (query \"sort(up)\") 0).Labels }}",
    "{{ $value.Foo }}",
    "{{ .Foo }}",
    "{{ $labels.a.b }}",
    "{{ with args 1 \"a\" true }}{{ .arg0 }}{{ .arg1 }}{{ .arg2 }}{{ end }}",
    "{{ humanize \"x\" }}",
    "{{ humanize true }}",
    "{{ toUpper 5 }}",
    "{{ humanize }}",
    "{{ humanize 1.0 2.0 }}",
    "{{ nil }}",
    "{{ 0x1F }} {{ 1_000 }} {{ 1e3 }} {{ 1.50 }} {{ 'a' }} {{ '\\n' }} {{ 0b11 }} {{ 0o17 }} {{ 017 }} {{ -5 }} {{ +5 }} {{ .5 }} {{ 5. }}",
    "{{ \"a\\tb\\x41\\u00e4\\101\" }} {{ `raw \\n {{ x }}` }} {{ true }} {{ false }}",
    "{{ 1e400 }}",
    "{{ 100000000 }} {{ 1e20 }} {{ 1e21 }} {{ 123456789.0 }} {{ 0.000001 }} {{ 0.0000001 }} {{ 1.0 }} {{ printf \"%v\" 1e6 }}",
    "{{ ($labels).job }} {{ (1 | printf \"%d\") | len }} {{ ((1)) }} {{ 5 | printf \"%d%s\" 4 }}",
    "{{ if $labels.none }}a{{ end }}{{ if not $labels.none }}b{{ end }}{{ if $labels }}c{{ end }}{{ if 0.0 }}d{{ end }}{{ if nil }}{{ end }}",
    "{{ call 5 }}",
    "{{ externalURL }}{{ pathPrefix }}",
    "a }} b { c",
    "{{/* a */}}{{- /* b */ -}}",
    "{{ range 3 }}{{ . }}{{ end }}",
    "{{ $labels.job | 5 | x }}",
];

/// Rows in which the two differ: major version of promtool (0 is any), part of the row, and why.
const DIFFERENCES: [(u32, &str, &str); 3] = [
    (
        2,
        "title",
        "words ended at any mark before Unicode's rules were taken",
    ),
    (
        0,
        "externalURL",
        "promtool has no URL there and fails; a server answers its own",
    ),
    (
        2,
        "range 3",
        "promtool 2 was built with a Go that ranges over no number",
    ),
];

fn rules(texts: &[&str]) -> String {
    let rule = |(at, text): (usize, &&str)| {
        let text = serde_json::to_string(text).expect("text");
        format!("  - {{alert: T{at:03}, expr: m, annotations: {{x: {text}}}}}\n")
    };
    let rules: String = texts.iter().enumerate().map(rule).collect();
    format!("groups:\n- name: g\n  rules:\n{rules}")
}

/// Our annotation of each text; `None` where loading refuses it.
fn ours(texts: &[&str]) -> Vec<Option<String>> {
    let mut store = SeriesStore::new();
    let series: [(&[(&str, &str)], f64); 3] = [
        (
            &[
                ("__name__", "m"),
                ("instance", "a.b.c:9090"),
                ("job", "x y"),
            ],
            1234567.891,
        ),
        (&[("__name__", "up"), ("job", "b")], 2.0),
        (&[("__name__", "up"), ("job", "a")], 1.0),
    ];
    for (labels, value) in series {
        store
            .append(&Labels::of(labels), 0, value)
            .expect("in order");
    }
    let schedule = Schedule {
        snapshots: vec![0],
        ..Schedule::steady(0, 0, 60_000)
    };
    let one = |text: &&str| {
        let set = RuleSet::from_sources([("a.yml", &*rules(&[text]))]).ok()?;
        let set = set.with_external_labels(Labels::of(&[("region", "eu")]));
        let mut evaluation = set.evaluate_recorded(&store, &schedule).expect("evaluates");
        evaluation.snapshots[0][0].annotations.remove("x")
    };
    texts.iter().map(one).collect()
}

/// promtool's annotation of each text, read from how it says that none was expected.
fn theirs(promtool: &Promtool, texts: &[&str]) -> Vec<Option<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let single: Vec<String> = texts.iter().map(|text| rules(&[text])).collect();
    let refused = promtool.check(&single);
    let good: Vec<&str> = texts
        .iter()
        .zip(&refused)
        .filter(|(_, no)| no.is_none())
        .map(|(text, _)| *text)
        .collect();
    std::fs::write(folder.path().join("rules.yml"), rules(&good)).expect("writes");
    let cases: String = (0..good.len())
        .map(|at| format!("  - {{eval_time: 0, alertname: T{at:03}, exp_alerts: []}}\n"))
        .collect();
    let test = format!(
        "rule_files: [rules.yml]\ntests:\n- interval: 1m\n  external_labels: {{region: eu}}\n  input_series:\n  - {{series: 'm{{instance=\"a.b.c:9090\", job=\"x y\"}}', values: '1234567.891'}}\n  - {{series: 'up{{job=\"b\"}}', values: '2'}}\n  - {{series: 'up{{job=\"a\"}}', values: '1'}}\n  alert_rule_test:\n{cases}"
    );
    std::fs::write(folder.path().join("test.yml"), test).expect("writes");
    let output = std::process::Command::new(&promtool.path)
        .args(["test", "rules", "test.yml"])
        .current_dir(folder.path())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout).to_string()
        + &String::from_utf8_lossy(&output.stderr);
    let found =
        regex::Regex::new(r#"alertname="(T\d+)"[^\n]*\n\s*Annotations:\{x=("(?:[^"\\]|\\.)*")\}"#)
            .expect("a pattern");
    let mut out: Vec<Option<String>> = vec![None; good.len()];
    for found in found.captures_iter(&said) {
        let at: usize = found[1][1..].parse().expect("a number");
        out[at] = Some(serde_json::from_str(&found[2]).expect("Go quotes as JSON does"));
    }
    let missing: Vec<&str> = good
        .iter()
        .zip(&out)
        .filter(|(_, text)| text.is_none())
        .map(|(text, _)| *text)
        .collect();
    assert!(
        missing.is_empty(),
        "promtool says nothing of {missing:?}:\n{said}"
    );
    let mut out = out.into_iter();
    refused
        .iter()
        .map(|no| {
            if no.is_none() {
                out.next().flatten()
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn annotations_are_those_of_promtool() {
    Promtool::installed().iter().for_each(annotations_are_those);
}

fn annotations_are_those(promtool: &Promtool) {
    let mut wrong = Vec::new();
    for ((text, ours), theirs) in EXPANDED
        .iter()
        .zip(ours(EXPANDED))
        .zip(theirs(promtool, EXPANDED))
    {
        let known = DIFFERENCES.iter().any(|(major, part, _)| {
            (*major == 0 || *major == promtool.major()) && text.contains(part)
        });
        // Go says where it failed in words of its own.
        let failed = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| text.starts_with("<error expanding template: "))
        };
        if ours != theirs && !known && !(failed(&ours) && failed(&theirs)) {
            wrong.push(format!("{text}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    println!(
        "{}: {} templates, {} differ",
        promtool.path.display(),
        EXPANDED.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What templates are made of.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{",
    "}}",
    "{{- ",
    " -}}",
    " ",
    " ",
    " ",
    "if ",
    "range ",
    "with ",
    "end",
    "else",
    "else if ",
    "$x",
    "$y",
    " := ",
    " = ",
    ", ",
    "$labels",
    ".Labels",
    ".x",
    "(",
    ")",
    " | ",
    "1",
    "-1",
    "1.5",
    "\"a\"",
    "`b`",
    "'c'",
    "print",
    "and",
    "humanize",
    "nosuch",
    "define \"t\"",
    "template \"t\"",
    "block \"b\" .",
    "break",
    "continue",
    "nil",
    "true",
    "/* c */",
    ".",
    "text",
    "-",
    ":",
    "0x",
    "1e",
    "@",
    "\n",
    "\t",
];

#[test]
fn templates_are_accepted_and_refused_as_by_promtool() {
    Promtool::installed()
        .iter()
        .for_each(templates_are_accepted);
}

fn templates_are_accepted(promtool: &Promtool) {
    let pieces = prop::sample::select(PIECES);
    let soup = prop::collection::vec(pieces, 1..14).prop_map(|pieces| pieces.concat());
    let whole = prop_oneof![
        1 => soup.clone(),
        3 => soup.clone().prop_map(|soup| format!("{{{{ {soup} }}}}")),
        2 => soup.prop_map(|soup| format!("{{{{ range $x := query \"up\" }}}}{{{{ {soup} }}}}{{{{ end }}}}")),
    ];
    let count = std::env::var("FIREDRILL_MUTANTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let texts: Vec<String> = (0..count)
        .map(|_| whole.new_tree(&mut runner).expect("draws").current())
        .collect();
    let files: Vec<String> = texts.iter().map(|text| rules(&[text])).collect();
    let (mut both, mut wrong) = (0, Vec::new());
    for ((text, file), theirs) in texts.iter().zip(&files).zip(promtool.check(&files)) {
        let ours = RuleSet::from_sources([("a.yml", &**file)])
            .err()
            .map(|errors| errors[0].reason.clone());
        both += usize::from(ours.is_none() && theirs.is_none());
        let chosen = ours
            .as_ref()
            .is_some_and(|reason| reason.contains("not supported"));
        if ours.is_some() != theirs.is_some() && !chosen {
            wrong.push(format!("{text:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    println!(
        "{}: {} templates, {both} accepted by both, {} differ",
        promtool.path.display(),
        texts.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
