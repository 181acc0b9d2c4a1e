//! Parts of a UTC date from seconds since the epoch; the proleptic Gregorian calendar, without leap seconds.

/// The function of a name such as `day_of_week`.
pub(super) fn part(name: &str) -> Option<fn(i64) -> f64> {
    Some(match name {
        "minute" => |s| s.div_euclid(60).rem_euclid(60) as f64,
        "hour" => |s| s.div_euclid(3600).rem_euclid(24) as f64,
        "day_of_week" => |s| (s.div_euclid(86400) + 4).rem_euclid(7) as f64,
        "day_of_month" => |s| civil(s).2 as f64,
        "day_of_year" => |s| {
            let (year, month, day) = civil(s);
            let before: i64 = (1..month).map(|month| days_in(year, month)).sum();
            (before + day) as f64
        },
        "days_in_month" => |s| {
            let (year, month, _) = civil(s);
            days_in(year, month) as f64
        },
        "month" => |s| civil(s).1 as f64,
        "year" => |s| civil(s).0 as f64,
        _ => return None,
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day. Eras of 400 years, years that begin in March, so that the leap day comes last.
pub(crate) fn civil(seconds: i64) -> (i64, i64, i64) {
    let days = seconds.div_euclid(86400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian_also_before_1970() {
        let cases = [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (1_700_000_000, (2023, 11, 14)),
            (-1, (1969, 12, 31)),
        ];
        for (seconds, date) in cases {
            assert_eq!(civil(seconds), date);
        }
        let day_of_week = part("day_of_week").expect("known");
        assert_eq!(day_of_week(1_700_000_000), 2.0);
    }
}
