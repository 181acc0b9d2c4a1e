//! Template text to pieces, actions to tokens.

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Field(String),
    Variable(String),
    Text(String),
    Number(String),
    Mark(&'static str),
    /// Separates the words of a command: `$a .B` is not `$a.B`.
    Space,
}

pub(super) enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Splits text and actions, applying the trim markers.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let open = rest.find("{{");
        let mut head = &rest[..open.unwrap_or(rest.len())];
        if trim {
            head = head.trim_start();
        }
        let Some(open) = open else {
            out.push(Piece::Text(head.to_string()));
            return Ok(out);
        };
        let mut inner = &rest[open + 2..];
        if inner.starts_with('-') && inner[1..].starts_with(char::is_whitespace) {
            head = head.trim_end();
            inner = &inner[1..];
        }
        out.push(Piece::Text(head.to_string()));
        if let Some(comment) = inner.trim_start().strip_prefix("/*") {
            let end = comment.find("*/").ok_or("unclosed comment")?;
            let after = comment[end + 2..].trim_start();
            let after_trim = after.strip_prefix('-').unwrap_or(after);
            trim = after.len() != after_trim.len();
            rest = after_trim
                .strip_prefix("}}")
                .ok_or("comment ends before closing delimiter")?;
            continue;
        }
        let (tokens, after, trims) = tokens(inner)?;
        out.push(Piece::Action(tokens));
        rest = after;
        trim = trims;
    }
}

/// The tokens of one action, what follows it, and whether it trims what follows.
fn tokens(text: &str) -> Result<(Vec<Token>, &str, bool), String> {
    let mut out: Vec<Token> = Vec::new();
    let mut rest = text;
    loop {
        let spaceless = rest.trim_start();
        if spaceless.len() != rest.len() {
            out.push(Token::Space);
            if let Some(after) = spaceless.strip_prefix("-}}") {
                return Ok((out, after, true));
            }
        }
        rest = spaceless;
        let Some(first) = rest.chars().next() else {
            return Err("unclosed action".into());
        };
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((out, after, false));
        }
        let name_end = |from: usize| {
            rest[from..]
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .map_or(rest.len(), |end| end + from)
        };
        let (token, length) = match first {
            '"' | '`' => quoted(rest, first)?,
            '\'' => return Err("character constants are not supported".into()),
            '$' => {
                let end = name_end(1);
                (Token::Variable(rest[..end].to_string()), end)
            }
            '.' if rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                let end = name_end(1);
                (Token::Field(rest[1..end].to_string()), end)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Token::Mark("."), 1),
            '(' => (Token::Mark("("), 1),
            ')' => (Token::Mark(")"), 1),
            '|' => (Token::Mark("|"), 1),
            ',' => (Token::Mark(","), 1),
            ':' if rest.starts_with(":=") => (Token::Mark(":="), 2),
            '=' => (Token::Mark("="), 1),
            c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => {
                let end = number_end(rest);
                (Token::Number(rest[..end].to_string()), end)
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = name_end(0);
                (Token::Word(rest[..end].to_string()), end)
            }
            other => return Err(format!("unexpected {other:?} in command")),
        };
        out.push(token);
        rest = &rest[length..];
    }
}

fn number_end(text: &str) -> usize {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let sign = matches!(c, '+' | '-') && (at == 0 || matches!(before, 'e' | 'E'));
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign) {
            return at;
        }
        before = c;
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((Token::Text(out), at + 1));
        }
        if c != '\\' || quote == '`' {
            out.push(c);
            continue;
        }
        match chars.next().map(|(_, c)| c) {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(c @ ('\\' | '"' | '\'')) => out.push(c),
            Some(other) => return Err(format!("unsupported escape \\{other} in a string")),
            None => break,
        }
    }
    Err("unterminated quoted string".into())
}
