//! Tokens of a template to steps. Names and variables are checked here, so that a misspelt one is refused on loading.

use std::collections::BTreeMap;

use super::functions;
use super::lex::{Piece, Token, pieces};

/// One piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Text(String),
    /// Writes the pipeline's value.
    Write(Pipeline),
    /// `$a := …` or `$a = …`; writes nothing.
    Assign {
        name: String,
        declare: bool,
        value: Pipeline,
    },
    If {
        condition: Pipeline,
        bound: Option<String>,
        then: Vec<Step>,
        other: Vec<Step>,
    },
    With {
        value: Pipeline,
        bound: Option<String>,
        then: Vec<Step>,
        other: Vec<Step>,
    },
    Range {
        value: Pipeline,
        key: Option<String>,
        item: Option<String>,
        each: Vec<Step>,
        other: Vec<Step>,
    },
    Template {
        name: String,
        value: Option<Pipeline>,
    },
    Break,
    Continue,
}

/// Commands; each one's value is the last argument of the next.
pub(super) type Pipeline = Vec<Vec<Operand>>;

/// One word of a command.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Group(Pipeline, Vec<String>),
}

type Defined = BTreeMap<String, Vec<Step>>;

pub(super) fn parse(text: &str) -> Result<(Vec<Step>, Defined), String> {
    let pieces = pieces(text)?;
    let mut parser = Parser {
        pieces,
        at: 0,
        defined: Defined::new(),
        variables: Vec::new(),
    };
    for name in ["$", "$labels", "$externalLabels", "$externalURL", "$value"] {
        parser.variables.push(name.to_string());
    }
    let (steps, end) = parser.block()?;
    match end {
        End::Finished => Ok((steps, parser.defined)),
        End::Closed => Err("unexpected {{end}}".into()),
        End::Else(_) => Err("unexpected {{else}}".into()),
    }
}

enum End {
    Finished,
    Closed,
    /// The tokens after `else`.
    Else(Vec<Token>),
}

struct Parser {
    pieces: Vec<Piece>,
    at: usize,
    defined: Defined,
    variables: Vec<String>,
}

impl Parser {
    /// Steps up to `end`, `else` or the end of the text. Variables declared inside end with it.
    fn block(&mut self) -> Result<(Vec<Step>, End), String> {
        let depth = self.variables.len();
        let mut steps = Vec::new();
        let end = loop {
            let Some(piece) = self.pieces.get_mut(self.at) else {
                break End::Finished;
            };
            let piece = std::mem::replace(piece, Piece::Text(String::new()));
            self.at += 1;
            match piece {
                Piece::Text(text) if text.is_empty() => {}
                Piece::Text(text) => steps.push(Step::Text(text)),
                Piece::Action(tokens) => {
                    let tokens = trimmed(&tokens);
                    match tokens.first() {
                        Some(Token::Word(word)) if word == "end" => break End::Closed,
                        Some(Token::Word(word)) if word == "else" => {
                            break End::Else(trimmed(&tokens[1..]).to_vec());
                        }
                        _ => steps.extend(self.action(tokens)?),
                    }
                }
            }
        };
        self.variables.truncate(depth);
        Ok((steps, end))
    }

    fn action(&mut self, tokens: &[Token]) -> Result<Option<Step>, String> {
        let word = match tokens.first() {
            Some(Token::Word(word)) => &**word,
            None => return Err("missing value for command".into()),
            _ => "",
        };
        let rest = trimmed(tokens.get(1..).unwrap_or(&[]));
        Ok(match word {
            "if" | "with" | "range" => {
                let depth = self.variables.len();
                let step = self.control(word, rest);
                self.variables.truncate(depth);
                Some(step?)
            }
            "define" | "block" => {
                let [Token::Text(name), tail @ ..] = rest else {
                    return Err(format!("{word} needs a quoted name"));
                };
                let name = name.clone();
                let value = if word == "block" {
                    Some(self.pipeline(trimmed(tail))?)
                } else {
                    None
                };
                let (steps, end) = self.block()?;
                if !matches!(end, End::Closed) {
                    return Err(format!("unexpected end of {word} {name:?}"));
                }
                self.defined.insert(name.clone(), steps);
                value.map(|value| Step::Template {
                    name,
                    value: Some(value),
                })
            }
            "template" => {
                let [Token::Text(name), tail @ ..] = rest else {
                    return Err("template needs a quoted name".into());
                };
                let tail = trimmed(tail);
                let value = if tail.is_empty() {
                    None
                } else {
                    Some(self.pipeline(tail)?)
                };
                Some(Step::Template {
                    name: name.clone(),
                    value,
                })
            }
            "break" => Some(Step::Break),
            "continue" => Some(Step::Continue),
            _ => Some(self.plain(tokens)?),
        })
    }

    fn plain(&mut self, tokens: &[Token]) -> Result<Step, String> {
        match self.bindings(tokens)? {
            (names, _, _) if names.len() > 1 => Err("too many declarations in command".into()),
            (names, declare, rest) => match names.into_iter().next() {
                None => Ok(Step::Write(self.pipeline(rest)?)),
                Some(name) => {
                    let value = self.pipeline(rest)?;
                    match declare {
                        true => self.variables.push(name.clone()),
                        false => self.known(&name)?,
                    }
                    Ok(Step::Assign {
                        name,
                        declare,
                        value,
                    })
                }
            },
        }
    }

    /// `$a :=`, `$a =` or `$a, $b :=` in front of a pipeline.
    fn bindings<'t>(
        &self,
        tokens: &'t [Token],
    ) -> Result<(Vec<String>, bool, &'t [Token]), String> {
        let mut names = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Space | Token::Mark(",") => {}
                Token::Variable(name) => names.push(name.clone()),
                Token::Mark(mark @ (":=" | "=")) if !names.is_empty() => {
                    return Ok((names, *mark == ":=", trimmed(&tokens[at + 1..])));
                }
                _ => break,
            }
        }
        Ok((Vec::new(), false, tokens))
    }

    fn control(&mut self, word: &str, tokens: &[Token]) -> Result<Step, String> {
        let (names, declare, rest) = self.bindings(tokens)?;
        let value = self.pipeline(rest)?;
        if !names.is_empty() && !declare {
            return Err(format!("{word} cannot assign to existing variables"));
        }
        self.variables.extend(names.iter().cloned());
        let (then, end) = self.block()?;
        let other = match end {
            End::Closed => Vec::new(),
            End::Finished => return Err("unexpected end of template: `end` is missing".into()),
            End::Else(tokens) => match tokens.first() {
                None => {
                    let (other, end) = self.block()?;
                    match end {
                        End::Closed => other,
                        _ => return Err("expected `end` after `else`".into()),
                    }
                }
                // `else if` shares the one `end`.
                Some(Token::Word(next)) if (next == "if" || next == "with") && word != "range" => {
                    vec![self.control(&next.clone(), trimmed(&tokens[1..]))?]
                }
                Some(_) => return Err("unexpected words after `else`".into()),
            },
        };
        let mut names = names.into_iter();
        Ok(match (word, names.len()) {
            ("if", 0 | 1) => Step::If {
                condition: value,
                bound: names.next(),
                then,
                other,
            },
            ("with", 0 | 1) => Step::With {
                value,
                bound: names.next(),
                then,
                other,
            },
            ("range", 0 | 1) => Step::Range {
                value,
                key: None,
                item: names.next(),
                each: then,
                other,
            },
            ("range", 2) => Step::Range {
                value,
                key: names.next(),
                item: names.next(),
                each: then,
                other,
            },
            _ => return Err("too many declarations in command".into()),
        })
    }

    fn known(&self, name: &str) -> Result<(), String> {
        match self.variables.iter().any(|have| have == name) {
            true => Ok(()),
            false => Err(format!("undefined variable {name:?}")),
        }
    }

    fn pipeline(&self, tokens: &[Token]) -> Result<Pipeline, String> {
        let mut depth = 0;
        let commands = tokens.split(|token| {
            match token {
                Token::Mark("(") => depth += 1,
                Token::Mark(")") => depth -= 1,
                _ => {}
            }
            depth == 0 && *token == Token::Mark("|")
        });
        commands
            .map(|command| self.command(trimmed(command)))
            .collect()
    }

    fn command(&self, tokens: &[Token]) -> Result<Vec<Operand>, String> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let operand = match &tokens[at] {
                Token::Space => {
                    at += 1;
                    continue;
                }
                Token::Mark("(") => {
                    let close = closing(&tokens[at..]).ok_or("unclosed left paren")? + at;
                    let inner = self.pipeline(trimmed(&tokens[at + 1..close]))?;
                    at = close;
                    Operand::Group(inner, fields(tokens, &mut at))
                }
                Token::Mark(".") => Operand::Dot(Vec::new()),
                Token::Field(name) => {
                    let mut path = vec![name.clone()];
                    path.extend(fields(tokens, &mut at));
                    Operand::Dot(path)
                }
                Token::Variable(name) => {
                    self.known(name)?;
                    Operand::Variable(name.clone(), fields(tokens, &mut at))
                }
                Token::Text(text) => Operand::Text(text.clone()),
                Token::Number(text) => number(text)?,
                Token::Word(word) => match &**word {
                    "true" => Operand::Bool(true),
                    "false" => Operand::Bool(false),
                    "nil" => Operand::Nil,
                    _ => {
                        functions::check(word)?;
                        Operand::Function(word.clone())
                    }
                },
                Token::Mark(mark) => return Err(format!("unexpected {mark:?} in operand")),
            };
            out.push(operand);
            at += 1;
        }
        if out.is_empty() {
            return Err("missing value for command".into());
        }
        Ok(out)
    }
}

/// The `.Field`s that follow without a space.
fn fields(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(Token::Field(name)) = tokens.get(*at + 1) {
        out.push(name.clone());
        *at += 1;
    }
    out
}

fn closing(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    tokens.iter().position(|token| {
        match token {
            Token::Mark("(") => depth += 1,
            Token::Mark(")") => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

fn trimmed(mut tokens: &[Token]) -> &[Token] {
    while let [Token::Space, rest @ ..] = tokens {
        tokens = rest;
    }
    while let [rest @ .., Token::Space] = tokens {
        tokens = rest;
    }
    tokens
}

fn number(text: &str) -> Result<Operand, String> {
    let plain = text.replace('_', "");
    if let Ok(integer) = plain.parse::<i64>() {
        return Ok(Operand::Int(integer));
    }
    if let Some(hex) = plain.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16)
            .map(Operand::Int)
            .map_err(|_| format!("bad number syntax: {text:?}"));
    }
    let float = plain
        .parse::<f64>()
        .ok()
        .filter(|_| plain.contains(|c: char| c.is_ascii_digit()));
    float
        .map(Operand::Float)
        .ok_or_else(|| format!("bad number syntax: {text:?}"))
}
