//! A table, for a terminal and for markdown.

/// Lines of cells under headers, which are the first line.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    lines: Vec<Vec<String>>,
    /// The first columns hold words, which begin at the left.
    words: usize,
}

impl Table {
    pub(crate) fn new(headers: &[&str], words: usize) -> Self {
        Self { lines: vec![headers.iter().copied().map(str::to_owned).collect()], words }
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    pub(crate) fn plain(&self) -> String {
        let lines = self.aligned().into_iter().map(|cells| cells.join("  ").trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn markdown(&self) -> String {
        let mut lines: Vec<_> = self.aligned().iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
        let columns = self.lines.first().map_or(0, Vec::len);
        let rules = (0..columns).map(|column| if column < self.words { "---" } else { "---:" });
        lines.insert(1, format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
        lines.join("\n")
    }

    /// Every column of one width.
    fn aligned(&self) -> Vec<Vec<String>> {
        let columns = self.lines.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let pad = |(column, (cell, width)): (usize, (&String, &usize))| {
            if column < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        self.lines.iter().map(|line| line.iter().zip(&widths).enumerate().map(pad).collect()).collect()
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["attack", "p99 ms"], 1);
        table.push(["deaf", "1,234.5"].map(str::to_owned).to_vec());
        assert_eq!(table.plain(), "attack   p99 ms\ndeaf    1,234.5");
        assert_eq!(table.markdown(), "| attack |  p99 ms |\n| --- | ---: |\n| deaf   | 1,234.5 |");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(999), "999");
    }
}
