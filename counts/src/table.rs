//! The table at the end.

use crate::change::Change;

/// A line for each figure, lined up.
pub(crate) fn render(changes: &[Change]) -> String {
    let mut text = row("case", "side", "instructions", "recorded", "change");
    for change in changes {
        let recorded = change.recorded.map_or_else(|| "-".to_owned(), grouped);
        let percent = change.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %"));
        let (case, side) = (change.figure.case.name(), change.figure.side.name());
        text += &row(case, side, &grouped(change.figure.instructions), &recorded, &percent);
    }
    text
}

fn row(case: &str, side: &str, instructions: &str, recorded: &str, change: &str) -> String {
    format!("{case:<12}  {side:<6}  {instructions:>12}  {recorded:>9}  {change:>9}\n")
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
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
    use crate::{
        case::Case,
        figure::{Figure, Side},
    };

    #[test]
    fn columns_line_up() {
        let change =
            |case, side, instructions, recorded| Change { figure: Figure { case, side, instructions }, recorded };
        let changes = [
            change(Case::OneCaller, Side::Client, 9_167, Some(9_170)),
            change(Case::Echo64KiB, Side::Server, 262_000, Some(200_000)),
            change(Case::MultiThread, Side::Client, 950, None),
        ];
        let expected = "\
case          side    instructions   recorded     change
one-caller    client         9,167      9,170     -0.0 %
echo-64kib    server       262,000    200,000    +31.0 %
multi-thread  client           950          -          -
";
        assert_eq!(render(&changes), expected);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 123, 1_234, 123_456, 1_234_567].map(grouped), ["7", "123", "1,234", "123,456", "1,234,567"]);
    }
}
