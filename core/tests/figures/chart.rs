//! Bars on a logarithmic scale, as SVG.

use std::fmt::Write;

/// A bar of a chart.
pub(super) struct Bar {
    pub(super) group: String,
    pub(super) name: &'static str,
    /// In milliseconds.
    pub(super) value: f64,
    pub(super) is_ours: bool,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 70.0;
const LINE: f64 = 18.0;
const LEAST: f64 = 0.3;
const MOST: f64 = 3_000.0;

fn at(value: f64) -> f64 {
    let part = (value.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

/// The chart: one block for each group, in the order of the bars.
pub(super) fn svg(bars: &[Bar]) -> String {
    let mut drawn = String::new();
    let (mut y, mut group) = (10.0, "");
    for bar in bars {
        if bar.group != group {
            group = &bar.group;
            y += 28.0;
            let _ = writeln!(drawn, r#"<text x="10" y="{y}" font-weight="bold">{group}</text>"#);
            y += 8.0;
        }
        let colour = if bar.is_ours { "#2266aa" } else { "#999999" };
        let (end, text) = (at(bar.value), y + 13.0);
        let _ = writeln!(drawn, r#"<text x="{}" y="{text}" text-anchor="end">{}</text>"#, LEFT - 8.0, bar.name);
        let _ = writeln!(
            drawn,
            r#"<rect x="{LEFT}" y="{}" width="{:.1}" height="{}" fill="{colour}"/>"#,
            y + 2.0,
            end - LEFT,
            LINE - 4.0
        );
        let _ = writeln!(drawn, r#"<text x="{:.1}" y="{text}">{:.1} ms</text>"#, end + 6.0, bar.value);
        y += LINE;
    }
    let height = y + 20.0;
    let mut lines = String::new();
    for value in [1.0, 10.0, 100.0, 1_000.0] {
        let x = at(value);
        let _ = writeln!(lines, r##"<line x1="{x:.1}" y1="10" x2="{x:.1}" y2="{y}" stroke="#dddddd"/>"##);
        let _ = writeln!(lines, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{value} ms</text>"#, y + 14.0);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n{lines}{drawn}</svg>\n"
    )
}
