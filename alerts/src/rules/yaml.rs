//! YAML text to nodes that know where they stand.
//!
//! Invariant: what this accepts is what go-yaml accepts in promtool, since both scan with ports of libyaml: anchors, aliases
//! and merge keys are resolved, a key that stands twice is refused, any scalar is text until a field asks for more. Depth
//! and aliases are bounded, so that no input exhausts stack or memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

/// Deeper than any rule file; each level costs stack when the nodes are dropped.
const DEPTH_MAX: usize = 64;
/// Nodes that aliases may stand for in one document: a few lines of nested aliases stand for billions.
const ALIASED_MAX: u64 = 1_000_000;

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
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
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

/// The documents of a text, one after the other.
pub(crate) struct Documents<'t> {
    /// Reads each document first: the parser below panics on some malformed texts, and this one, a port of the same library,
    /// does not. It says nothing of where nodes stand, so that it cannot do the rest.
    first: serde_yaml_ng::Deserializer<'t>,
    parser: Parser<std::io::Chain<&'t [u8], &'static [u8]>>,
    /// Bytes of the text.
    length: usize,
    /// The text ends inside of its last line. The parser wants lines to be whole, so that it gets a line break more.
    torn: bool,
    done: bool,
}

impl<'t> Documents<'t> {
    pub fn of(text: &'t str) -> Self {
        let torn = !text.ends_with('\n');
        let end: &'static [u8] = if torn { b"\n" } else { b"" };
        let mut parser = Parser::new();
        parser.set_input(std::io::Read::chain(text.as_bytes(), end));
        Documents {
            first: serde_yaml_ng::Deserializer::from_str(text),
            parser,
            length: text.len(),
            torn,
            done: false,
        }
    }

    /// The same of a text without control characters, which YAML does not allow.
    pub fn checked(text: &'t str) -> Result<Self, Fault> {
        let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
        match text.char_indices().find(|(_, c)| control(*c)) {
            Some((at, c)) => fault(at, format!("control character {c:?} is not allowed")),
            None => Ok(Documents::of(text)),
        }
    }

    /// Refuses the next document if it is malformed.
    fn scan(&mut self) -> Result<(), Fault> {
        let read = self.first.next().map(IgnoredAny::deserialize);
        let Some(Err(error)) = read else {
            return Ok(());
        };
        let text = error.to_string();
        // What is not about the form has a better word from us, with its place.
        let ours = ["recursion limit", "repetition limit", "unknown anchor"];
        match error.location() {
            Some(at) if !ours.iter().any(|known| text.starts_with(known)) => {
                fault(at.index(), placeless(&text))
            }
            _ => Ok(()),
        }
    }

    /// The next event. Should the parser panic although the document was scanned, its state is not looked at again, and the text
    /// is refused where it had come to.
    fn event(&mut self, reached: usize) -> Result<Event, Fault> {
        let parser = std::panic::AssertUnwindSafe(&mut self.parser);
        let caught = std::panic::catch_unwind(|| {
            let parser = parser;
            parser.0.parse()
        });
        let Ok(read) = caught else {
            return fault(
                reached,
                "malformed YAML: a tag or the end of the text cannot be read",
            );
        };
        read.map_err(|error| {
            let at = offset(error.problem_mark().unwrap_or_default());
            let context = error.context().map(|context| format!(" {context}"));
            let reason = format!("{}{}", error.problem(), context.unwrap_or_default());
            Fault { at, reason }
        })
    }

    fn document(&mut self) -> Result<Option<Rc<Node>>, Fault> {
        let mut nodes = Nodes::default();
        loop {
            let event = self.event(nodes.end)?;
            nodes.end = offset(event.end_mark);
            let span = offset(event.start_mark)..offset(event.end_mark);
            match event.data {
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
                EventData::StreamEnd => return Ok(None),
                EventData::DocumentEnd { .. } => return Ok(nodes.root),
                mut data => {
                    if self.torn && span.end >= self.length {
                        mend(&mut data);
                    }
                    nodes.take(data, span)?;
                }
            }
        }
    }
}

/// `a at line 1 column 2, while b at line 1 column 1` without the places, which stand elsewhere.
fn placeless(text: &str) -> String {
    let mut parts = text.split(", while");
    let bare = |part: &str| {
        part.split(" at line ")
            .next()
            .unwrap_or_default()
            .to_string()
    };
    let problem = parts.next().map(bare).unwrap_or_default();
    parts.fold(problem, |text, part| format!("{text} while{}", bare(part)))
}

/// Takes the line break that [`Documents`] added from a block scalar again.
fn mend(data: &mut EventData) {
    if let EventData::Scalar { value, style, .. } = data
        && matches!(style, ScalarStyle::Literal | ScalarStyle::Folded)
        && value.ends_with('\n')
    {
        value.pop();
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Rc<Node>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let document = match self.scan() {
            Ok(()) => self.document().transpose(),
            Err(fault) => Some(Err(fault)),
        };
        self.done = !matches!(document, Some(Ok(_)));
        document
    }
}

fn offset(mark: Mark) -> usize {
    mark.index as usize
}

/// A collection that has begun.
struct Open {
    start: usize,
    tag: Option<String>,
    anchor: Option<String>,
    mapping: bool,
    items: Vec<Rc<Node>>,
}

#[derive(Default)]
struct Nodes {
    open: Vec<Open>,
    /// `None` while the anchor's own node has not ended.
    anchors: BTreeMap<String, Option<Rc<Node>>>,
    aliased: u64,
    root: Option<Rc<Node>>,
    /// Where the last event ended.
    end: usize,
}

impl Nodes {
    fn take(&mut self, data: EventData, span: Range<usize>) -> Result<(), Fault> {
        match data {
            EventData::Scalar {
                anchor,
                tag,
                value: text,
                style,
                ..
            } => {
                let node = Node {
                    span,
                    content: Content::Scalar { text, style },
                    tag,
                    size: 1,
                };
                if node.core_tag() == Some("null") && !node.reads_as_null() {
                    return fault(node.at(), "what is tagged !!null must be nothing");
                }
                self.close(anchor, node);
            }
            EventData::SequenceStart { anchor, tag, .. } => self.begin(anchor, tag, span, false)?,
            EventData::MappingStart { anchor, tag, .. } => self.begin(anchor, tag, span, true)?,
            EventData::SequenceEnd | EventData::MappingEnd => self.end(span.end),
            EventData::Alias { anchor } => {
                let node = match self.anchors.get(&anchor) {
                    Some(Some(node)) => node.clone(),
                    Some(None) => {
                        return fault(span.start, format!("anchor {anchor:?} contains itself"));
                    }
                    None => return fault(span.start, format!("unknown anchor {anchor:?}")),
                };
                self.aliased = self.aliased.saturating_add(node.size);
                if self.aliased > ALIASED_MAX {
                    return fault(
                        span.start,
                        format!("aliases stand for more than {ALIASED_MAX} nodes"),
                    );
                }
                self.push(node);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(
        &mut self,
        anchor: Option<String>,
        tag: Option<String>,
        span: Range<usize>,
        mapping: bool,
    ) -> Result<(), Fault> {
        if self.open.len() >= DEPTH_MAX {
            return fault(span.start, format!("nested more than {DEPTH_MAX} deep"));
        }
        if let Some(anchor) = &anchor {
            self.anchors.insert(anchor.clone(), None);
        }
        self.open.push(Open {
            start: span.start,
            tag,
            anchor,
            mapping,
            items: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self, end: usize) {
        let Some(open) = self.open.pop() else {
            return;
        };
        let sizes = open.items.iter().map(|item| item.size);
        let size = sizes.fold(1, u64::saturating_add);
        let content = if open.mapping {
            let mut items = open.items.into_iter();
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            Content::Mapping(pairs.collect())
        } else {
            Content::Sequence(open.items)
        };
        let node = Node {
            span: open.start..end,
            content,
            tag: open.tag,
            size,
        };
        self.close(open.anchor, node);
    }

    fn close(&mut self, anchor: Option<String>, node: Node) {
        let node = Rc::new(node);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        self.push(node);
    }

    fn push(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_last_line_without_its_end_is_read_as_it_stands() {
        for (text, want) in [
            ("a: |\n  b", "b"),
            ("a: |\n  b\n", "b\n"),
            ("a: |+\n  b\n\n", "b\n\n"),
            ("a: b", "b"),
            ("a: 'b'", "b"),
        ] {
            let document = Documents::of(text).next().expect("one").expect("YAML");
            let entries = document.entries().expect("a mapping");
            assert_eq!(entries[0].1.name(), Some(want), "{text:?}");
        }
    }

    /// Divided by a character that none of them holds.
    const PIECES: &str = "a¦: ¦\n¦\n  ¦\n- ¦- ¦|¦>¦|-¦>+¦|2¦'¦\"¦\\¦\\x¦\\u12¦{¦}¦[¦]¦,¦&a ¦\
        *a¦!¦!!str ¦!<¦%YAML 1.1¦%TAG ! x¦---¦...¦#¦? ¦<<: ¦\t¦\r¦\u{feff}¦\u{85}¦\u{2028}¦~¦@";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Every text ends in documents or a fault inside of it, also one that is torn anywhere.
        #[test]
        fn no_text_is_too_strange(pieces in prop::collection::vec(prop::sample::select(PIECES.split('¦').collect::<Vec<_>>()), 0..24)) {
            let text = pieces.concat();
            for document in Documents::of(&text) {
                if let Err(fault) = document {
                    prop_assert!(fault.at <= text.len() + 1, "{} in {:?}", fault.at, text);
                }
            }
        }
    }
}
