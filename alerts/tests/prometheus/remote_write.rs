//! Remote write requests: protocol buffers of the messages `WriteRequest`, `TimeSeries`, `Label` and `Sample`, inside a Snappy
//! block that compresses nothing.

use alerts::labels::Labels;

use crate::server::Server;

/// Sends a request: the only way by which stale markers can be given to a server.
pub fn send(server: &Server, body: &[u8]) {
    let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
        X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
    let (status, answer) = server
        .request("POST", "/api/v1/write", headers, body)
        .expect("the server answers");
    let answer = String::from_utf8_lossy(&answer);
    assert!(status / 100 == 2, "remote write: {status} {answer}");
}

/// A request for these samples of these series.
pub fn request<'a>(series: impl Iterator<Item = (&'a Labels, Vec<(i64, f64)>)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (labels, samples) in series {
        let mut message = Vec::new();
        for (name, value) in labels.iter() {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut message, 1, &label);
        }
        for (t_ms, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_bits().to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, t_ms as u64);
            field(&mut message, 2, &sample);
        }
        field(&mut out, 1, &message);
    }
    snappy(&out)
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

/// The length, then literals of at most 2¹⁶ bytes, each after a tag that says "two bytes of length follow".
fn snappy(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, content.len() as u64);
    for part in content.chunks(1 << 16) {
        out.push(61 << 2);
        out.extend(((part.len() - 1) as u16).to_le_bytes());
        out.extend(part);
    }
    out
}
