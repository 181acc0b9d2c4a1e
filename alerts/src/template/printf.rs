//! Go's `print`, `println` and `printf` for the values that a template can hold.

use super::value::Value;
use crate::number::{format_e, format_f, format_g};

/// Wider or more precise than this is a mistake; Go's own limit is higher.
const WIDTH_MAX: usize = 1000;

/// Go reads no larger width or precision.
const SIZE_MAX: u64 = 1_000_000;

/// A width or a precision.
enum Size {
    Of(i64),
    /// No argument, one that is no integer, or one that is too large.
    Bad,
    /// So many digits that Go takes the rest of the format for them.
    Endless,
}

/// `print` puts spaces between operands that are no strings, `println` between all.
pub(super) fn print(args: &[Value], line: bool) -> String {
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        let text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && (line || (!text(value) && !text(&args[at - 1]))) {
            out.push(' ');
        }
        out.push_str(&shown(value));
    }
    if line {
        out.push('\n');
    }
    out
}

fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".into(),
        value => value.to_string(),
    }
}

#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '+' | '0' | ' ' | '#')) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '0' => verb.zero = true,
                ' ' => verb.space = true,
                _ => verb.sharp = true,
            }
        }
        let mut size = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                return match args.next() {
                    Some(Value::Int(given)) if given.unsigned_abs() <= SIZE_MAX => Size::Of(*given),
                    _ => Size::Bad,
                };
            }
            let mut size = 0i64;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                if size.unsigned_abs() > SIZE_MAX {
                    return Size::Endless;
                }
                size = size * 10 + i64::from(digit as u32 - '0' as u32);
            }
            Size::Of(size)
        };
        let bounded = |size: i64| (size.unsigned_abs() as usize).min(WIDTH_MAX);
        match size(&mut chars) {
            Size::Of(width) => {
                verb.minus |= width < 0;
                verb.width = bounded(width);
            }
            Size::Bad => out.push_str("%!(BADWIDTH)"),
            Size::Endless => chars.by_ref().for_each(drop),
        }
        if chars.next_if_eq(&'.').is_some() {
            match size(&mut chars) {
                Size::Of(precision @ 0..) => verb.precision = Some(bounded(precision)),
                Size::Of(_) | Size::Bad => out.push_str("%!(BADPREC)"),
                Size::Endless => chars.by_ref().for_each(drop),
            }
        }
        match chars.next() {
            Some('%') => out.push('%'),
            None => out.push_str("%!(NOVERB)"),
            Some(letter) => match args.next() {
                None => out.push_str(&format!("%!{letter}(MISSING)")),
                Some(value) => out.push_str(&verb.pad(verb.write(letter, value), value)),
            },
        }
    }
    let extra: Vec<String> = args.map(named).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// A value with its type, as Go shows what it did not expect.
fn named(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".into(),
        value => format!("{}={value}", value.kind()),
    }
}

impl Verb {
    fn write(&self, letter: char, value: &Value) -> String {
        let written = match (letter, value) {
            ('T', value) => Some(value.kind().to_string()),
            ('v', Value::Int(value)) => self.integer('d', *value),
            ('v', Value::Float(value)) => self.float('g', *value),
            ('v', Value::Text(text)) => self.text('s', text),
            ('v', value) => Some(shown(value)),
            (letter, Value::Int(value)) => self.integer(letter, *value),
            (letter, Value::Float(value)) => self.float(letter, *value),
            (letter, Value::Text(text)) => self.text(letter, text),
            ('t', Value::Bool(value)) => Some(value.to_string()),
            ('s', Value::Time(time)) => Some(time.to_string()),
            ('s' | 'q', Value::Map(map)) => {
                let pair = |(key, value): (&String, &Value)| {
                    let key = self.text(letter, key).unwrap_or_default();
                    format!("{key}:{}", self.write(letter, value))
                };
                Some(format!(
                    "map[{}]",
                    map.iter().map(pair).collect::<Vec<_>>().join(" ")
                ))
            }
            _ => None,
        };
        written.unwrap_or_else(|| format!("%!{letter}({})", named(value)))
    }

    fn signed(&self, text: String) -> String {
        match text.starts_with(['-', '+']) {
            false if self.plus => format!("+{text}"),
            false if self.space => format!(" {text}"),
            _ => text,
        }
    }

    fn integer(&self, letter: char, value: i64) -> Option<String> {
        let sign = if value < 0 { "-" } else { "" };
        let size = value.unsigned_abs();
        let character = u32::try_from(value).ok().and_then(char::from_u32);
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        let prefix = |prefix: &'static str| if self.sharp { prefix } else { "" };
        let digits = match letter {
            'd' => size.to_string(),
            'x' => format!("{}{size:x}", prefix("0x")),
            'X' => format!("{}{size:X}", prefix("0X")),
            'o' => format!("{}{size:o}", prefix("0")),
            'O' => format!("0o{size:o}"),
            'b' => format!("{}{size:b}", prefix("0b")),
            'c' => return Some(character.to_string()),
            'q' => return Some(format!("{character:?}")),
            'U' => return Some(format!("U+{size:04X}")),
            _ => return None,
        };
        Some(self.signed(format!("{sign}{digits}")))
    }

    fn float(&self, letter: char, value: f64) -> Option<String> {
        let text = match letter {
            'f' | 'F' => format_f(value, Some(self.precision.unwrap_or(6))),
            'e' => format_e(value, Some(self.precision.unwrap_or(6))),
            'E' => format_e(value, Some(self.precision.unwrap_or(6))).to_uppercase(),
            'g' => format_g(value, self.precision),
            'G' => format_g(value, self.precision).to_uppercase(),
            _ => return None,
        };
        let text = match (value.is_nan(), value.is_infinite()) {
            (true, _) => "NaN".to_string(),
            (_, true) if value > 0.0 => "+Inf".into(),
            (_, true) => "-Inf".into(),
            _ => text,
        };
        Some(self.signed(text))
    }

    fn text(&self, letter: char, text: &str) -> Option<String> {
        let most = self.precision.unwrap_or(usize::MAX);
        Some(match letter {
            's' => text.chars().take(most).collect(),
            'q' if self.sharp && !text.contains('`') => format!("`{text}`"),
            'q' => quoted(text.chars().take(most)),
            'x' => text
                .bytes()
                .take(most)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            'X' => text
                .bytes()
                .take(most)
                .map(|byte| format!("{byte:02X}"))
                .collect(),
            _ => return None,
        })
    }

    fn pad(&self, text: String, value: &Value) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let digits = match value {
            Value::Float(value) => value.is_finite(),
            _ => true,
        };
        match (self.minus, self.zero && digits) {
            _ if missing == 0 => text,
            (true, _) => text + &" ".repeat(missing),
            (false, true) => match text.strip_prefix(['-', '+']) {
                Some(rest) if !matches!(value, Value::Text(_)) => {
                    format!("{}{}{rest}", &text[..1], "0".repeat(missing))
                }
                _ => "0".repeat(missing) + &text,
            },
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

/// A Go string literal.
fn quoted(text: impl Iterator<Item = char>) -> String {
    let mut out = String::from('"');
    for c in text {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
