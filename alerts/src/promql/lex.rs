//! Tokens of an expression, with their places.
//!
//! The lexer knows where it stands (in braces, in brackets), because words mean other things there; it hands out one token at
//! a time, so that errors come in the order of the text. Words of errors are Prometheus' own.

use super::token::{Kind, Token};

/// What is wrong, and the byte at which the token starts.
pub(super) type LexError = (usize, String);

pub(super) struct Lexer<'a> {
    text: &'a str,
    start: usize,
    pos: usize,
    parens: usize,
    in_braces: bool,
    in_brackets: bool,
    /// In brackets: a number came, a colon came.
    got_duration: bool,
    got_colon: bool,
}

/// The tokens of an expression that parses; of any other, those before what is wrong.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    let next = || lexer.next().ok().filter(|token| token.kind != Kind::End);
    std::iter::from_fn(next).collect()
}

fn keyword(word: &str) -> Option<Kind> {
    Some(match word {
        "and" => Kind::And,
        "or" => Kind::Or,
        "unless" => Kind::Unless,
        "atan2" => Kind::Atan2,
        "sum" | "avg" | "count" | "min" | "max" | "group" | "stddev" | "stdvar" | "topk"
        | "bottomk" | "count_values" | "quantile" | "limitk" | "limit_ratio" => Kind::Aggregator,
        "offset" | "smoothed" | "anchored" | "by" | "without" | "fill" | "fill_left"
        | "fill_right" => Kind::Keyword,
        "on" | "ignoring" | "group_left" | "group_right" | "bool" => Kind::StrictKeyword,
        "start" | "end" => Kind::Preprocessor,
        _ if duration_keyword(word) => Kind::Preprocessor,
        "inf" | "nan" => Kind::Number,
        _ => return None,
    })
}

fn duration_keyword(word: &str) -> bool {
    matches!(word, "step" | "range" | "max_of" | "min_of")
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Self {
        Lexer {
            text,
            start: 0,
            pos: 0,
            parens: 0,
            in_braces: false,
            in_brackets: false,
            got_duration: false,
            got_colon: false,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.pos += next.len_utf8();
        Some(next)
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.take(&wanted) {}
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, LexError> {
        Err((self.start, reason.into()))
    }

    /// The next token; after the last one [`Kind::End`], again and again.
    pub fn next(&mut self) -> Result<Token, LexError> {
        loop {
            self.take_while(is_space);
            if !self.text[self.pos..].starts_with('#') || self.in_brackets {
                break;
            }
            self.take_while(|c| c != '\n' && c != '\r');
        }
        self.start = self.pos;
        let kind = match (self.in_braces, self.in_brackets) {
            (true, _) => self.braces()?,
            // Behind its first number a bracket is read like anything else.
            (_, true) if !self.got_duration => self.brackets()?,
            _ => self.plain()?,
        };
        Ok(Token {
            kind,
            start: self.start,
            end: self.pos,
        })
    }

    fn plain(&mut self) -> Result<Kind, LexError> {
        let Some(c) = self.bump() else {
            return match (self.parens, self.in_brackets) {
                (0, false) => Ok(Kind::End),
                (0, true) => self.fail("unclosed left bracket"),
                _ => self.fail("unclosed left parenthesis"),
            };
        };
        Ok(match c {
            ',' => Kind::Comma,
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '^' => Kind::Pow,
            '@' => Kind::At,
            '=' if self.take(|c| c == '=') => Kind::Equal,
            '=' if self.peek() == Some('~') => {
                return self.fail("unexpected character after '=': '~'");
            }
            '=' => Kind::Assign,
            '!' if self.take(|c| c == '=') => Kind::NotEqual,
            '!' => return self.fail(self.after("unexpected character after '!'")),
            '<' if self.take(|c| c == '=') => Kind::LessOrEqual,
            '>' if self.take(|c| c == '=') => Kind::GreaterOrEqual,
            '<' | '>' if self.take(|c| c == '/') => Kind::Trim,
            '<' => Kind::Less,
            '>' => Kind::Greater,
            '"' | '\'' | '`' => self.quoted(c)?,
            '(' => self.open(),
            ')' => self.close()?,
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' if self.in_brackets => return self.fail("unexpected left bracket '['"),
            '[' => {
                (self.in_brackets, self.got_duration, self.got_colon) = (true, false, false);
                Kind::LeftBracket
            }
            ']' if self.in_brackets => {
                self.in_brackets = false;
                Kind::RightBracket
            }
            ']' => return self.fail("unexpected right bracket ']'"),
            c if self.begins_number(c) => self.number_or_duration()?,
            ':' if self.in_brackets && self.got_colon => {
                return self.fail("unexpected colon ':'");
            }
            ':' if self.in_brackets => {
                self.got_colon = true;
                Kind::Colon
            }
            c if is_alpha(c) && self.in_brackets => self.duration_word().map_or_else(
                || self.fail(format!("unexpected character: {c:?}, expected ':'")),
                Ok,
            )?,
            c if is_alpha(c) || c == ':' => self.word(),
            c => return self.fail(format!("unexpected character: {c:?}")),
        })
    }

    fn after(&self, what: &str) -> String {
        match self.peek() {
            Some(c) => format!("{what}: {c:?}"),
            None => format!("{what}: '\\ufffd'"),
        }
    }

    fn begins_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit()))
    }

    fn open(&mut self) -> Kind {
        self.parens += 1;
        Kind::LeftParen
    }

    fn close(&mut self) -> Result<Kind, LexError> {
        match self.parens.checked_sub(1) {
            Some(left) => {
                self.parens = left;
                Ok(Kind::RightParen)
            }
            None => {
                // Prometheus has taken the parenthesis when it complains.
                self.start = self.pos;
                self.fail("unexpected right parenthesis ')'")
            }
        }
    }

    fn braces(&mut self) -> Result<Kind, LexError> {
        let Some(c) = self.bump() else {
            return self.fail("unexpected end of input inside braces");
        };
        Ok(match c {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.quoted(c)?,
            '=' if self.take(|c| c == '~') => Kind::Like,
            '=' => Kind::Assign,
            '!' if self.take(|c| c == '~') => Kind::Unlike,
            '!' if self.take(|c| c == '=') => Kind::NotEqual,
            '!' => return self.fail(self.after("unexpected character after '!' inside braces")),
            '{' => return self.fail("unexpected left brace '{'"),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            c if is_alpha(c) => {
                self.take_while(is_alphanumeric);
                Kind::Identifier
            }
            c => return self.fail(format!("unexpected character inside braces: {c:?}")),
        })
    }

    /// Behind `[`, where a duration must come.
    fn brackets(&mut self) -> Result<Kind, LexError> {
        let Some(c) = self.bump() else {
            return self.fail("unexpected end of input in duration expression");
        };
        Ok(match c {
            ']' => {
                self.in_brackets = false;
                Kind::RightBracket
            }
            ':' => {
                self.start = self.pos;
                return self.fail("unexpected colon before duration in duration expression");
            }
            '(' => self.open(),
            ')' => self.close()?,
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '^' => Kind::Pow,
            ',' => Kind::Comma,
            c if self.begins_number(c) => {
                self.got_duration = true;
                self.number_or_duration()?
            }
            c => self.duration_word().map_or_else(
                || {
                    self.fail(format!(
                        "unexpected character in duration expression: {c:?}"
                    ))
                },
                Ok,
            )?,
        })
    }

    /// `step`, `range` and their like, whose first letter is read already.
    fn duration_word(&mut self) -> Option<Kind> {
        self.take_while(is_alpha);
        let found = duration_keyword(&self.slice().to_ascii_lowercase());
        self.got_duration |= found;
        found.then_some(Kind::Preprocessor)
    }

    fn slice(&self) -> &'a str {
        &self.text[self.start..self.pos]
    }

    fn word(&mut self) -> Kind {
        self.take_while(|c| is_alphanumeric(c) || c == ':');
        let word = self.slice();
        match keyword(&word.to_ascii_lowercase()) {
            // These are metric names unless a parenthesis follows: they are younger than many metrics.
            Some(_) if word.to_ascii_lowercase().starts_with("fill") && !self.opens_next() => {
                Kind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    fn opens_next(&self) -> bool {
        self.text[self.pos..]
            .trim_start_matches(is_space)
            .starts_with('(')
    }

    /// The rest of a quoted string, checked for its escapes only as far as finding its end needs.
    fn quoted(&mut self, quote: char) -> Result<Kind, LexError> {
        loop {
            match self.bump() {
                None if quote == '`' => return self.fail("unterminated raw string"),
                None | Some('\n') if quote != '`' => {
                    return self.fail("unterminated quoted string");
                }
                Some('\\') if quote != '`' => self.escape(quote)?,
                Some(c) if c == quote => return Ok(Kind::Text),
                _ => {}
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<(), LexError> {
        const UNTERMINATED: &str = "escape sequence not terminated";
        let Some(c) = self.bump() else {
            return self.fail(UNTERMINATED);
        };
        let (mut digits, base, most) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            '0'..='7' => {
                self.pos -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x10_ffff),
            'U' => (8, 16, 0x10_ffff),
            c => {
                let code = u32::from(c);
                return self.fail(format!("unknown escape sequence U+{code:04X} {c:?}"));
            }
        };
        let mut value: u32 = 0;
        while digits > 0 {
            let Some(c) = self.bump() else {
                return self.fail(UNTERMINATED);
            };
            let Some(digit) = c.to_digit(base) else {
                let code = u32::from(c);
                return self.fail(format!(
                    "illegal character U+{code:04X} {c:?} in escape sequence"
                ));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            digits -= 1;
        }
        if value > most || (0xd800..0xe000).contains(&value) {
            return self.fail("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    /// A number or a duration; its first character is read already.
    fn number_or_duration(&mut self) -> Result<Kind, LexError> {
        self.pos = self.start;
        if self.number() {
            return Ok(Kind::Number);
        }
        if self.rest_of_duration() {
            return Ok(Kind::Duration);
        }
        let text = self.slice();
        self.fail(format!("bad number or duration syntax: {text:?}"))
    }

    /// Reads as much of a number as there is; false when it cannot be one.
    fn number(&mut self) -> bool {
        let mut hex = false;
        if self.take(|c| c == '0') && self.take(|c| c == 'x' || c == 'X') {
            hex = true;
            self.take(|c| c == '_');
        }
        let digit = |c: char| {
            if hex {
                c.is_ascii_hexdigit()
            } else {
                c.is_ascii_digit()
            }
        };
        self.take(|c| c == '.');
        self.take(digit);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek() {
            match c {
                c if digit(c) => self.take_while(digit),
                '.' if !dot && !hex => {
                    self.bump();
                    dot = true;
                    if self.take(|c| c == '_' || c == '.') {
                        return false;
                    }
                }
                'e' | 'E' if !exponent => {
                    self.bump();
                    exponent = true;
                    self.take(|c| c == '+' || c == '-');
                    if self.peek().is_none() || self.take(|c| matches!(c, '.' | '_' | 'e' | 'E')) {
                        return false;
                    }
                }
                '_' => {
                    self.bump();
                    if self.peek().is_none() || self.take(|c| matches!(c, '.' | '_' | 'e' | 'E')) {
                        return false;
                    }
                }
                '.' | 'e' | 'E' => {
                    self.bump();
                    return false;
                }
                _ => break,
            }
        }
        self.pos > self.start && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Units and further numbers of a duration whose first number is read.
    fn rest_of_duration(&mut self) -> bool {
        let unit = |c: char| matches!(c, 's' | 'm' | 'h' | 'd' | 'w');
        if !self.take(|c| unit(c) || c == 'y') {
            return false;
        }
        self.take(|c| c == 's');
        while self.take(|c| c.is_ascii_digit()) {
            self.take_while(|c| c.is_ascii_digit());
            if !self.take(unit) {
                return false;
            }
            self.take(|c| c == 's');
        }
        // What is wrong is part of the text that the error shows.
        !self.take(is_alphanumeric)
    }
}
