//! How many tests ran, read from what the runners print.

use std::ops::AddAssign;

/// The counts of one run or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// The counts in a closing line of libtest or nextest; `None` for any other line.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let line = without_escapes(line);
        // Indented, it is what a test wrote, shown by nextest, and counted by its summary.
        if let Some(rest) = line.strip_prefix("test result: ") {
            let (_, counts) = rest.split_once(". ")?;
            return Some(Self::sum(counts.split(';')));
        }
        let (_, rest) = line.trim_start().strip_prefix("Summary ")?.split_once(']')?;
        let (_, counts) = rest.split_once(" run: ")?;
        Some(Self::sum(without_parentheses(counts).split(',')))
    }

    fn sum<'a>(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut counts = Self::default();
        for part in parts {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what.trim() {
                "passed" => counts.passed += number,
                "skipped" | "ignored" => counts.skipped += number,
                "measured" | "filtered out" => {}
                // Failed, timed out, exec failed: whatever else a runner tells apart.
                _ => counts.failed += number,
            }
        }
        counts
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The line without its colours.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            // A colour ends at its first letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(char);
        }
    }
    plain
}

/// `5 passed (1 slow, 1 flaky), 2 skipped` without what stands in parentheses.
fn without_parentheses(counts: &str) -> String {
    let mut depth = 0_usize;
    let outside = |char: &char| {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    counts.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn libtest_closes_with_a_result() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s";
        assert_eq!(Counts::parse(line), counts(5, 2, 1));
    }

    #[test]
    fn nextest_closes_with_a_summary() {
        assert_eq!(Counts::parse("     Summary [   0.017s] 3 tests run: 3 passed, 1 skipped"), counts(3, 0, 1));
        assert_eq!(Counts::parse("     Summary [   0.017s] 1 test run: 1 passed, 0 skipped"), counts(1, 0, 0));
    }

    #[test]
    fn what_a_test_wrote_itself_is_not_counted_again() {
        assert_eq!(Counts::parse("    test result: ok. 1 passed; 0 failed; 0 ignored; finished in 2.2s"), None);
    }

    #[test]
    fn all_ways_to_fail_are_failures() {
        let line = "Summary [   9.1s] 6/7 tests run: 2 passed (1 slow, 1 flaky), 1 failed, 2 timed out, 1 exec failed, 4 skipped";
        assert_eq!(Counts::parse(line), counts(2, 4, 4));
    }

    #[test]
    fn colours_do_not_matter() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m \u{1b}[33;1mskipped\u{1b}[0m";
        assert_eq!(Counts::parse(line), counts(2, 0, 0));
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in ["", "running 3 tests", "test counts::tests::x ... ok", "3 passed", "Summary of the day: 3 passed"]
        {
            assert_eq!(Counts::parse(line), None, "{line:?}");
        }
    }
}
