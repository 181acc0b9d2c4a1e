//! A YAML document as a tree that may say what no parser lets pass: keys that stand twice, scalars of any spelling.

use std::collections::BTreeMap;

use libyaml_safer::{EventData, Parser, ScalarStyle};

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A scalar as it is written, whatever that means.
    Raw(String),
    /// Text, to be quoted where it must be.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub fn raw(text: &str) -> Node {
        Node::Raw(text.into())
    }

    pub fn text(text: &str) -> Node {
        Node::Text(text.into())
    }

    /// The document of a text; merge keys and aliases are written out.
    pub fn read(text: &str) -> Node {
        Node::try_read(text).expect("YAML")
    }

    /// The first document of a text that may be malformed.
    pub fn try_read(text: &str) -> Option<Node> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let whole = format!("{text}\n");
        let mut parser = Parser::new();
        parser.set_input(whole.as_bytes());
        let mut events = parser.map_while(|event| Some(event.ok()?.data));
        let first = events.find(|event| {
            !matches!(
                event,
                EventData::StreamStart { .. } | EventData::DocumentStart { .. }
            )
        });
        node(&mut events, first?, &mut BTreeMap::new())
    }

    /// A field of a mapping.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Node::Map(pairs) => pairs
                .iter()
                .find(|(have, _)| have == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        match self {
            Node::Map(pairs) => {
                let found = pairs.iter_mut().find(|(have, _)| have == name);
                found.map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// Sets a field of a mapping.
    pub fn set(&mut self, name: &str, value: Node) {
        match self.get_mut(name) {
            Some(node) => *node = value,
            None => {
                if let Node::Map(pairs) = self {
                    pairs.push((name.into(), value));
                }
            }
        }
    }

    /// Takes a field out of a mapping.
    pub fn unset(&mut self, name: &str) {
        if let Node::Map(pairs) = self {
            pairs.retain(|(have, _)| have != name);
        }
    }

    /// In one line.
    pub fn in_one_line(&self) -> String {
        match self {
            Node::Raw(text) => text.clone(),
            Node::Text(text) => double(text),
            Node::List(items) => {
                let items: Vec<String> = items.iter().map(Node::in_one_line).collect();
                format!("[{}]", items.join(", "))
            }
            Node::Map(pairs) => {
                let pairs = pairs.iter();
                let pairs =
                    pairs.map(|(name, node)| format!("{}: {}", double(name), node.in_one_line()));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    pub fn items(&self) -> &[Node] {
        match self {
            Node::List(items) => items,
            _ => &[],
        }
    }

    /// A scalar as it reads.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Node::Raw(text) | Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Calls with each node below this one and the name of the field that it is the value of, or an item of.
    pub fn each(&self, field: &str, visit: &mut impl FnMut(&str, &Node)) {
        visit(field, self);
        match self {
            Node::List(items) => items.iter().for_each(|item| item.each(field, visit)),
            Node::Map(pairs) => pairs.iter().for_each(|(name, node)| node.each(name, visit)),
            _ => {}
        }
    }

    /// The same to change them.
    pub fn each_mut(&mut self, field: &str, visit: &mut impl FnMut(&str, &mut Node)) {
        visit(field, self);
        match self {
            Node::List(items) => items
                .iter_mut()
                .for_each(|item| item.each_mut(field, visit)),
            Node::Map(pairs) => pairs
                .iter_mut()
                .for_each(|(name, node)| node.each_mut(name, visit)),
            _ => {}
        }
    }

    /// Changes the node at this place in the order of [`Node::each`].
    pub fn change_at(
        &mut self,
        place: &mut usize,
        field: &str,
        change: &mut impl FnMut(&str, &mut Node),
    ) -> bool {
        if *place == 0 {
            change(field, self);
            return true;
        }
        *place -= 1;
        match self {
            Node::List(items) => items
                .iter_mut()
                .any(|item| item.change_at(place, field, change)),
            Node::Map(pairs) => pairs
                .iter_mut()
                .any(|(name, node)| node.change_at(place, name, change)),
            _ => false,
        }
    }
}

/// In double quotes.
pub fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Takes a scalar as it is written, if that says what it is: a number, a flag, nothing, a tag.
fn scalar(text: String, tag: Option<String>, plain: bool) -> Node {
    let word = matches!(
        &*text.to_lowercase(),
        "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
    match tag
        .as_deref()
        .map(|tag| tag.strip_prefix("tag:yaml.org,2002:"))
    {
        Some(Some(core)) => Node::Raw(format!("!!{core} {}", double(&text))),
        None if plain && (word || number) => Node::Raw(text),
        _ => Node::Text(text),
    }
}

/// The node that begins with this event; those with an anchor are kept for their aliases.
fn node(
    events: &mut impl Iterator<Item = EventData>,
    first: EventData,
    anchors: &mut BTreeMap<String, Node>,
) -> Option<Node> {
    let (anchor, read) = match first {
        EventData::Alias { anchor } => return anchors.get(&anchor).cloned(),
        EventData::Scalar {
            anchor,
            tag,
            value,
            style,
            ..
        } => (anchor, scalar(value, tag, style == ScalarStyle::Plain)),
        EventData::SequenceStart { anchor, .. } => {
            let mut items = Vec::new();
            loop {
                match events.next()? {
                    EventData::SequenceEnd => break,
                    first => items.push(node(events, first, anchors)?),
                }
            }
            (anchor, Node::List(items))
        }
        EventData::MappingStart { anchor, .. } => {
            let (mut pairs, mut merged) = (Vec::new(), Vec::new());
            loop {
                let name = match events.next()? {
                    EventData::MappingEnd => break,
                    first => node(events, first, anchors)?.scalar()?.to_string(),
                };
                let first = events.next()?;
                match node(events, first, anchors)? {
                    Node::Map(more) if name == "<<" => merged.extend(more),
                    value => pairs.push((name, value)),
                }
            }
            let own = pairs.clone();
            merged.retain(|(name, _)| own.iter().all(|(have, _)| have != name));
            pairs.extend(merged);
            (anchor, Node::Map(pairs))
        }
        _ => return None,
    };
    if let Some(anchor) = anchor {
        anchors.insert(anchor, read.clone());
    }
    Some(read)
}
