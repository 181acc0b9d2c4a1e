//! YAML as nodes that know where they stand.
//!
//! Invariant: what this accepts is what go-yaml accepts in promtool, since both scan with ports of libyaml: anchors, aliases
//! and merge keys are resolved, a key that stands twice is refused, any scalar is text until a field asks for more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use libyaml_safer::ScalarStyle;

mod read;

pub(crate) use read::{Documents, Listed, is_forbidden};

/// One node of a document.
#[derive(Debug)]
pub(crate) struct Node {
    /// Bytes of the text, from the first of its properties on.
    pub span: Range<usize>,
    pub content: Content,
    tag: Option<String>,
    /// How many nodes it holds, itself included, with aliases written out.
    size: u64,
}

#[derive(Debug)]
pub(crate) enum Content {
    Scalar { text: String, style: ScalarStyle },
    Sequence(Vec<Arc<Node>>),
    Mapping(Vec<(Arc<Node>, Arc<Node>)>),
}

/// Where a node stands, and how it is written if it is a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub span: Range<usize>,
    pub style: ScalarStyle,
}

/// What is no YAML: byte offset and reason.
#[derive(Debug)]
pub(crate) struct Fault {
    pub at: usize,
    pub reason: String,
}

fn fault<T>(at: usize, reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        at,
        reason: reason.into(),
    })
}

impl Node {
    /// Of its items, or of its keys and values in turn.
    fn collection(
        mapping: bool,
        items: Vec<Arc<Node>>,
        span: Range<usize>,
        tag: Option<String>,
    ) -> Self {
        let sizes = items.iter().map(|item| item.size);
        let size = sizes.fold(1, u64::saturating_add);
        let content = if mapping {
            let mut items = items.into_iter();
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            Content::Mapping(pairs.collect())
        } else {
            Content::Sequence(items)
        };
        Node {
            span,
            content,
            tag,
            size,
        }
    }

    pub fn at(&self) -> usize {
        self.span.start
    }

    pub fn place(&self) -> Place {
        let style = match &self.content {
            Content::Scalar { style, .. } => *style,
            _ => ScalarStyle::Any,
        };
        Place {
            span: self.span.clone(),
            style,
        }
    }

    pub fn is_null(&self) -> bool {
        match (&self.content, self.core_tag()) {
            (Content::Scalar { .. }, Some(tag)) => tag == "null",
            (Content::Scalar { style, .. }, None) => {
                *style == ScalarStyle::Plain && self.reads_as_null()
            }
            _ => false,
        }
    }

    fn reads_as_null(&self) -> bool {
        matches!(self.name(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// The part of a tag after `tag:yaml.org,2002:`; the bare `!` makes text.
    pub fn core_tag(&self) -> Option<&str> {
        let tag = self.tag.as_deref()?;
        match tag.strip_prefix("tag:yaml.org,2002:") {
            Some(core) => Some(core),
            None => Some("str"),
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.content {
            _ if self.is_null() => "nothing",
            Content::Scalar { .. } => "text",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }

    /// Keys and values of a mapping, those of merge keys (`<<`) after its own, which win.
    pub fn entries(&self) -> Result<Vec<(&Node, &Node)>, Fault> {
        let Content::Mapping(pairs) = &self.content else {
            return fault(
                self.at(),
                "a merge key needs a mapping or a list of mappings",
            );
        };
        let (mut out, mut seen) = (Vec::with_capacity(pairs.len()), BTreeMap::new());
        for (key, value) in pairs {
            if let Some(name) = key.name()
                && seen.insert(name, ()).is_some()
            {
                return fault(key.at(), format!("{name:?} stands twice in one mapping"));
            }
            if !key.is_merge() {
                out.push((&**key, &**value));
            }
        }
        for (_, value) in pairs.iter().filter(|(key, _)| key.is_merge()) {
            let sources: Vec<&Node> = match &value.content {
                Content::Sequence(items) => items.iter().map(|item| &**item).collect(),
                _ => vec![value],
            };
            for source in sources {
                let merged = source.entries()?.into_iter();
                out.extend(
                    merged.filter(|(key, _)| key.name().is_none_or(|n| !seen.contains_key(n))),
                );
                seen.extend(
                    out.iter()
                        .filter_map(|(key, _)| key.name())
                        .map(|n| (n, ())),
                );
            }
        }
        Ok(out)
    }

    fn name(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    fn is_merge(&self) -> bool {
        let tagged = self.tag.is_none() || self.core_tag() == Some("merge");
        let plain = matches!(&self.content, Content::Scalar { text, style } if text == "<<" && *style == ScalarStyle::Plain);
        plain && tagged
    }
}
