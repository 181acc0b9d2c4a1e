//! Tokens: what they are, and how errors name them.

/// What a token is. Operators and keywords carry no text of their own: the text is a slice of the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`
    Assign,
    /// `=~`
    Like,
    /// `!~`
    Unlike,
    At,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    /// `</` and `>/`, of native histograms.
    Trim,
    And,
    Or,
    Unless,
    Atan2,
    Aggregator,
    /// A keyword that is a metric's name where it cannot be a keyword: `by`, `offset`, `fill`.
    Keyword,
    /// A keyword that is none: `on`, `ignoring`, `bool`, `group_left`, `group_right`.
    StrictKeyword,
    /// `start`, `end`, `step`, `range`, `max_of`, `min_of`.
    Preprocessor,
    Identifier,
    /// An identifier with a colon.
    MetricIdentifier,
    Text,
    Number,
    Duration,
}

impl Kind {
    /// Whether this compares: the operators that may stand before `bool`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }
}

/// One token: what it is and the bytes that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

/// A token as errors name it.
pub(super) fn describe(token: Token, text: &str) -> String {
    let word = &text[token.start..token.end];
    match token.kind {
        Kind::End => "end of input".into(),
        Kind::Identifier => format!("identifier {word:?}"),
        Kind::MetricIdentifier => format!("metric identifier {word:?}"),
        Kind::Number => format!("number {}", short(word)),
        Kind::Duration => format!("duration {}", short(word)),
        Kind::Text => format!("string {}", short(word)),
        Kind::Keyword | Kind::StrictKeyword => format!("<{word}>"),
        Kind::Aggregator => format!("<aggr:{word}>"),
        Kind::Comma
        | Kind::Colon
        | Kind::LeftParen
        | Kind::RightParen
        | Kind::LeftBrace
        | Kind::RightBrace
        | Kind::LeftBracket
        | Kind::RightBracket
        | Kind::Assign
        | Kind::Preprocessor => short(word),
        _ => format!("<op:{word}>"),
    }
}

fn short(word: &str) -> String {
    match word.char_indices().nth(10) {
        Some((end, _)) if word.len() > 10 => format!("{:?}...", &word[..end]),
        _ => format!("{word:?}"),
    }
}
