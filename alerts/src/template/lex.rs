//! Template text to tokens with their places, as Go's scanner cuts it.

use super::TemplateError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions.
    Outside(String),
    /// `{{`, trim marker included.
    Open,
    /// `}}`, trim marker included.
    Close,
    /// A name, a keyword, `true`, `false` or `nil`.
    Word(String),
    Field(String),
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    /// `( ) | , .`
    Mark(char),
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// Separates the words of a command: `$a .B` is not `$a.B`.
    Space,
    /// The end of the text.
    End,
}

/// A token and its byte offset.
pub(super) type Placed = (Token, usize);

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, TemplateError> {
    let mut scan = Scan {
        text,
        at: 0,
        out: Vec::new(),
    };
    scan.all()?;
    scan.out.push((Token::End, text.len()));
    Ok(scan.out)
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    out: Vec<Placed>,
}

fn fail<T>(at: usize, reason: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError {
        reason: reason.into(),
        at,
    })
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn outside(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.out.push((Token::Outside(text.to_string()), at));
        }
    }

    fn all(&mut self) -> Result<(), TemplateError> {
        let mut trim = false;
        loop {
            let rest = self.rest();
            let open = rest.find("{{");
            let mut head = &rest[..open.unwrap_or(rest.len())];
            if trim {
                head = head.trim_start_matches(BLANKS);
            }
            let from = self.at;
            let Some(open) = open else {
                self.outside(head, from);
                return Ok(());
            };
            let begin = self.at + open;
            self.at = begin + 2;
            let inner = self.rest();
            if inner.starts_with('-') && inner[1..].starts_with(BLANKS) {
                head = head.trim_end_matches(BLANKS);
                self.at += 2;
            }
            self.outside(head, from);
            trim = match self.rest().strip_prefix("/*") {
                Some(comment) => self.comment(comment, begin)?,
                None => {
                    self.out.push((Token::Open, begin));
                    self.action()?
                }
            };
        }
    }

    /// Skips a comment; true when it trims what follows.
    fn comment(&mut self, comment: &'t str, begin: usize) -> Result<bool, TemplateError> {
        let Some(end) = comment.find("*/") else {
            return fail(begin, "unclosed comment");
        };
        let after = &comment[end + 2..];
        let trimmed = after
            .strip_prefix(BLANKS)
            .and_then(|after| after.strip_prefix("-}}"));
        let left = trimmed.or_else(|| after.strip_prefix("}}"));
        let Some(left) = left else {
            return fail(begin, "comment ends before closing delimiter");
        };
        self.at = self.text.len() - left.len();
        Ok(trimmed.is_some())
    }

    /// The tokens of one action; true when it trims what follows.
    fn action(&mut self) -> Result<bool, TemplateError> {
        let mut depth = 0usize;
        loop {
            let (rest, at) = (self.rest(), self.at);
            let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
            let trimming = rest[blanks..].starts_with("-}}") && blanks > 0;
            if trimming || rest.starts_with("}}") {
                if depth > 0 {
                    return fail(at, "unclosed left paren");
                }
                self.out.push((Token::Close, at));
                self.at += if trimming { blanks + 3 } else { 2 };
                return Ok(trimming);
            }
            let (token, length) = match rest.chars().next() {
                None => return fail(at, "unclosed action"),
                Some(_) if blanks > 0 => (Token::Space, blanks),
                Some(first) => self.token(first)?,
            };
            match token {
                Token::Mark('(') => depth += 1,
                Token::Mark(')') if depth == 0 => return fail(at, "unexpected right paren"),
                Token::Mark(')') => depth -= 1,
                _ => {}
            }
            self.out.push((token, at));
            self.at += length;
        }
    }

    fn token(&self, first: char) -> Result<(Token, usize), TemplateError> {
        let (rest, at) = (self.rest(), self.at);
        let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        Ok(match first {
            '"' | '`' => self.quoted(first)?,
            '\'' => self.character()?,
            '$' => {
                let end = self.name_end(1)?;
                (Token::Variable(rest[..end].to_string()), end)
            }
            '.' if digit(&rest[1..]) => self.number()?,
            '.' => match self.name_end(1)? {
                1 => (Token::Mark('.'), 1),
                end => (Token::Field(rest[1..end].to_string()), end),
            },
            '(' | ')' | '|' | ',' => (Token::Mark(first), 1),
            '=' => (Token::Assign, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            ':' => return fail(at, "expected :="),
            '+' | '-' | '0'..='9' => self.number()?,
            c if c.is_alphabetic() || c == '_' => {
                let end = self.name_end(0)?;
                (Token::Word(rest[..end].to_string()), end)
            }
            other => {
                return fail(
                    at,
                    format!(
                        "unrecognized character in action: U+{:04X} {other:?}",
                        other as u32
                    ),
                );
            }
        })
    }

    /// Where a name ends; what follows must end it.
    fn name_end(&self, from: usize) -> Result<usize, TemplateError> {
        let rest = self.rest();
        let end = rest[from..].find(|c: char| !c.is_alphanumeric() && c != '_');
        let end = end.map_or(rest.len(), |end| end + from);
        let after = &rest[end..];
        match after.chars().next() {
            Some(c)
                if !BLANKS.contains(&c) && !".,|:=()".contains(c) && !after.starts_with("}}") =>
            {
                let place = self.at + end;
                fail(place, format!("bad character U+{:04X} {c:?}", c as u32))
            }
            _ => Ok(end),
        }
    }

    fn number(&self) -> Result<(Token, usize), TemplateError> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.char_indices().find(|(at, c)| {
            let sign =
                matches!(c, '+' | '-') && (*at == 0 || matches!(before, 'e' | 'E' | 'p' | 'P'));
            before = *c;
            !(c.is_alphanumeric() || matches!(c, '.' | '_') || sign)
        });
        let end = end.map_or(rest.len(), |(at, _)| at);
        match number(&rest[..end]) {
            Some(token) => Ok((token, end)),
            None => fail(self.at, format!("bad number syntax: {:?}", &rest[..end])),
        }
    }

    /// A character in single quotes is its number.
    fn character(&self) -> Result<(Token, usize), TemplateError> {
        let body = &self.rest()[1..];
        let mut chars = body.chars();
        let found = match chars.next() {
            Some('\\') => escape(&mut chars, '\''),
            Some('\n' | '\'') | None => None,
            plain => plain,
        };
        match (found, chars.next()) {
            (Some(c), Some('\'')) => {
                let length = self.rest().len() - chars.as_str().len();
                Ok((Token::Int(i64::from(c as u32)), length))
            }
            _ => fail(self.at, "unterminated or malformed character constant"),
        }
    }

    fn quoted(&self, quote: char) -> Result<(Token, usize), TemplateError> {
        let rest = self.rest();
        let mut chars = rest[1..].chars();
        let mut out = String::new();
        loop {
            match chars.next() {
                Some(c) if c == quote => {
                    return Ok((Token::Text(out), rest.len() - chars.as_str().len()));
                }
                Some('\\') if quote == '"' => match escape(&mut chars, '"') {
                    Some(c) => out.push(c),
                    None => return fail(self.at, "invalid escape in a quoted string"),
                },
                Some('\n') if quote == '"' => return fail(self.at, "unterminated quoted string"),
                // Go drops carriage returns from raw strings.
                Some('\r') if quote == '`' => {}
                Some(c) => out.push(c),
                None => return fail(self.at, "unterminated quoted string"),
            }
        }
    }
}

/// What stands after a backslash. A byte that is no character by itself becomes the replacement character.
fn escape(chars: &mut std::str::Chars<'_>, quote: char) -> Option<char> {
    let digits = |chars: &mut std::str::Chars<'_>, first: &str, count: usize, radix: u32| {
        let mut text = first.to_string();
        text.extend(chars.take(count));
        let code = u32::from_str_radix(&text, radix).ok();
        code.filter(|_| text.len() == count + first.len())
    };
    let byte = |code: u32| match code {
        0..0x80 => char::from_u32(code),
        0x80..=0xff => Some(char::REPLACEMENT_CHARACTER),
        _ => None,
    };
    Some(match chars.next()? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        c if c == quote => c,
        'x' => return byte(digits(chars, "", 2, 16)?),
        'u' => return char::from_u32(digits(chars, "", 4, 16)?),
        'U' => return char::from_u32(digits(chars, "", 8, 16)?),
        c @ '0'..='7' => return byte(digits(chars, &c.to_string(), 2, 8)?),
        _ => return None,
    })
}

/// A number as Go writes it. Complex ones are none that a rule needs.
fn number(text: &str) -> Option<Token> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let lower = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, *radix)));
    let old_octal =
        lower.len() > 1 && lower.starts_with('0') && lower.bytes().all(|c| c.is_ascii_digit());
    let whole = match radix {
        Some((digits, radix)) => Some(i128::from_str_radix(digits, radix).ok()?),
        None if old_octal => Some(i128::from_str_radix(&lower, 8).ok()?),
        None => lower.parse::<i128>().ok(),
    };
    if let Some(whole) = whole {
        let signed = if negative { -whole } else { whole };
        return i64::try_from(signed).ok().map(Token::Int);
    }
    let value: f64 = lower.parse().ok()?;
    value
        .is_finite()
        .then_some(Token::Float(if negative { -value } else { value }))
}

/// A token in an error.
pub(super) fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) | Token::Variable(word) => format!("{word:?}"),
        Token::Field(name) => format!("\".{name}\""),
        Token::Text(text) => format!("{text:?}"),
        Token::Mark(mark) => format!("{mark:?}"),
        Token::Int(value) => value.to_string(),
        Token::Float(value) => value.to_string(),
        Token::Declare => "\":=\"".into(),
        Token::Assign => "\"=\"".into(),
        Token::Close => "\"}}\"".into(),
        Token::End | Token::Outside(_) | Token::Open | Token::Space => "the end".into(),
    }
}
