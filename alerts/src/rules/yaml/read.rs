//! YAML text to nodes: whole documents, or one document whose list gives its items away one by one.
//!
//! Invariant: depth and aliases are bounded, so that no input exhausts stack or memory.

use std::collections::BTreeMap;
use std::io::{BufRead, Chain};
use std::ops::Range;
use std::sync::Arc;

use libyaml_safer::{Event, EventData, Mark, Parser, ScalarStyle};

use super::{Content, Fault, Node, fault};

/// Deeper than any rule file; each level costs stack when the nodes are dropped.
const DEPTH_MAX: usize = 64;
/// Nodes that aliases may stand for in one document: a few lines of nested aliases stand for billions.
const ALIASED_MAX: u64 = 1_000_000;

/// The documents of a text, one after the other.
pub(crate) struct Documents<R> {
    parser: Parser<R>,
    /// Bytes of the text, if it ends inside of its last line. The parser wants lines to be whole, so that it gets a line break more.
    torn: Option<usize>,
    done: bool,
}

/// A text, and the line break that it may lack.
type Whole<'t> = Chain<&'t [u8], &'static [u8]>;

impl<'t> Documents<Whole<'t>> {
    pub fn of(text: &'t str) -> Self {
        let torn = !text.ends_with('\n');
        let end: &'static [u8] = if torn { b"\n" } else { b"" };
        Documents {
            torn: torn.then_some(text.len()),
            ..Documents::of_lines(std::io::Read::chain(text.as_bytes(), end))
        }
    }

    /// The same of a text without control characters, which YAML does not allow.
    pub fn checked(text: &'t str) -> Result<Self, Fault> {
        match text.char_indices().find(|(_, c)| is_forbidden(*c)) {
            Some((at, c)) => fault(at, format!("control character {c:?} is not allowed")),
            None => Ok(Documents::of(text)),
        }
    }
}

/// What YAML does not allow anywhere.
pub(crate) fn is_forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')
}

impl<R: BufRead> Documents<R> {
    /// Of a text whose last line is whole.
    fn of_lines(reader: R) -> Self {
        let mut parser = Parser::new();
        parser.set_input(reader);
        Documents {
            parser,
            torn: None,
            done: false,
        }
    }

    /// The next event. The parser panics at a tag in front of a comma, which go-yaml refuses: its state is not looked at again, and the
    /// text is refused where it had come to.
    fn event(&mut self, reached: usize) -> Result<Event, Fault> {
        let parser = std::panic::AssertUnwindSafe(&mut self.parser);
        let caught = std::panic::catch_unwind(|| {
            let parser = parser;
            parser.0.parse()
        });
        let Ok(read) = caught else {
            return fault(reached, "malformed YAML: a tag that does not end");
        };
        read.map_err(|error| {
            let at = offset(error.problem_mark().unwrap_or_default());
            let context = error.context().map(|context| format!(" {context}"));
            let reason = format!("{}{}", error.problem(), context.unwrap_or_default());
            Fault { at, reason }
        })
    }

    /// Reads one event of the document; false at its end.
    fn step(&mut self, nodes: &mut Nodes) -> Result<bool, Fault> {
        let event = self.event(nodes.end)?;
        nodes.end = offset(event.end_mark);
        let span = offset(event.start_mark)..offset(event.end_mark);
        match event.data {
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
            EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(false),
            mut data => {
                if self.torn.is_some_and(|length| span.end >= length) {
                    mend(&mut data);
                }
                nodes.take(data, span)?;
            }
        }
        Ok(true)
    }

    fn document(&mut self) -> Result<Option<Arc<Node>>, Fault> {
        let mut nodes = Nodes::default();
        while self.step(&mut nodes)? {}
        Ok(nodes.root)
    }
}

/// A document whose root is a mapping, with the items of one of its lists given away one by one: what was read of them is not kept.
pub(crate) struct Listed<R> {
    documents: Documents<R>,
    nodes: Nodes,
    field: &'static str,
}

impl<R: BufRead> Listed<R> {
    /// The first document of a text whose last line is whole.
    pub fn of_lines(reader: R, field: &'static str) -> Self {
        Listed {
            documents: Documents::of_lines(reader),
            nodes: Nodes::default(),
            field,
        }
    }

    /// The next item; `None` at the end of the document. A list that has an anchor, or is named by an alias, keeps its items.
    pub fn item(&mut self) -> Result<Option<Arc<Node>>, Fault> {
        while !self.documents.done {
            self.documents.done = !self.documents.step(&mut self.nodes)?;
            let [root, list] = &mut self.nodes.open[..] else {
                continue;
            };
            let key = root.items.last().filter(|_| root.items.len() % 2 == 1);
            let named = root.mapping && key.is_some_and(|key| key.name() == Some(self.field));
            let kept = list.mapping || list.anchor.is_some() || root.anchor.is_some();
            if named
                && !kept
                && let Some(item) = list.items.pop()
            {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The fields that were read so far, at the end of the document all of them; the list without the items that were given away.
    pub fn root(&self) -> Option<Arc<Node>> {
        let begun = self.nodes.open.first().map(|root| {
            let items = root.items[..root.items.len() / 2 * 2].to_vec();
            let span = root.start..self.nodes.end;
            Arc::new(Node::collection(
                root.mapping,
                items,
                span,
                root.tag.clone(),
            ))
        });
        self.nodes.root.clone().or(begun)
    }
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

impl<R: BufRead> Iterator for Documents<R> {
    type Item = Result<Arc<Node>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let document = self.document().transpose();
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
    items: Vec<Arc<Node>>,
}

#[derive(Default)]
struct Nodes {
    open: Vec<Open>,
    /// `None` while the anchor's own node has not ended.
    anchors: BTreeMap<String, Option<Arc<Node>>>,
    aliased: u64,
    root: Option<Arc<Node>>,
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
        let node = Node::collection(open.mapping, open.items, open.start..end, open.tag);
        self.close(open.anchor, node);
    }

    fn close(&mut self, anchor: Option<String>, node: Node) {
        let node = Arc::new(node);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        self.push(node);
    }

    fn push(&mut self, node: Arc<Node>) {
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
