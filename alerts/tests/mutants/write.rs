//! A tree as YAML text, in one of the many forms that YAML has for it.

use crate::dice::Dice;
use crate::tree::{Node, double};

/// Writes one document.
pub struct Writer<'d> {
    dice: &'d mut Dice,
    out: String,
    /// Nodes that have an anchor.
    anchored: Vec<Node>,
    /// The field whose value is written.
    field: String,
    /// How often an uncommon form is taken, in percent.
    strange: i64,
}

/// The text of a tree.
pub fn document(dice: &mut Dice, root: &Node) -> String {
    let strange = dice.pick(&[0, 5, 30]);
    let mut writer = Writer {
        dice,
        out: String::new(),
        anchored: Vec::new(),
        field: String::new(),
        strange,
    };
    let head = match writer.odd() {
        true => writer.dice.pick(&[
            "---\n",
            "# comment\n\n",
            "%YAML 1.1\n---\n",
            "\u{feff}",
            "--- # x\n",
        ]),
        false => "",
    };
    writer.out.push_str(head);
    writer.node(root, 0, false);
    let Writer { mut out, .. } = writer;
    out = out.trim_start_matches('\n').to_string();
    if !out.ends_with('\n') {
        out.push('\n');
    }
    match dice.below(25) {
        0 => out.replace('\n', "\r\n"),
        1 => out + "...\n",
        2 => out.trim_end().to_string(),
        3 => out + "---\ntests: 5\n",
        _ => out,
    }
}

impl Writer<'_> {
    fn odd(&mut self) -> bool {
        let strange = self.strange;
        self.dice.percent(strange)
    }

    /// Writes a node after `key:` or `-`, or at the top.
    fn node(&mut self, node: &Node, indent: usize, inline: bool) {
        if matches!(node, Node::List(_) | Node::Map(_)) {
            if let Some(at) = self.anchored.iter().position(|have| have == node)
                && self.dice.percent(50)
            {
                self.out.push_str(&format!(" *a{at}\n"));
                return;
            }
            if inline && self.odd() {
                self.out.push_str(&format!(" &a{}", self.anchored.len()));
                self.anchored.push(node.clone());
            }
        }
        let empty = match node {
            Node::List(items) => items.is_empty(),
            Node::Map(pairs) => pairs.is_empty(),
            _ => true,
        };
        if empty || (inline && self.odd()) {
            self.out.push(' ');
            if !empty || !self.block(node, indent) {
                self.flow(node);
                self.out.push('\n');
            }
            return;
        }
        self.out.push('\n');
        let pad = " ".repeat(indent);
        match node {
            Node::List(items) => {
                for item in items {
                    self.out.push_str(&format!("{pad}-"));
                    self.node(item, indent + 2, true);
                }
            }
            Node::Map(pairs) => {
                for (name, value) in pairs {
                    self.field.clone_from(name);
                    let name = self.key(name);
                    self.out.push_str(&format!("{pad}{name}:"));
                    let same_line = matches!(value, Node::List(_)) && self.odd();
                    let deeper = if same_line { indent } else { indent + 2 };
                    self.node(value, deeper, true);
                    if self.dice.below(400) == 0 {
                        self.out.push_str("# a comment\n");
                    }
                }
            }
            _ => unreachable!("scalars are written in one line"),
        }
    }

    fn key(&mut self, name: &str) -> String {
        match self.odd() && self.odd() {
            true if self.dice.percent(50) => format!("'{name}'"),
            true => format!("{name:?}"),
            false if plain(name) || name == "<<" => name.to_string(),
            false => format!("{name:?}"),
        }
    }

    /// A block scalar, where that is the form drawn.
    fn block(&mut self, node: &Node, indent: usize) -> bool {
        let Node::Text(text) = node else { return false };
        let fits = !text.is_empty()
            && !text.starts_with([' ', '\n'])
            && !text.ends_with(['\n', ' '])
            && !text.contains('\r');
        if !fits || !self.odd() {
            return false;
        }
        // Reports hold names as they are: with a line feed at their end nobody could tell one check from the next.
        let name = matches!(&*self.field, "name" | "alertname" | "alert" | "record");
        let headers: &[&str] = if name {
            &["|-", ">-"]
        } else {
            &["|-", ">-", "|-", ">-", "|", ">", "|+"]
        };
        let header = self.dice.pick(headers);
        let pad = " ".repeat(indent.max(1));
        let text = match !name && self.dice.percent(20) {
            true => text.replace(' ', "\n"),
            false => text.clone(),
        };
        self.out.push_str(header);
        self.out.push('\n');
        for line in text.split('\n') {
            self.out.push_str(&format!("{pad}{line}\n"));
        }
        true
    }

    fn flow(&mut self, node: &Node) {
        match node {
            Node::Raw(text) => self.out.push_str(text),
            Node::Text(text) => {
                let text = self.quoted(text);
                self.out.push_str(&text);
            }
            Node::List(items) => {
                self.out.push('[');
                for (at, item) in items.iter().enumerate() {
                    self.out.push_str(if at > 0 { ", " } else { "" });
                    self.flow(item);
                }
                self.out.push(']');
            }
            Node::Map(pairs) => {
                self.out.push('{');
                for (at, (name, value)) in pairs.iter().enumerate() {
                    let name = self.key(name);
                    self.out.push_str(if at > 0 { ", " } else { "" });
                    self.out.push_str(&format!("{name}: "));
                    self.flow(value);
                }
                self.out.push('}');
            }
        }
    }

    fn quoted(&mut self, text: &str) -> String {
        let single = !text.contains(['\n', '\r', '\'']);
        match self.dice.below(10) {
            0..=6 if plain(text) => text.to_string(),
            0..=7 if single => format!("'{text}'"),
            8 if single && self.odd() => format!("!!str '{text}'"),
            _ => double(text),
        }
    }
}

/// May stand without quotes and means itself or something that is read as text.
fn plain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || " _./()+-".contains(c);
    !text.is_empty()
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/.".contains(c))
        && text.chars().all(inner)
        && !text.ends_with(' ')
}
