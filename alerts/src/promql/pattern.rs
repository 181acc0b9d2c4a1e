//! Regular expressions as Prometheus writes them: Go's RE2, anchored, `.` matches a line feed too.
//!
//! Rust's engine speaks nearly the same language. What Go reads otherwise is refused or translated here.

use regex::{Regex, RegexBuilder};

/// Compiles an anchored expression. The error is the reason alone.
pub(super) fn anchored(pattern: &str) -> Result<Regex, String> {
    let translated = translate(pattern)?;
    RegexBuilder::new(&format!("^(?s:{translated})$"))
        .build()
        .map_err(|error| reason(&error, pattern))
}

/// The error in Go's words where they are known.
fn reason(error: &regex::Error, pattern: &str) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let why = match last.trim_start_matches("error: ") {
        "unclosed group" => "missing closing )",
        "unopened group" => "unexpected )",
        "unclosed character class" => "missing closing ]",
        "repetition operator missing expression" => "missing argument to repetition operator",
        other => other,
    };
    let shown = match why {
        "missing closing ]" => &pattern[pattern.rfind('[').unwrap_or(0)..],
        "missing argument to repetition operator" => {
            let first = pattern.chars().next().map_or(0, char::len_utf8);
            &pattern[..first]
        }
        _ => pattern,
    };
    format!("error parsing regexp: {why}: `{shown}`")
}

/// Go's syntax in Rust's words:
/// - `(?i)` and its like, classes, `\pL`, `\z`, `\A`, `\Q…\E`, `(?P<n>…)` and `(?<n>…)`: the same, `\Q…\E` is spelt out.
/// - `\d`, `\w`, `\s`, `\b` and `[[:alpha:]]` are ASCII in Go.
/// - A `{` that begins no repetition is a character; so is `[` inside of a class, and `&&`, `--`, `~~` mean nothing there.
/// - `\C` (a byte) and flags that Go does not know (`x`, `R`, `u`) are refused.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    // 1 behind a repetition, 2 behind a lazy one, else 0.
    let mut repetitions = 0;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let repeat = !in_class && (matches!(c, '*' | '+' | '?') || (c == '{' && repeats(after)?));
        repetitions = match (repeat, repetitions) {
            (true, 0) => 1,
            (true, 1) if c == '?' => 2,
            (true, _) => {
                return Err(format!(
                    "error parsing regexp: invalid nested repetition operator: `{}`",
                    &pattern[pattern.len() - rest.len() - 1..pattern.len() - after.len()]
                ));
            }
            (false, _) => 0,
        };
        let taken = match (c, in_class) {
            ('\\', _) => escape(after, in_class, &mut out)?,
            ('[', false) => {
                out.push('[');
                let negated = usize::from(after.starts_with('^'));
                out.push_str(&after[..negated]);
                // A `]` that comes first stands for itself.
                let closing = usize::from(after[negated..].starts_with(']'));
                out.push_str(if closing == 1 { "\\]" } else { "" });
                in_class = true;
                1 + negated + closing
            }
            ('[', true) if after.starts_with(':') && after.contains(":]") => {
                let end = after.find(":]").unwrap_or(0) + 2;
                out.push('[');
                out.push_str(&after[..end]);
                1 + end
            }
            (']', true) => {
                out.push(']');
                in_class = false;
                1
            }
            ('[' | '&' | '~', true) => {
                out.push('\\');
                out.push(c);
                1
            }
            ('-', true) if after.starts_with('-') => {
                out.push_str("\\-");
                1
            }
            ('{', false) if !repeat => {
                out.push_str("\\{");
                1
            }
            ('(', false) if after.starts_with('?') => {
                flags(after)?;
                out.push('(');
                1
            }
            (c, _) => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Ok(out)
}

/// The escape whose text follows the backslash; answers how many bytes it took with the backslash.
fn escape(after: &str, in_class: bool, out: &mut String) -> Result<usize, String> {
    let Some(c) = after.chars().next() else {
        return Err("error parsing regexp: trailing backslash at end of expression: ``".into());
    };
    let ascii = match c {
        'd' => "0-9",
        's' => "\\t\\n\\f\\r ",
        'w' => "0-9A-Za-z_",
        'D' if !in_class => "^0-9",
        'S' if !in_class => "^\\t\\n\\f\\r ",
        'W' if !in_class => "^0-9A-Za-z_",
        'D' => "\\x{0}-/:-\\x{10FFFF}",
        'S' => "\\x{0}-\\x08\\x0B\\x0E-\\x1F!-\\x{10FFFF}",
        'W' => "\\x{0}-/:-@\\[-\\^`\\{-\\x{10FFFF}",
        'b' if !in_class => {
            out.push_str("(?-u:\\b)");
            return Ok(2);
        }
        'B' if !in_class => {
            out.push_str("(?-u:\\B)");
            return Ok(2);
        }
        'Q' if !in_class => {
            let end = after[1..].find("\\E");
            let quoted = &after[1..end.map_or(after.len(), |end| end + 1)];
            out.push_str(&regex::escape(quoted));
            return Ok(2 + quoted.len() + if end.is_some() { 2 } else { 0 });
        }
        'C' => {
            return Err(
                "regular expression `\\C` is not supported: it matches part of a character".into(),
            );
        }
        '1'..='7' if !after[1..].starts_with(|c: char| ('0'..='7').contains(&c)) => {
            return Err(format!(
                "error parsing regexp: invalid escape sequence: `\\{c}`"
            ));
        }
        '0'..='7' => {
            let digits = after
                .bytes()
                .take(3)
                .take_while(|digit| (b'0'..=b'7').contains(digit))
                .count();
            let code = u32::from_str_radix(&after[..digits], 8).unwrap_or(0);
            out.push_str(&format!("\\x{{{code:x}}}"));
            return Ok(1 + digits);
        }
        'E' | 'G' | 'R' | 'X' | 'h' | 'H' | 'k' | 'N' | 'u' | 'U' | '8' | '9' | '<' | '>' => {
            if matches!(c, '<' | '>') {
                // Rust reads a word's bound here, Go the character.
                out.push(c);
                return Ok(2);
            }
            return Err(format!(
                "error parsing regexp: invalid escape sequence: `\\{c}`"
            ));
        }
        // `\x{e9}` and `\p{Greek}` go on in braces.
        'x' | 'p' | 'P' if after[1..].starts_with('{') => {
            let end = after.find('}').map_or(after.len(), |end| end + 1);
            out.push('\\');
            out.push_str(&after[..end]);
            return Ok(1 + end);
        }
        c => {
            out.push('\\');
            out.push(c);
            return Ok(1 + c.len_utf8());
        }
    };
    match in_class {
        true => out.push_str(ascii),
        false => out.push_str(&format!("[{ascii}]")),
    }
    Ok(2)
}

/// True when what follows `{` makes it a repetition: `3}`, `3,}`, `3,5}`. Go allows a thousand at most.
fn repeats(after: &str) -> Result<bool, String> {
    let Some((inside, _)) = after.split_once('}') else {
        return Ok(false);
    };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if least.is_empty() || !digits(least) || !digits(most) {
        return Ok(false);
    }
    let large = |text: &str| !text.is_empty() && text.parse::<u16>().map_or(true, |n| n > 1000);
    if large(least) || large(most) {
        return Err(format!(
            "error parsing regexp: invalid repeat count: `{{{inside}}}`"
        ));
    }
    Ok(true)
}

/// Refuses groups and flags that Go does not know.
fn flags(after: &str) -> Result<(), String> {
    let body = &after[1..];
    if body.starts_with("P<")
        || body.starts_with('<') && !body.starts_with("<=") && !body.starts_with("<!")
    {
        return Ok(());
    }
    let known = |c: &char| matches!(c, 'i' | 'm' | 's' | 'U' | '-');
    let end = body.chars().take_while(known).count();
    match body[end..].chars().next() {
        Some(':' | ')') => Ok(()),
        _ => Err(format!(
            "error parsing regexp: invalid or unsupported Perl syntax: `(?{}`",
            body.chars().next().unwrap_or(' ')
        )),
    }
}

/// Writes what a match is replaced by: `$1`, `${1}`, `$name`, `${name}`, `$$`. A name is as long as possible, a group that is
/// not there is empty, and a `$` before anything else stands for itself, as in Go.
pub(super) fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let word = |text: &str| {
            text.find(|c: char| c != '_' && !c.is_alphanumeric())
                .unwrap_or(text.len())
        };
        let (name, tail) = match after.strip_prefix('{') {
            Some(braced) => {
                let end = word(braced);
                match braced[end..].strip_prefix('}') {
                    Some(tail) => (&braced[..end], tail),
                    None => ("", after),
                }
            }
            None => after.split_at(word(after)),
        };
        if name.is_empty() {
            out.push('$');
            rest = after;
            continue;
        }
        let group = match name.parse::<usize>() {
            Ok(number) if !(name.len() > 1 && name.starts_with('0')) => captures.get(number),
            _ => captures.name(name),
        };
        out.push_str(group.map_or("", |group| group.as_str()));
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_and_rust_read_the_same() {
        let cases = [
            ("a.c", "a\nc", true),
            ("a", "ab", false),
            ("a|ab", "ab", true),
            ("(?i)ABC", "abc", true),
            ("\\pL+", "\u{e9}x", true),
            ("\\d", "\u{0663}", false),
            ("\\w", "\u{e9}", false),
            ("[\\w-]+", "a-b", true),
            ("[^\\d]", "x", true),
            ("[^\\D]", "7", true),
            ("{a}", "{a}", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            ("[[a]+", "[a", true),
            ("[]a]+", "]a", true),
            ("[a&&b]+", "&ab", true),
            ("[[:alpha:]]", "q", true),
            ("\\Qa.b\\E+", "a.bb", true),
            ("(?P<n>a)(?<m>b)", "ab", true),
            ("\\x{e9}\\z", "\u{e9}", true),
            ("\\.", ".", true),
            ("\\101", "A", true),
            ("a\\/b", "a/b", true),
            ("\\-\\_", "-_", true),
        ];
        for (pattern, text, want) in cases {
            let regex = anchored(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), want, "{pattern} on {text}");
        }
        for pattern in ["(", "\\C", "(?=a)", "(?x)a", "a**", "[b-a]", "\\8", "\\"] {
            assert!(anchored(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn replacements_expand_as_in_go() {
        let regex = anchored("(?P<first>a)(b)(c)?").expect("valid");
        let captures = regex.captures("ab").expect("matches");
        let cases = [
            ("$1-$2-$3", "a-b-"),
            ("$1x", ""),
            ("${1}x", "ax"),
            ("$first!", "a!"),
            ("$$1", "$1"),
            ("$", "$"),
            ("${", "${"),
            ("${1", "${1"),
            ("$0", "ab"),
            ("$9", ""),
        ];
        for (template, want) in cases {
            assert_eq!(expand(template, &captures), want, "{template}");
        }
    }
}
