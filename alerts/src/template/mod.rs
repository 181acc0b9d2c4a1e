//! Go's text/template as alert rules use it.
//!
//! What does not parse is refused when the rules are loaded, as promtool refuses it; whatever fails while it runs becomes text
//! (see [`Template::expand`]), never a lost alert. Every expansion ends: depth, steps and sizes are bounded. Left out, each an
//! error that says so: complex numbers, declarations in parentheses.

mod asked;
mod functions;
mod humanize;
mod lex;
mod parse;
mod printf;
mod run;
mod text;
mod time;
mod value;

use std::fmt;

use crate::labels::Labels;
use parse::{Defined, Step};

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    steps: Vec<Step>,
    defined: Defined,
}

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub reason: String,
    /// Where: byte offset into the text.
    pub at: usize,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TemplateError {}

/// Answers `query "…"` in a template: labels and value of each sample, or why not.
pub type QueryFn<'a> = &'a dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String>;

/// What a template may read.
pub struct Data<'a> {
    /// `$labels`.
    pub labels: &'a Labels,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// `$externalURL`.
    pub external_url: &'a str,
    /// `$value`.
    pub value: f64,
    /// `query`.
    pub query: QueryFn<'a>,
}

impl Template {
    /// Parses; the error says what is wrong, and where.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let (steps, defined) = parse::parse(text)?;
        Ok(Template {
            text: text.to_string(),
            steps,
            defined,
        })
    }

    /// Text that is no template, whatever it contains (labels of recording rules).
    pub fn literal(text: &str) -> Template {
        Template {
            text: text.to_string(),
            steps: vec![Step::Text(text.to_string())],
            defined: Defined::new(),
        }
    }

    /// True when expansion always answers the text itself.
    pub fn is_plain(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Text(_)))
    }

    /// What `query` asks for; `None` when that is known only while the template runs.
    pub fn queries(&self) -> Option<Vec<&str>> {
        let mut out = Vec::new();
        let whole = std::iter::once(&self.steps).chain(self.defined.values());
        for steps in whole {
            asked::queries(steps, &mut out)?;
        }
        Some(out)
    }

    /// Labels that it shows as they are; what is shown only if a condition holds is left out.
    pub fn labels(&self) -> Vec<String> {
        let mut out = Vec::new();
        asked::labels(&self.steps, &mut out);
        out
    }

    /// The text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Expands; a failure becomes `<error expanding template: …>`, as in Prometheus.
    pub fn expand(&self, data: &Data<'_>) -> String {
        match run::run(&self.steps, &self.defined, data) {
            Ok(text) => text,
            Err(reason) => format!("<error expanding template: {reason}>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[(&str, &str)]) {
        let labels = Labels::of(&[("instance", "a:80"), ("job", "x")]);
        let external = Labels::of(&[("region", "eu")]);
        let query = |text: &str| match text {
            "up" => Ok(vec![
                (Labels::of(&[("__name__", "up"), ("job", "b")]), 2.0),
                (Labels::of(&[("job", "a")]), 1.0),
            ]),
            "none" => Ok(vec![]),
            other => Err(format!("bad query {other}")),
        };
        for (text, want) in rows {
            let data = Data {
                labels: &labels,
                external_labels: &external,
                external_url: "http://p",
                value: 1234567.891,
                query: &query,
            };
            let got = match Template::parse(text) {
                Ok(template) => template.expand(&data),
                Err(reason) => format!("refused: {reason}"),
            };
            assert_eq!(&got, want, "{text}");
        }
    }

    #[test]
    fn values_and_pipelines() {
        check(&[
            ("plain", "plain"),
            ("{{ $labels.instance }} of {{ .Labels.job }}", "a:80 of x"),
            ("{{ $labels.missing }}!", "!"),
            (
                "{{ $value }} {{ .Value | printf \"%.2f\" }}",
                "1.234567891e+06 1234567.89",
            ),
            ("{{ $value | humanize }}", "1.235M"),
            (
                "{{ humanize1024 2048.0 }} {{ 0.1234 | humanizePercentage }}",
                "2ki 12.34%",
            ),
            (
                "{{ humanizeDuration 3661.0 }} {{ 0.0015 | humanizeDuration }}",
                "1h 1m 1s 1.5ms",
            ),
            (
                "{{ $externalLabels.region }} {{ $externalURL }}",
                "eu http://p",
            ),
            ("{{ index $labels \"job\" }}", "x"),
            ("{{- 1 -}} x {{/* note */}}y", "1x y"),
            (
                "{{ printf \"%s=%d %5.1f|%-4s|%q %v %%\" \"a\" 3 2.25 \"b\" \"c\" true }}",
                "a=3   2.2|b   |\"c\" true %",
            ),
            (
                "{{ toUpper \"a\" }}{{ \"B\" | toLower }}{{ title \"ab cd\" }}",
                "AbAb Cd",
            ),
            (
                "{{ reReplaceAll \"(.*):80\" \"$1\" $labels.instance }} {{ stripPort $labels.instance }}",
                "a a",
            ),
            (
                "{{ humanizeTimestamp 1.7e9 }}",
                "2023-11-14 22:13:20 +0000 UTC",
            ),
        ]);
    }

    #[test]
    fn control_flow() {
        check(&[
            (
                "{{ if eq $labels.job \"x\" }}yes{{ else }}no{{ end }}",
                "yes",
            ),
            (
                "{{ if gt $value 2e6 }}a{{ else if lt $value 2e6 }}b{{ else }}c{{ end }}",
                "b",
            ),
            (
                "{{ if and (match \"^a\" $labels.instance) (not false) }}m{{ end }}",
                "m",
            ),
            (
                "{{ with $labels.job }}[{{ . }}]{{ end }}{{ with $labels.none }}x{{ else }}-{{ end }}",
                "[x]-",
            ),
            (
                "{{ range query \"up\" }}{{ .Labels.job }}={{ .Value }};{{ end }}",
                "b=2;a=1;",
            ),
            (
                "{{ range sortByLabel \"job\" (query \"up\") }}{{ label \"job\" . }}{{ end }}",
                "ab",
            ),
            (
                "{{ range $i, $s := query \"up\" }}{{ $i }}{{ $s | value }} {{ end }}",
                "02 11 ",
            ),
            (
                "{{ range query \"none\" }}x{{ else }}empty{{ end }}",
                "empty",
            ),
            (
                "{{ with query \"up\" }}{{ . | first | value | humanize }}{{ end }}",
                "2",
            ),
            (
                "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}",
                "2",
            ),
            (
                "{{ define \"t\" }}<{{ . }}>{{ end }}{{ template \"t\" 5 }}",
                "<5>",
            ),
            ("{{ len (query \"up\") }}", "2"),
        ]);
    }

    #[test]
    fn what_fails_is_text_or_refused_never_silent() {
        check(&[
            (
                "{{ query \"boom\" }}",
                "<error expanding template: error calling query: bad query boom>",
            ),
            ("{{ nosuch }}", "refused: function \"nosuch\" not defined"),
            (
                "{{ if true }}x",
                "refused: unexpected EOF: `{{end}}` is missing",
            ),
            ("{{ $nosuch }}", "refused: undefined variable \"$nosuch\""),
            ("{{ 1", "refused: unclosed action"),
            (
                "{{ query \"none\" | first | value }}",
                "<error expanding template: error calling first: first() called on vector with no elements>",
            ),
        ]);
    }
}
