//! Rule files from disk.

use std::path::Path;

use super::source::{RuleError, Source};

/// A larger file is refused before it is read: the largest rule files in use have a few megabytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The rule files behind a path: itself, or those of a directory.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>, RuleError> {
    let failed = |reason: String| RuleError::unread(path.display().to_string(), reason);
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path)
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .map_err(|error| failed(format!("cannot be listed: {error}")))?;
        files = entries.iter().map(|entry| entry.path()).collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|end| end == "yml" || end == "yaml")
        });
        files.sort();
        if files.is_empty() {
            return Err(failed("holds no *.yml or *.yaml rule file".into()));
        }
    }
    let named = |file: &Path| Ok((file.display().to_string(), text(file)?));
    files.iter().map(|file| named(file)).collect()
}

fn text(file: &Path) -> Result<String, RuleError> {
    let name = file.display().to_string();
    let failed =
        |error: std::io::Error| RuleError::unread(name.clone(), format!("cannot be read: {error}"));
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > FILE_BYTES_MAX {
        let reason = format!("has {size} bytes; a rule file may have {FILE_BYTES_MAX}");
        return Err(RuleError::unread(name, reason));
    }
    let bytes = std::fs::read(file).map_err(failed)?;
    decoded(&name, bytes)
}

/// UTF-8, or UTF-16 with its byte order mark, as libyaml reads them.
fn decoded(name: &str, bytes: Vec<u8>) -> Result<String, RuleError> {
    let wide: Option<fn([u8; 2]) -> u16> = match bytes.get(..2) {
        Some([0xff, 0xfe]) => Some(u16::from_le_bytes),
        Some([0xfe, 0xff]) => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(wide) = wide {
        let units = bytes[2..].chunks(2).map(|pair| match pair {
            [a, b] => wide([*a, *b]),
            _ => 0xd800, // half a unit: refused like half a pair
        });
        let text: Result<String, _> = char::decode_utf16(units).collect();
        return text.map_err(|_| RuleError::unread(name.into(), "is not valid UTF-16".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let text = String::from_utf8_lossy(&bytes);
        Source::new(name, &text).error(at, format!("byte {:#04x} is not UTF-8", bytes[at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_utf_8_or_marked_utf_16() {
        let cases: [(&[u8], Result<&str, &str>); 5] = [
            (b"a: \xc3\xa4", Ok("a: \u{e4}")),
            (b"\xff\xfea\0:\0", Ok("a:")),
            (b"\xfe\xff\0a\0:", Ok("a:")),
            (b"\xff\xfea\0:", Err("f: is not valid UTF-16")),
            (
                b"a:\n  b: \xff",
                Err("f:2:6: byte 0xff is not UTF-8\n  |   b: \u{fffd}\n  |      ^"),
            ),
        ];
        for (bytes, want) in cases {
            let got = decoded("f", bytes.to_vec()).map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(|error| &**error), want, "{bytes:?}");
        }
    }
}
