//! Reads words, numbers and quoted strings from the left, as Prometheus' lexer does within a series description.

use super::NotationError;
use crate::number::parse_value;

/// A place in a text.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Cursor { text, at: 0 }
    }

    pub fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub fn eat(&mut self, want: char) -> bool {
        let found = self.peek() == Some(want);
        if found {
            self.next();
        }
        found
    }

    pub fn is_done(&self) -> bool {
        self.at == self.text.len()
    }

    pub fn at_space(&self) -> bool {
        self.peek()
            .is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
    }

    pub fn spaces(&mut self) {
        while self.at_space() {
            self.next();
        }
    }

    /// The characters that are accepted, as many as there are.
    pub fn word(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !accepts(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    pub fn error(&self, reason: String) -> NotationError {
        NotationError {
            column: self.text[..self.at].chars().count() + 1,
            reason,
        }
    }

    pub fn unexpected(&self, context: &str, expected: &str) -> NotationError {
        let found = match self.peek() {
            Some(c) => format!("character {c:?}"),
            None => "end of input".into(),
        };
        self.error(format!(
            "unexpected {found} in {context}, expected {expected}"
        ))
    }

    /// Steps over `{{…}}` if it stands here.
    pub fn native(&mut self) -> Result<bool, NotationError> {
        if !self.rest().starts_with("{{") {
            return Ok(false);
        }
        match self.rest().find("}}") {
            Some(end) => self.at += end + 2,
            None => return Err(self.error("the native histogram is not closed by \"}}\"".into())),
        }
        Ok(true)
    }

    /// Steps over the word `stale`. It is a word: `stalex2` is another one.
    pub fn stale(&mut self) -> bool {
        let found = self.clone().word(in_word) == "stale";
        if found {
            self.word(in_word);
        }
        found
    }

    pub fn signed_number(&mut self) -> Result<f64, NotationError> {
        let negative = self.peek() == Some('-');
        if negative || self.peek() == Some('+') {
            self.next();
        }
        let value = self.number()?;
        Ok(if negative { -value } else { value })
    }

    /// `Inf` and `NaN` in any case, or digits; hexadecimal is not, since `x` repeats.
    fn number(&mut self) -> Result<f64, NotationError> {
        let place = self.clone();
        if self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            let word = self.word(in_word);
            return match &*word.to_ascii_lowercase() {
                "inf" => Ok(f64::INFINITY),
                "nan" => Ok(f64::NAN),
                _ => Err(place.error(format!(
                    "unexpected {word:?} in series values, expected a number or \"stale\""
                ))),
            };
        }
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let fraction = self.peek() == Some('.') && digit(self.rest().chars().nth(1));
        if !digit(self.peek()) && !fraction {
            return Err(self.unexpected("series values", "a number, \"stale\" or \"_\""));
        }
        let mut exponent = false;
        while let Some(c) = self.peek() {
            match c {
                '0'..='9' | '.' | '_' => {}
                'e' | 'E' if !exponent => exponent = true,
                '+' | '-' if self.text[..self.at].ends_with(['e', 'E']) => {}
                _ => break,
            }
            self.next();
        }
        let word = &self.text[place.at..self.at];
        let ends = |c: char| c == 'x' || !(c.is_ascii_alphanumeric() || c == '_');
        match number(word) {
            Some(value) if self.peek().is_none_or(ends) => Ok(value),
            _ => {
                let more = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
                Err(place.error(format!("bad number syntax: \"{word}{more}\"")))
            }
        }
    }

    /// A string in double, single or back quotes, without them and with its escapes resolved.
    pub fn string(&mut self) -> Result<String, NotationError> {
        let start = self.clone();
        let unterminated = || start.error("unterminated quoted string".into());
        let quote = self.next().ok_or_else(unterminated)?;
        let mut out = String::new();
        loop {
            let place = self.clone();
            match self.next().ok_or_else(unterminated)? {
                c if c == quote => return Ok(out),
                '\n' if quote != '`' => return Err(unterminated()),
                '\\' if quote != '`' => match self.escape(quote) {
                    Some(c) => out.push(c),
                    None => {
                        let reason = "unknown or unfinished escape sequence".into();
                        return Err(place.error(reason));
                    }
                },
                c => out.push(c),
            }
        }
    }

    /// What stands after a backslash. An escape for a byte that is no character is refused: labels are UTF-8 here.
    fn escape(&mut self, quote: char) -> Option<char> {
        let first = self.peek()?;
        let (radix, digits) = match first {
            '0'..='7' => (8, 3),
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            _ => {
                self.next();
                return Some(match first {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    c if c == '\\' || c == quote => c,
                    _ => return None,
                });
            }
        };
        if radix == 16 {
            self.next();
        }
        let mut code = 0u32;
        for _ in 0..digits {
            code = code
                .checked_mul(radix)?
                .checked_add(self.next()?.to_digit(radix)?)?;
        }
        let byte = digits < 4;
        char::from_u32(code).filter(|_| !byte || code < 0x80)
    }
}

/// What words and metric names are made of.
pub(super) fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// A number as Go's strconv reads it with base 0: decimal, `0x`, `0o`, `0b`, a leading `0` for octal, underscores between
/// digits, `Inf` and `NaN` in any case; not the hexadecimal floats with a binary exponent.
pub fn number(text: &str) -> Option<f64> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let bytes = rest.as_bytes();
    let plain = !bytes.starts_with(b"0") && bytes.iter().all(u8::is_ascii_digit);
    if plain {
        // Most numbers are whole and decimal.
        let value = parse_value(rest)?;
        return Some(if negative { -value } else { value });
    }
    let prefixed = bytes.len() > 2 && bytes[0] == b'0' && b"xXoObB".contains(&bytes[1]);
    let digit = |at: Option<usize>| match at.and_then(|at| bytes.get(at)) {
        Some(byte) if prefixed => byte.is_ascii_hexdigit() || at == Some(1),
        Some(byte) => byte.is_ascii_digit(),
        None => false,
    };
    let separated = (0..bytes.len())
        .filter(|at| bytes[*at] == b'_')
        .all(|at| digit(at.checked_sub(1)) && digit(Some(at + 1)));
    if !separated || rest.starts_with(['+', '-']) {
        return None;
    }
    let plain = rest.replace('_', "");
    let whole = |digits: &str, radix| {
        let unsigned = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        unsigned.then(|| i64::from_str_radix(digits, radix).ok())?
    };
    let value = match plain.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => whole(&plain[2..], 16)? as f64,
        Some("0o") => whole(&plain[2..], 8)? as f64,
        Some("0b") => whole(&plain[2..], 2)? as f64,
        _ if plain.starts_with('0') => match whole(&plain, 8) {
            Some(octal) => octal as f64,
            None => plain.parse().ok()?,
        },
        _ => plain.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}
