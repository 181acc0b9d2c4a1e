//! Text functions of templates: hosts, titles, escapes.

use std::fmt::Write;
use std::net::IpAddr;

/// The first letter of each word in upper case. Digits begin no word, and a mark such as `.` between two letters ends none.
pub(super) fn title(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for (at, c) in chars.iter().enumerate() {
        let letter = |at: Option<&char>| at.is_some_and(|c| c.is_alphabetic());
        let mark = matches!(c, '.' | ':' | '\'' | '\u{b7}' | '\u{2019}');
        let joins = mark && letter(chars[..at].last()) && letter(chars.get(at + 1));
        match (inside, c.is_alphabetic()) {
            (false, true) => out.extend(c.to_uppercase()),
            _ => out.push(*c),
        }
        inside = c.is_alphabetic() || (inside && (c.is_numeric() || *c == '_' || joins));
    }
    out
}

/// Host and port, as Go's `net.SplitHostPort`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let stray = host.contains(['[', ']']) || port.contains(['[', ']']);
    (!stray).then_some((host, port))
}

pub(super) fn strip_port(text: &str) -> String {
    split_host_port(text)
        .map_or(text, |(host, _)| host)
        .to_string()
}

pub(super) fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_string();
    }
    let host = host.split('.').next().unwrap_or(host);
    match port {
        "" => host.to_string(),
        _ if host.contains([':', '%']) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

pub(super) fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn escape_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => drop(write!(out, "\\u{:04X}", c as u32)),
            c if c < ' ' => drop(write!(out, "\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn escape_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
