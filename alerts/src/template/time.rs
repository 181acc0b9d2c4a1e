//! Instants inside templates: what `toTime` answers, in UTC, with the methods of Go's `time.Time` that alerts use.

use std::fmt;

use super::value::Value;

/// An instant in milliseconds since the epoch: Prometheus cuts finer parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Time(i64);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// An instant from seconds; as far as nanoseconds in 64 bits reach.
pub(super) fn millis(seconds: f64) -> Result<Time, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".into());
    }
    let nanos = seconds * 1e9;
    if nanos.abs() > i64::MAX as f64 {
        return Err(format!(
            "{seconds} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(Time(nanos as i64 / 1_000_000))
}

/// Parts of a layout in the order in which Go tries them: longer ones first.
const PARTS: [&str; 22] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "-07:00", "-0700", "Z07:00", "Z0700", "01",
    "02", "03", "04", "05", "06", "15", "PM", "pm", "_2", ".000", "1",
];

impl Time {
    fn second(self) -> i64 {
        self.0.div_euclid(1000)
    }

    fn parts(self) -> (i64, i64, i64, i64) {
        let (year, month, day) = crate::promql::civil(self.second());
        (year, month, day, self.second().rem_euclid(86400))
    }

    fn weekday(self) -> &'static str {
        let day = (self.second().div_euclid(86400) + 4).rem_euclid(7);
        DAYS[day as usize]
    }

    fn month(self) -> &'static str {
        MONTHS[(self.parts().1 - 1).clamp(0, 11) as usize]
    }

    /// A method by name; `None` when Go has it not, or it is not supported here.
    pub fn method(self, name: &str, args: &[Value]) -> Option<Value> {
        let (year, _, day, of_day) = self.parts();
        Some(match (name, args) {
            ("Unix", []) => Value::Int(self.second()),
            ("UnixMilli", []) => Value::Int(self.0),
            ("UnixNano", []) => Value::Int(self.0.saturating_mul(1_000_000)),
            ("UTC" | "Local", []) => Value::Time(self),
            ("String", []) => Value::Text(self.to_string()),
            ("Year", []) => Value::Int(year),
            ("Month", []) => Value::Text(self.month().into()),
            ("Day", []) => Value::Int(day),
            ("Weekday", []) => Value::Text(self.weekday().into()),
            ("Hour", []) => Value::Int(of_day / 3600),
            ("Minute", []) => Value::Int(of_day / 60 % 60),
            ("Second", []) => Value::Int(of_day % 60),
            ("Format", [Value::Text(layout)]) => Value::Text(self.format(layout)),
            _ => return None,
        })
    }

    /// Go's layouts: the parts of the reference time, anything else as it stands.
    fn format(self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while let Some(first) = rest.chars().next() {
            let part = PARTS.iter().find(|part| rest.starts_with(**part));
            // `1`, `2`, `3`, `4` and `5` alone are parts without a leading zero.
            let single = rest.get(..1).filter(|c| "12345".contains(*c));
            match part.copied().filter(|part| *part != "1").or(single) {
                Some(part) => {
                    out += &self.part(part);
                    rest = &rest[part.len()..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }

    fn part(self, part: &str) -> String {
        let (year, month, day, of_day) = self.parts();
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        match part {
            "January" => self.month().into(),
            "Jan" => self.month()[..3].into(),
            "Monday" => self.weekday().into(),
            "Mon" => self.weekday()[..3].into(),
            "MST" => "UTC".into(),
            "2006" => format!("{year:04}"),
            "06" => format!("{:02}", year.rem_euclid(100)),
            "01" => format!("{month:02}"),
            "1" => month.to_string(),
            "02" => format!("{day:02}"),
            "_2" => format!("{day:2}"),
            "2" => day.to_string(),
            "15" => format!("{hour:02}"),
            "03" => format!("{twelve:02}"),
            "3" => twelve.to_string(),
            "04" => format!("{minute:02}"),
            "4" => minute.to_string(),
            "05" => format!("{second:02}"),
            "5" => second.to_string(),
            "PM" => if hour < 12 { "AM" } else { "PM" }.into(),
            "pm" => if hour < 12 { "am" } else { "pm" }.into(),
            ".000" => format!(".{:03}", self.0.rem_euclid(1000)),
            "-07:00" => "+00:00".into(),
            "-0700" => "+0000".into(),
            _ => "Z".into(),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:03}", self.0.rem_euclid(1000));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        let whole = self.format("2006-01-02 15:04:05");
        write!(f, "{whole}{point}{fraction} +0000 UTC")
    }
}
