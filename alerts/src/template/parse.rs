//! Tokens of a template to steps. Names and variables are checked here, so that a misspelt one is refused on loading; what
//! is refused is what Go's parser refuses.

use std::collections::BTreeMap;

use super::lex::{Placed, Token, shown, tokens};
use super::{TemplateError, functions};

/// One piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Text(String),
    /// Writes the pipeline's value.
    Write(Pipeline),
    /// `$a := …` or `$a = …`; writes nothing.
    Assign(Binding, Pipeline),
    If(Control),
    With(Control),
    /// One binding holds the item; of two, the first holds its place.
    Range(Control),
    Template {
        name: String,
        value: Option<Pipeline>,
    },
    Break,
    Continue,
}

/// `if`, `with` or `range` with its branches.
#[derive(Debug, Clone)]
pub(super) struct Control {
    pub value: Pipeline,
    pub bound: Vec<Binding>,
    pub then: Vec<Step>,
    pub other: Vec<Step>,
}

/// A variable that takes a value.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    pub name: String,
    /// `:=` makes it, `=` changes it.
    pub declare: bool,
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

pub(super) type Defined = BTreeMap<String, Vec<Step>>;

/// Nested deeper is no template for an alert; each level costs stack.
const NESTED_MAX: usize = 64;

/// What Prometheus declares in front of every template of a rule.
const DECLARED: [&str; 5] = ["$", "$labels", "$externalLabels", "$externalURL", "$value"];
const KEYWORDS: [&str; 9] = [
    "block", "break", "continue", "define", "else", "end", "if", "range", "template",
];

pub(super) fn parse(text: &str) -> Result<(Vec<Step>, Defined), TemplateError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        defined: Defined::new(),
        variables: DECLARED.map(String::from).to_vec(),
        ranges: 0,
        nested: 0,
    };
    let (steps, end) = parser.block(true)?;
    match end {
        End::Finished => Ok((steps, parser.defined)),
        End::Closed => parser.fail("unexpected {{end}}"),
        End::Else => parser.fail("unexpected {{else}}"),
    }
}

#[derive(PartialEq)]
enum End {
    Finished,
    Closed,
    /// What follows `else` is not read yet.
    Else,
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    defined: Defined,
    variables: Vec<String>,
    /// How many `range`s are open.
    ranges: usize,
    nested: usize,
}

type Parsed<T> = Result<T, TemplateError>;

impl Parser {
    fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        let at = self.tokens[self.at.saturating_sub(1)].1;
        Err(TemplateError {
            reason: reason.into(),
            at,
        })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn skip_space(&mut self) {
        while *self.peek() == Token::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn close(&mut self, context: &str) -> Parsed<()> {
        match self.next_word() {
            Token::Close => Ok(()),
            other => self.fail(format!("unexpected {} in {context}", shown(&other))),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nested >= NESTED_MAX {
            return self.fail(format!("nested more than {NESTED_MAX} deep"));
        }
        self.nested += 1;
        let read = read(self);
        self.nested -= 1;
        read
    }

    /// Steps up to `end`, `else` or the end of the text.
    fn block(&mut self, outermost: bool) -> Parsed<(Vec<Step>, End)> {
        let mut steps = Vec::new();
        loop {
            match self.next() {
                Token::Outside(text) => steps.push(Step::Text(text)),
                Token::End => return Ok((steps, End::Finished)),
                _ => {
                    self.skip_space();
                    match self.peek().clone() {
                        Token::Word(word) if word == "end" => {
                            self.at += 1;
                            self.close("end")?;
                            return Ok((steps, End::Closed));
                        }
                        Token::Word(word) if word == "else" => {
                            self.at += 1;
                            return Ok((steps, End::Else));
                        }
                        Token::Word(word) if word == "define" && outermost => {
                            self.at += 1;
                            self.define()?;
                        }
                        Token::Word(word) if KEYWORDS.contains(&&*word) || word == "with" => {
                            self.at += 1;
                            steps.push(self.keyword(&word)?);
                        }
                        _ => steps.push(self.plain()?),
                    }
                }
            }
        }
    }

    fn keyword(&mut self, word: &str) -> Parsed<Step> {
        match word {
            "if" | "with" | "range" => self.deeper(|parser| parser.control(word)),
            "template" => {
                let name = self.name("template clause")?;
                self.skip_space();
                let value = match self.peek() {
                    Token::Close => {
                        self.at += 1;
                        None
                    }
                    _ => Some(self.pipeline("template clause", &mut Vec::new())?),
                };
                Ok(Step::Template { name, value })
            }
            "block" => self.deeper(|parser| {
                let name = parser.name("block clause")?;
                let value = parser.pipeline("block clause", &mut Vec::new())?;
                parser.body(&name, "block clause")?;
                let value = Some(value);
                Ok(Step::Template { name, value })
            }),
            "break" | "continue" => {
                self.close(&format!("{{{{{word}}}}}"))?;
                match (self.ranges, word) {
                    (0, _) => self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}")),
                    (_, "break") => Ok(Step::Break),
                    _ => Ok(Step::Continue),
                }
            }
            _ => self.fail(format!("unexpected {{{{{word}}}}}")),
        }
    }

    fn define(&mut self) -> Parsed<()> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.body(&name, "define clause")
    }

    fn name(&mut self, context: &str) -> Parsed<String> {
        match self.next_word() {
            Token::Text(name) => Ok(name),
            other => self.fail(format!("unexpected {} in {context}", shown(&other))),
        }
    }

    /// The body of a template of its own, which sees no variable from outside. A body of white space does not replace one
    /// that says something.
    fn body(&mut self, name: &str, context: &str) -> Parsed<()> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (steps, end) = self.block(false)?;
        (self.variables, self.ranges) = (variables, ranges);
        if end != End::Closed {
            return self.fail(format!("unexpected end of {context} {name:?}"));
        }
        let empty = |steps: &[Step]| {
            steps
                .iter()
                .all(|step| matches!(step, Step::Text(text) if text.trim().is_empty()))
        };
        match self.defined.get(name) {
            Some(have) if !empty(have) && !empty(&steps) => {
                self.fail(format!("multiple definition of template {name:?}"))
            }
            Some(_) if empty(&steps) => Ok(()),
            _ => {
                self.defined.insert(name.to_string(), steps);
                Ok(())
            }
        }
    }

    fn plain(&mut self) -> Parsed<Step> {
        let mut bound = Vec::new();
        let value = self.pipeline("command", &mut bound)?;
        Ok(match bound.pop() {
            Some(binding) => Step::Assign(binding, value),
            None => Step::Write(value),
        })
    }

    fn control(&mut self, word: &str) -> Parsed<Step> {
        let depth = self.variables.len();
        let mut bound = Vec::new();
        let value = self.pipeline(word, &mut bound)?;
        self.ranges += usize::from(word == "range");
        let (then, end) = self.block(false)?;
        self.ranges -= usize::from(word == "range");
        let other = match end {
            End::Closed => Vec::new(),
            End::Finished => return self.fail("unexpected EOF: `{{end}}` is missing"),
            End::Else => self.otherwise(word)?,
        };
        self.variables.truncate(depth);
        let control = Control {
            value,
            bound,
            then,
            other,
        };
        Ok(match word {
            "if" => Step::If(control),
            "with" => Step::With(control),
            _ => Step::Range(control),
        })
    }

    /// After `else`: a branch, or `if` and `with` that share the one `end`.
    fn otherwise(&mut self, word: &str) -> Parsed<Vec<Step>> {
        self.skip_space();
        if let Token::Word(next) = self.peek().clone()
            && next == word
            && word != "range"
        {
            self.at += 1;
            return Ok(vec![self.deeper(|parser| parser.control(&next))?]);
        }
        self.close("else")?;
        match self.block(false)? {
            (steps, End::Closed) => Ok(steps),
            (_, End::Else) => self.fail("expected end; found {{else}}"),
            (_, End::Finished) => self.fail("unexpected EOF: `{{end}}` is missing"),
        }
    }

    /// `$a :=`, `$a =` or, in a range, `$a, $b :=` in front of a pipeline.
    fn bindings(&mut self, context: &str) -> Parsed<Vec<Binding>> {
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let start = self.at;
            let Token::Variable(name) = self.peek().clone() else {
                return match names.len() {
                    0 => Ok(Vec::new()),
                    _ => self.fail("range can only initialize variables"),
                };
            };
            self.at += 1;
            let mark = self.next_word();
            match mark {
                Token::Declare | Token::Assign => {
                    names.push(name);
                    self.variables.extend(names.iter().cloned());
                    let declare = mark == Token::Declare;
                    let binding = |name| Binding { name, declare };
                    return Ok(names.into_iter().map(binding).collect());
                }
                Token::Mark(',') if context == "range" && names.is_empty() => names.push(name),
                Token::Mark(',') => {
                    return self.fail(format!("too many declarations in {context}"));
                }
                _ if names.is_empty() => {
                    self.at = start;
                    return Ok(Vec::new());
                }
                _ => {
                    // `range $a, $b` without a sign: both are declared, and nothing is ranged over.
                    return self.fail(format!("missing value for {context}"));
                }
            }
        }
    }

    /// A pipeline and the delimiter or parenthesis that ends it.
    fn pipeline(&mut self, context: &str, bound: &mut Vec<Binding>) -> Parsed<Pipeline> {
        let inside = context == "parenthesized pipeline";
        *bound = self.bindings(context)?;
        if inside && !bound.is_empty() {
            return self.fail("a declaration in parentheses is not supported");
        }
        let mut out: Pipeline = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                Token::Close if !inside => break,
                Token::Mark(')') if inside => break,
                Token::Mark('(' | '.')
                | Token::Word(_)
                | Token::Field(_)
                | Token::Variable(_)
                | Token::Text(_)
                | Token::Int(_)
                | Token::Float(_) => {
                    let command = self.command()?;
                    let constant = matches!(&command[0], Operand::Dot(path) if path.is_empty())
                        || matches!(
                            command[0],
                            Operand::Bool(_)
                                | Operand::Nil
                                | Operand::Int(_)
                                | Operand::Float(_)
                                | Operand::Text(_)
                        );
                    if constant && !out.is_empty() {
                        let stage = out.len() + 1;
                        return self
                            .fail(format!("non executable command in pipeline stage {stage}"));
                    }
                    out.push(command);
                }
                other => {
                    let reason = format!("unexpected {} in {context}", shown(other));
                    self.at += 1;
                    return self.fail(reason);
                }
            }
        }
        self.at += 1;
        match out.is_empty() {
            true => self.fail(format!("missing value for {context}")),
            false => Ok(out),
        }
    }

    fn command(&mut self) -> Parsed<Vec<Operand>> {
        let mut out = Vec::new();
        loop {
            self.skip_space();
            if matches!(self.peek(), Token::Close | Token::Mark(')')) {
                break;
            }
            if *self.peek() == Token::Mark('|') {
                self.at += 1;
                break;
            }
            out.push(self.operand()?);
            match self.peek() {
                Token::Space | Token::Close | Token::Mark(')' | '|') => {}
                other => {
                    let reason = format!("unexpected {} in operand", shown(other));
                    self.at += 1;
                    return self.fail(reason);
                }
            }
        }
        match out.is_empty() {
            true => self.fail("empty command"),
            false => Ok(out),
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let token = self.next();
        let path = |parser: &mut Self| {
            let mut out = Vec::new();
            while let Token::Field(name) = parser.peek().clone() {
                out.push(name);
                parser.at += 1;
            }
            out
        };
        let constant = match token {
            Token::Field(name) => {
                let mut fields = vec![name];
                fields.extend(path(self));
                return Ok(Operand::Dot(fields));
            }
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return self.fail(format!("undefined variable {name:?}"));
                }
                return Ok(Operand::Variable(name, path(self)));
            }
            Token::Mark('(') => {
                let inner = self
                    .deeper(|parser| parser.pipeline("parenthesized pipeline", &mut Vec::new()))?;
                return Ok(Operand::Group(inner, path(self)));
            }
            Token::Mark('.') => Operand::Dot(Vec::new()),
            Token::Text(text) => Operand::Text(text),
            Token::Int(value) => Operand::Int(value),
            Token::Float(value) => Operand::Float(value),
            Token::Word(word) => match &*word {
                "true" | "false" => Operand::Bool(word == "true"),
                "nil" => Operand::Nil,
                _ if KEYWORDS.contains(&&*word) || word == "with" => {
                    return self.fail(format!("unexpected <{word}> in operand"));
                }
                _ => {
                    if !functions::is_known(&word) {
                        return self.fail(format!("function {word:?} not defined"));
                    }
                    let fields = path(self);
                    return Ok(match fields.is_empty() {
                        true => Operand::Function(word),
                        false => Operand::Group(vec![vec![Operand::Function(word)]], fields),
                    });
                }
            },
            other => return self.fail(format!("unexpected {} in operand", shown(&other))),
        };
        if let Token::Field(_) = self.peek() {
            return self.fail("unexpected . after a constant");
        }
        Ok(constant)
    }
}
