//! run/bench/throughput.svg: a bar for each row of the table, the load's colour,
//! from the least to the most a whisker.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::{Row, WAYS};

const WIDTH: i32 = 1000;
/// Where bars begin, and how far they go; behind them stands their figure.
const BARS: (i32, i32) = (270, 900);
const LINE: i32 = 24;
const BAR: i32 = 14;
const TITLE: i32 = 56;

const LOADS: [(&str, RGBColor); 7] = [
    ("warm", RGBColor(31, 119, 180)),
    ("cold", RGBColor(255, 127, 14)),
    ("mix", RGBColor(44, 160, 44)),
    ("bad_signature", RGBColor(214, 39, 40)),
    ("no_token", RGBColor(127, 127, 127)),
    ("expired", RGBColor(148, 103, 189)),
    ("revoked", RGBColor(140, 86, 75)),
];

/// The rows of one way through the edges: by load as above, the fastest first.
fn panel<'r>(rows: &'r [Row], way: &str) -> Vec<(&'r str, RGBColor, &'r Row)> {
    let upstream = WAYS[1].0;
    let mut panel = Vec::new();
    for (load, colour) in LOADS {
        let of_load = rows.iter().filter(|row| row.load == load);
        let mut named: Vec<_> = of_load
            .filter_map(|row| match (row.edge.strip_suffix(upstream), way) {
                (Some(edge), way) if way == upstream => Some((edge, colour, row)),
                (None, "") => Some((row.edge.as_str(), colour, row)),
                _ => None,
            })
            .collect();
        named.sort_by(|a, b| b.2.median.total_cmp(&a.2.median));
        panel.extend(named);
    }
    panel
}

fn text(size: i32, horizontal: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font())
        .color(&BLACK)
        .pos(Pos::new(horizontal, VPos::Center))
}

/// Thousands apart, as people read them.
fn figure(value: f64) -> String {
    let value = value.round() as u64;
    match value / 1_000 {
        0 => value.to_string(),
        thousands => format!("{thousands} {:03}", value % 1_000),
    }
}

/// Draws all rows into a file.
pub fn draw(rows: &[Row], file: &Path) {
    let panels = WAYS.map(|(way, _)| panel(rows, way));
    let lines = panels.iter().map(|panel| panel.len() as i32).sum::<i32>();
    let height = lines * LINE + 2 * TITLE + 40;
    let most = rows.iter().map(|row| row.most).fold(1.0, f64::max);
    let across = |value: f64| BARS.0 + (value / most * f64::from(BARS.1 - BARS.0)) as i32;

    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).unwrap();
    let write = |words: &str, at: (i32, i32), style: &TextStyle<'_>| {
        area.draw(&Text::new(words.to_owned(), at, style.clone()))
            .unwrap();
    };
    let titles = [
        "direct_response: Envoy answers itself",
        "upstream: behind another Envoy",
    ];
    let mut y = 0;
    for (panel, title) in panels.iter().zip(titles) {
        let title = format!("Requests a second, {title}");
        write(&title, (16, y + TITLE / 2), &text(18, HPos::Left));
        y += TITLE;
        for (edge, colour, row) in panel {
            let middle = y + LINE / 2;
            let name = format!("{edge}, {}", row.load);
            write(&name, (BARS.0 - 8, middle), &text(13, HPos::Right));
            let corners = [
                (BARS.0, middle - BAR / 2),
                (across(row.median), middle + BAR / 2),
            ];
            area.draw(&Rectangle::new(corners, colour.filled()))
                .unwrap();
            let (least, most) = (across(row.least), across(row.most));
            let line = |from, to| {
                area.draw(&PathElement::new([from, to], BLACK)).unwrap();
            };
            line((least, middle), (most, middle));
            for end in [least, most] {
                line((end, middle - 4), (end, middle + 4));
            }
            let behind = (most.max(across(row.median)) + 8, middle);
            write(&figure(row.median), behind, &text(12, HPos::Left));
            y += LINE;
        }
    }
    let note = "Bars are medians, whiskers go from the least to the most. +2w: two workers that share both cores with the clients.";
    write(note, (16, y + 20), &text(12, HPos::Left));
    area.present().unwrap();
}
