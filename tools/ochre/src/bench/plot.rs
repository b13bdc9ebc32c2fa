//! The comparison as a bar chart in SVG: one bar a line, on a logarithmic scale of cost ratios, coloured by group.

use super::table::{JUDGED, Line};
use std::fmt::Write;

const ROW: usize = 16;
const LEFT: usize = 210;
const WIDTH: usize = 560;
/// Ratios at the left and right edge.
const RANGE: (f64, f64) = (0.05, 2.0);

fn x(ratio: f64) -> f64 {
    let (lo, hi) = (RANGE.0.ln(), RANGE.1.ln());
    LEFT as f64 + (ratio.clamp(RANGE.0, RANGE.1).ln() - lo) / (hi - lo) * WIDTH as f64
}

/// Draws the judged lines.
pub fn svg(lines: &[Line], title: &str) -> String {
    let rows: Vec<(&Line, f64)> =
        lines.iter().filter(|l| JUDGED.contains(&l.group())).filter_map(|l| Some((l, l.ratio?))).collect();
    let height = rows.len() * ROW + 70;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>\n",
        LEFT + WIDTH + 70
    );
    for tick in [0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 1.5, 2.0] {
        let (at, colour) = (x(tick), if tick == 1.0 { "#c33" } else { "#ddd" });
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"44\" y2=\"{}\" stroke=\"{colour}\"/><text x=\"{at:.1}\" y=\"40\" text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            height - 20
        );
    }
    for (i, (line, ratio)) in rows.iter().enumerate() {
        let y = 48 + i * ROW;
        let colour = match line.group() {
            "sys" => "#4e79a7",
            "file" => "#59a14f",
            "mem" => "#b07aa1",
            "proc" => "#f28e2b",
            _ => "#76b7b2",
        };
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\" fill=\"#333\">{ratio:.2}</text>",
            LEFT - 6,
            y + 11,
            line.name,
            x(*ratio) - LEFT as f64,
            ROW - 4,
            x(*ratio) + 4.0,
            y + 11
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_ratio_and_stay_in_the_frame() {
        assert!(x(0.5) < x(1.0) && x(1.0) < x(1.5));
        assert_eq!(x(100.0), (LEFT + WIDTH) as f64);
        assert_eq!(x(0.0001), LEFT as f64);
    }
}
