//! The table at the end.

use rmi_harness::grouped;

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
}
