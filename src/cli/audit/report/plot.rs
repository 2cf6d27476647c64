//! Bar plots as inline SVG. Numbers and dates only: nothing that somebody has chosen gets into a plot.

use std::fmt::Write as _;

/// Width and height of a plot, and what its labels take below.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 120.0;
const BELOW: f64 = 18.0;

/// One bar: its label, its height, and which part of it stands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: u64,
    pub(super) marked: u64,
}

/// A plot; `title` is for those who cannot see it. The first, the middle and the last bar are labelled.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value).max().unwrap_or_default().max(1);
    let step = WIDTH / float(bars.len().max(1));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\"><title>{title}</title>\
         <text class=\"axis\" x=\"0\" y=\"10\">{most}</text>",
        HEIGHT + BELOW
    );
    for (at, bar) in bars.iter().enumerate() {
        let x = float(at) * step;
        for (class, value) in [("bar", bar.value), ("marked", bar.marked)] {
            if value > 0 {
                // At least a pixel: one denial among thousands must be seen.
                let height = (HEIGHT * ratio(value, most)).max(1.0);
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">\
                     <title>{}: {}</title></rect>",
                    HEIGHT - height,
                    (step * 0.85).max(0.5),
                    bar.label,
                    value
                );
            }
        }
    }
    let last = bars.len().saturating_sub(1);
    let mut labelled = vec![(0, "start"), (last / 2, "middle"), (last, "end")];
    labelled.dedup_by_key(|(at, _)| *at);
    for (at, anchor) in labelled {
        if let Some(bar) = bars.get(at) {
            let x = match anchor {
                "start" => 0.0,
                "middle" => (float(at) + 0.5) * step,
                _ => WIDTH,
            };
            let _ = write!(
                svg,
                "<text class=\"axis\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT + BELOW - 4.0,
                bar.label
            );
        }
    }
    svg + "</svg>"
}

fn ratio(value: u64, most: u64) -> f64 {
    // In thousandths: exact enough for a bar, and every figure fits.
    let thousandths = u128::from(value) * 1_000 / u128::from(most);
    float(usize::try_from(thousandths).unwrap_or(1_000)) / 1_000.0
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: u64, marked: u64) -> Bar {
        Bar { label: label.to_owned(), value, marked }
    }

    #[test]
    fn a_plot_scales_to_its_largest_bar_and_shows_the_smallest() {
        let svg = bars("rows", &[bar("a", 100_000, 0), bar("b", 1, 1), bar("c", 0, 0)]);
        assert!(svg.contains("height=\"120.0\"") && svg.contains("<title>a: 100000</title>"), "{svg}");
        assert_eq!(svg.matches("height=\"1.0\"").count(), 2);
        assert_eq!(svg.matches("<rect").count(), 3);
        assert_eq!(svg.matches("<text").count(), 4);
    }

    #[test]
    fn a_plot_of_nothing_or_of_the_largest_numbers_is_a_plot() {
        assert_eq!(bars("none", &[]).matches("<rect").count(), 0);
        assert_eq!(bars("one", &[bar("a", 0, 0)]).matches("<text").count(), 2);
        assert!(bars("huge", &[bar("a", u64::MAX, u64::MAX)]).contains("height=\"120.0\""));
    }
}
