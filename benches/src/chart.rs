//! The picture: each peer's rate as a part of the floor's, on a logarithmic axis.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    peers::Peer,
    plan::Turn,
    results::Results,
    row::{Flavour, Row, name},
};

const WIDTH: u32 = 1400;
const PANEL_HEIGHT: u32 = 330;
const LEGEND_HEIGHT: u32 = 50;
/// In the file it is the colour of the text around it, so that the picture suits light and dark pages.
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const INK_IN_SVG: &str = "\"#1F2328\"";
const STYLE: &str = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>";

/// Writes `benches/results.svg`.
pub(crate) fn write(results: &Results) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results.svg");
    fs::write(path, svg(results)?).context("cannot write benches/results.svg")
}

fn svg(results: &Results) -> Result<String> {
    let panels: Vec<_> = Flavour::value_variants().iter().map(|flavour| Panel::new(*flavour, results)).collect();
    let panels: Vec<_> = panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect();
    let height = LEGEND_HEIGHT + PANEL_HEIGHT * panels.len() as u32;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let (top, rest) = area.split_vertically(LEGEND_HEIGHT);
        let ratios = || panels.iter().flat_map(|panel| &panel.bars).map(|bar| bar.of_floor);
        // One axis for all, so that they can be compared.
        let axis = ratios().fold(0.1, f64::min) / 1.5..ratios().fold(1.0, f64::max) * 1.8;
        let peers = results.peers().into_iter().filter(|peer| *peer != Peer::Floor);
        draw_legend(&top, peers).map_err(drawing)?;
        for (panel, area) in panels.iter().zip(rest.split_evenly((panels.len().max(1), 1))) {
            panel.draw(&axis, &area).map_err(drawing)?;
        }
        area.present().map_err(drawing)?;
    }
    let svg = svg.replace(INK_IN_SVG, "\"currentColor\"");
    let (head, body) = svg.split_once(">\n").context("no SVG was drawn")?;
    Ok(format!("{head}>\n{STYLE}\n{body}"))
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// One runtime's rows.
struct Panel {
    flavour: Flavour,
    rows: Vec<Row>,
    bars: Vec<Bar>,
}

struct Bar {
    from: f64,
    to: f64,
    of_floor: f64,
    peer: Peer,
}

impl Panel {
    fn new(flavour: Flavour, results: &Results) -> Self {
        let (mut rows, mut bars) = (Vec::new(), Vec::new());
        for row in Row::value_variants().iter().filter(|row| row.group().has_rates()) {
            let of_floor = |peer: Peer| {
                let turn = Turn { row: *row, flavour, peer };
                (peer, results.ratio_to(turn, Peer::Floor, |numbers| numbers.rate))
            };
            let measured = results.peers().into_iter().filter(|peer| *peer != Peer::Floor).map(of_floor);
            let measured: Vec<_> = measured.filter(|(_, ratio)| ratio.is_finite()).collect();
            if measured.is_empty() {
                continue;
            }
            let width = 0.88 / measured.len().max(6) as f64;
            let left = rows.len() as f64 + 0.5 - width * measured.len() as f64 / 2.0;
            bars.extend(measured.into_iter().enumerate().map(|(at, (peer, of_floor))| {
                let from = left + at as f64 * width;
                Bar { from, to: from + width * 0.92, of_floor, peer }
            }));
            rows.push(*row);
        }
        Self { flavour, rows, bars }
    }

    fn draw<B: DrawingBackend>(
        &self,
        axis: &Range<f64>,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let (least, most) = (axis.start, axis.end);
        let mut chart = ChartBuilder::on(area)
            .margin_right(20)
            .caption(format!("of the floor's rate, {}", name(self.flavour)), ("sans-serif", 16).into_font().color(&INK))
            .x_label_area_size(26)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..self.rows.len() as f64, (least..most).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .axis_style(INK.mix(0.5))
            .bold_line_style(INK.mix(0.22))
            .max_light_lines(0)
            .y_label_style(("sans-serif", 13).into_font().color(&INK))
            .y_label_formatter(&|value| format!("{}", (value * 1000.0).round() / 1000.0))
            .draw()?;
        chart.draw_series([PathElement::new([(0.0, 1.0), (self.rows.len() as f64, 1.0)], INK.stroke_width(2))])?;
        for Bar { from, to, of_floor, peer } in &self.bars {
            let bar = Rectangle::new([(*from, least), (*to, *of_floor)], colour(*peer).filled());
            chart.draw_series([bar])?;
            let middle = ("sans-serif", 9).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            let place = (f64::midpoint(*from, *to), of_floor * 1.04);
            chart.draw_series([Text::new(short(*of_floor), place, middle)])?;
        }
        let below = ("sans-serif", 13).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
        for (at, row) in self.rows.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(at as f64 + 0.5, least));
            let (left, top) = area.get_base_pixel();
            area.draw(&Text::new(name(*row), (x - left, y + 7 - top), below.clone()))?;
        }
        Ok(())
    }
}

fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    peers: impl Iterator<Item = Peer>,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let font = ("sans-serif", 15).into_font().color(&INK);
    let mut left = 60;
    for peer in peers {
        area.draw(&Rectangle::new([(left, 17), (left + 14, 31)], colour(peer).filled()))?;
        area.draw(&Text::new(peer.title(), (left + 20, 17), font.clone()))?;
        left += 52 + 9 * peer.title().len() as i32;
    }
    area.draw(&PathElement::new([(left, 24), (left + 24, 24)], INK.stroke_width(2)))?;
    area.draw(&Text::new("floor", (left + 30, 17), font))
}

/// As many digits as say something.
fn short(ratio: f64) -> String {
    let text = if ratio < 0.0995 { format!("{ratio:.3}") } else { format!("{ratio:.2}") };
    text.strip_prefix('0').map_or_else(|| text.clone(), str::to_owned)
}

/// Colours that stand on white and on black.
const fn colour(peer: Peer) -> RGBColor {
    match peer {
        Peer::Floor => INK,
        Peer::Rmi => RGBColor(0xe4, 0x57, 0x2e),
        Peer::Tarpc => RGBColor(0x4c, 0x78, 0xa8),
        Peer::Tonic => RGBColor(0x5f, 0xb3, 0xb0),
        Peer::Remoc => RGBColor(0xb2, 0x79, 0xa2),
        Peer::Capnp => RGBColor(0xe8, 0xb0, 0x3e),
        Peer::Ice => RGBColor(0x54, 0xa2, 0x4b),
        Peer::OmniOrb => RGBColor(0x9d, 0x75, 0x5d),
        Peer::Java => RGBColor(0x8a, 0x8f, 0x98),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Numbers;

    #[test]
    fn the_picture_names_rows_and_peers_and_takes_the_colour_of_its_page() {
        let mut results = Results::default();
        for (peer, rate) in [(Peer::Floor, 1000.0), (Peer::Rmi, 700.0), (Peer::Java, 12.0)] {
            let turn = Turn { row: Row::Callers64, flavour: Flavour::CurrentThread, peer };
            results.add(turn, 0, Numbers { rate, ..Numbers::NONE });
        }
        let svg = svg(&results).unwrap();
        for text in ["callers-64", "rmi", "Java RMI", ".70", ".012", "currentColor", STYLE] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(!svg.contains(INK_IN_SVG) && !svg.contains("multi_thread"));
    }
}
