//! A table, for a terminal and for markdown.

/// Lines of cells under headers.
#[derive(Clone, Debug)]
pub struct Table {
    /// The headers first.
    lines: Vec<Vec<String>>,
    /// The columns from this one on hold numbers, which end at the right.
    numbers_from: usize,
}

impl Table {
    /// No lines yet. The columns from `numbers_from` on hold numbers.
    pub fn new(headers: impl IntoIterator<Item = impl Into<String>>, numbers_from: usize) -> Self {
        Self { lines: vec![headers.into_iter().map(Into::into).collect()], numbers_from }
    }

    /// Adds a line.
    pub fn push(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    /// Whether it has headers only.
    pub const fn is_empty(&self) -> bool {
        self.lines.len() < 2
    }

    /// For a terminal.
    pub fn plain(&self) -> String {
        let lines = self.aligned().into_iter().map(|cells| cells.join("  ").trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// For markdown.
    pub fn markdown(&self) -> String {
        let mut lines: Vec<_> = self.aligned().iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
        let rules = (0..self.columns()).map(|column| if column < self.numbers_from { "---" } else { "---:" });
        lines.insert(1, format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
        lines.join("\n")
    }

    fn columns(&self) -> usize {
        self.lines.first().map_or(0, Vec::len)
    }

    /// Every column of one width.
    fn aligned(&self) -> Vec<Vec<String>> {
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns()).map(width).collect();
        let pad = |(column, (cell, width)): (usize, (&String, &usize))| {
            if column < self.numbers_from { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        self.lines.iter().map(|line| line.iter().zip(&widths).enumerate().map(pad).collect()).collect()
    }
}

/// So many decimals, thousands apart; a dash for what is not known.
pub fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(whole, rest)| (whole, Some(rest)));
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    group(whole, &mut out);
    fraction.into_iter().for_each(|fraction| out.extend([".", fraction]));
    out
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let mut out = String::new();
    group(&number.to_string(), &mut out);
    out
}

fn group(digits: &str, out: &mut String) {
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["work", "peer", "p50 µs"], 2);
        assert!(table.is_empty());
        table.push(["64 callers", "rmi", "1,234.5"].map(str::to_owned).to_vec());
        table.push(["echo", "capnp", "–"].map(str::to_owned).to_vec());
        let expected = "\
work        peer    p50 µs
64 callers  rmi    1,234.5
echo        capnp        –";
        assert_eq!(table.plain(), expected);
        let expected = "\
| work       | peer  |  p50 µs |
| --- | --- | ---: |
| 64 callers | rmi   | 1,234.5 |
| echo       | capnp |       – |";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.8, 0), "1,234,568");
        assert_eq!(number(999.6, 1), "999.6");
        assert_eq!(number(-1234.56, 1), "-1,234.6");
        assert_eq!(number(f64::NAN, 1), "–");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 123, 1_234, 123_456, 1_234_567].map(grouped), ["7", "123", "1,234", "123,456", "1,234,567"]);
    }
}
