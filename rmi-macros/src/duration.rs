//! Times as people write them: `250ms`, `5s`, `1.5m`, `1h`.

/// A year: no time travels that is longer.
const MAX: u64 = 365 * 24 * 60 * 60 * 1_000_000;

/// The microseconds of a time.
pub(crate) fn micros(text: &str) -> Result<u64, String> {
    let shape = || {
        let how = "write a number and its unit: `250ms`, `5s`, `1.5m`, `1h`";
        if text.is_empty() { format!("a time cannot be empty: {how}") } else { format!("`{text}` is no time: {how}") }
    };
    let unit_at = text.find(|char: char| !char.is_ascii_digit() && char != '.').ok_or_else(shape)?;
    let (number, unit) = text.split_at(unit_at);
    let unit: u64 = match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60 * 1_000_000,
        "h" => 60 * 60 * 1_000_000,
        _ => return Err(shape()),
    };
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    if whole.is_empty() || part.is_some_and(|part| part.is_empty() || part.contains('.')) {
        return Err(shape());
    }
    let part = part.unwrap_or("").trim_end_matches('0');
    let too_long = || format!("`{text}` is too long: a call takes a year (`8760h`) at most");
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    let whole = whole.checked_mul(unit).filter(|micros| *micros <= MAX).ok_or_else(too_long)?;
    let too_fine = || format!("`{text}` is finer than a microsecond (`1us`)");
    let scale = u32::try_from(part.len()).ok().and_then(|digits| 10_u64.checked_pow(digits)).ok_or_else(too_fine)?;
    let part = if part.is_empty() { 0 } else { part.parse::<u64>().map_err(|_| too_fine())? };
    let part = part.checked_mul(unit).filter(|part| part % scale == 0).ok_or_else(too_fine)? / scale;
    match whole + part {
        0 => Err("no call takes no time at all: give it some, or leave `timeout` out".to_owned()),
        micros if micros > MAX => Err(too_long()),
        micros => Ok(micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("1us", 1),
            ("250ms", 250_000),
            ("5s", 5_000_000),
            ("2m", 120_000_000),
            ("1h", 3_600_000_000),
            ("1.5s", 1_500_000),
            ("0.25m", 15_000_000),
            ("2.50ms", 2500),
            ("0.000001s", 1),
            ("8760h", MAX),
        ] {
            assert_eq!(micros(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_what_one_is() {
        for text in [
            "", "5", "s", "five", "5 s", " 5s", "5s ", "-5s", "+5s", "5sec", "5S", "1.s", ".5s", "1.2.3s", "1h30m",
            "٥s",
        ] {
            let why = micros(text).unwrap_err();
            assert!(why.contains("`5s`"), "{text}: {why}");
        }
    }

    #[test]
    fn what_is_too_much_or_too_little_is_refused() {
        for text in ["0s", "0.0ms", "0us"] {
            assert!(micros(text).unwrap_err().contains("no time"), "{text}");
        }
        for text in ["8761h", "8760.5h", "99999999999999999999s", "18446744073709551615h"] {
            assert!(micros(text).unwrap_err().contains("too long"), "{text}");
        }
        for text in ["0.5us", "1.0000001s", "0.00000000000000000000000000001s"] {
            assert!(micros(text).unwrap_err().contains("microsecond"), "{text}");
        }
    }
}
