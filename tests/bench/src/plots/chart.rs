//! One plot: lines on two logarithmic axes.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::series::Series;

const SIZE: (u32, u32) = (1000, 540);
/// Right of the lines are their names.
const NAMES: u32 = 220;
const FONT: &str = "sans-serif";
/// Colours that people with any kind of colour vision can tell apart, all dark enough on white: Okabe and Ito's, and two more.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 60, 160),
    RGBColor(90, 90, 90),
];

/// What numbers on an axis mean.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    Count,
    Bytes,
    Micros,
    Seconds,
}

impl Unit {
    fn label(self, value: f64) -> String {
        let scaled = |value: f64, step: f64, names: [&str; 4]| {
            let at = (0..3).rev().find(|at| value >= step.powi(at + 1) * 0.999).map_or(0, |at| at + 1);
            let name = names.get(at as usize).copied().unwrap_or_default();
            format!("{}{name}", round(value / step.powi(at)))
        };
        match self {
            // Numbers of callers are powers of two: 1024 is shorter than 1.024 k.
            Unit::Count if value < 9_999.0 => round(value).to_string(),
            Unit::Count => scaled(value, 1e3, ["", " k", " M", " G"]),
            Unit::Bytes => scaled(value, 1024.0, [" B", " KiB", " MiB", " GiB"]),
            Unit::Micros if value >= 999_999.0 => format!("{} s", round(value / 1e6)),
            Unit::Micros if value >= 999.9 => format!("{} ms", round(value / 1e3)),
            Unit::Micros => format!("{} µs", round(value)),
            Unit::Seconds => format!("{} s", round(value)),
        }
    }
}

/// Three digits are enough on an axis.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A plot that can be drawn.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) file: &'static str,
    pub(super) title: &'static str,
    pub(super) x: (&'static str, Unit),
    pub(super) y: (&'static str, Unit),
    pub(super) series: Vec<Series>,
}

impl Chart {
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    pub(super) fn draw(&self, path: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let (low_x, high_x) = ends(points().map(|(x, _)| x));
        let (low_y, high_y) = ends(points().map(|(_, y)| y));
        let mut xs: Vec<_> = points().map(|(x, _)| x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(words)?;
        let x = (low_x / 1.15..high_x * 1.15).log_scale().with_key_points(xs);
        let y = (low_y / 1.4..high_y * 1.6).log_scale().with_key_points(steps(low_y / 1.4, high_y * 1.6));
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, (FONT, 22))
            .margin(16)
            .margin_right(NAMES)
            .x_label_area_size(52)
            .y_label_area_size(84)
            .build_cartesian_2d(x, y)
            .map_err(words)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(222, 222, 222))
            .axis_style(RGBColor(80, 80, 80))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 16))
            .x_desc(self.x.0)
            .y_desc(self.y.0)
            .x_label_formatter(&|value| self.x.1.label(*value))
            .y_label_formatter(&|value| self.y.1.label(*value))
            .draw()
            .map_err(words)?;
        let mut families: Vec<&str> = Vec::new();
        // The names stand in the order in which the lines end.
        let mut series: Vec<&Series> = self.series.iter().collect();
        let last = |series: &Series| series.points.last().map_or(0.0, |point| point.1);
        series.sort_by(|a, b| last(b).total_cmp(&last(a)));
        let left = i32::try_from(SIZE.0 - NAMES)? + 12;
        for (series, place) in series.into_iter().zip(0i32..) {
            let family = families.iter().position(|family| *family == series.family()).unwrap_or_else(|| {
                families.push(series.family());
                families.len() - 1
            });
            let colour = COLOURS[family % COLOURS.len()];
            let (points, line) = (series.points.iter().copied(), colour.stroke_width(2));
            let y = 70 + 24 * place;
            if series.is_dashed() {
                chart.draw_series(DashedLineSeries::new(points, 6, 4, line)).map_err(words)?;
                area.draw(&PathElement::new([(left, y), (left + 8, y)], line)).map_err(words)?;
                area.draw(&PathElement::new([(left + 16, y), (left + 24, y)], line)).map_err(words)?;
            } else {
                chart.draw_series(LineSeries::new(points, line)).map_err(words)?;
                area.draw(&PathElement::new([(left, y), (left + 24, y)], line)).map_err(words)?;
            }
            let dots = series.points.iter().map(|point| Circle::new(*point, 4, colour.filled()));
            chart.draw_series(dots).map_err(words)?;
            area.draw(&Text::new(series.name.as_str(), (left + 32, y - 7), (FONT, 15))).map_err(words)?;
        }
        area.present().map_err(words)
    }
}

fn words(error: impl Error) -> Box<dyn Error + Send + Sync> {
    error.to_string().into()
}

/// The least and the greatest.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// 1, 2 and 5 of each power of ten; of more than three powers, these alone.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let digits: &[f64] = if high / low > 2e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    all.filter(|step| (low..=high).contains(step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(Unit::Count.label(256.0), "256");
        assert_eq!(Unit::Count.label(1024.0), "1024");
        assert_eq!(Unit::Count.label(200_000.0), "200 k");
        assert_eq!(Unit::Bytes.label(64.0), "64 B");
        assert_eq!(Unit::Bytes.label(1024.0), "1 KiB");
        assert_eq!(Unit::Bytes.label(1_048_576.0), "1 MiB");
        assert_eq!(Unit::Micros.label(50.0), "50 µs");
        assert_eq!(Unit::Micros.label(10_000.0), "10 ms");
        assert_eq!(Unit::Seconds.label(0.5), "0.5 s");
    }

    #[test]
    fn an_axis_has_few_numbers() {
        assert_eq!(steps(3.0, 60.0), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(steps(3.0, 60_000.0), [10.0, 100.0, 1000.0, 10_000.0]);
    }
}
