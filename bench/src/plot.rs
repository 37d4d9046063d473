//! Figures as pictures: lines and bars in panels, one below the other, in an SVG.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;

/// A picture.
pub(crate) struct Plot(pub(crate) Vec<Panel>);

/// One part of it.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) what: What,
}

/// What is drawn. Every axis of figures begins at nothing.
pub(crate) enum What {
    /// Over something that runs from left to right.
    Lines { across: String, lines: Vec<Line> },
    /// One below the other, each with its name and figure.
    Bars(Vec<(String, f64)>),
}

/// A named line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: u32 = 800;
const HEIGHT: u32 = 220;
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x1f, 0x77, 0xb4), RGBColor(0xd6, 0x5f, 0x1e), RGBColor(0x2c, 0x8c, 0x4a)];

impl Plot {
    /// Draws it into a file.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = self.text().map_err(|error| anyhow::anyhow!("cannot draw {}: {error}", file.display()))?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn text(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let panels = u32::try_from(self.0.len())?;
        let mut text = String::new();
        {
            let all = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT * panels)).into_drawing_area();
            all.fill(&WHITE).map_err(|error| error.to_string())?;
            for (area, panel) in all.split_evenly((self.0.len(), 1)).iter().zip(&self.0) {
                panel.draw(area).map_err(|error| error.to_string())?;
            }
            all.present().map_err(|error| error.to_string())?;
        }
        Ok(text)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        match &self.what {
            What::Lines { across, lines } => self.draw_lines(area, across, lines),
            What::Bars(bars) => self.draw_bars(area, bars),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
    fn draw_bars(&self, area: &Area<'_>, bars: &[(String, f64)]) -> Drawn {
        const LETTER: usize = 7;
        const FIGURES: i32 = 90;
        let longest = bars.iter().map(|bar| bar.0.chars().count()).max().unwrap_or(0);
        let names = i32::try_from(LETTER * longest + 24).unwrap_or(i32::MAX);
        let room = area.titled(&self.title, ("sans-serif", 16))?;
        let (width, height) = room.dim_in_pixel();
        let (width, height) = (width.cast_signed(), height.cast_signed());
        let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        let step = height / i32::try_from(bars.len().max(1)).unwrap_or(i32::MAX);
        let mut top = 0;
        for ((name, figure), colour) in bars.iter().zip(COLOURS.iter().cycle()) {
            let length = (f64::from(width - names - FIGURES) * figure / most) as i32;
            let corners = [(names, top + 3), (names + length, top + step - 3)];
            room.draw(&Rectangle::new(corners, colour.filled()))?;
            let middle = top + step / 2 - 7;
            room.draw(&Text::new(name.clone(), (8, middle), ("sans-serif", 14)))?;
            let figure = if *figure < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") };
            room.draw(&Text::new(figure, (names + length + 6, middle), ("sans-serif", 14)))?;
            top += step;
        }
        Ok(())
    }

    fn draw_lines(&self, area: &Area<'_>, across: &str, lines: &[Line]) -> Drawn {
        let points = || lines.iter().flat_map(|line| &line.points);
        let right = points().map(|point| point.0).fold(1.0, f64::max);
        let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.15 + f64::MIN_POSITIVE;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(32)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart.configure_mesh().x_desc(across).y_labels(5).light_line_style(WHITE).draw()?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if lines.len() > 1 {
            chart.configure_series_labels().position(SeriesLabelPosition::LowerRight).draw()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_and_every_title_is_in_the_picture() {
        let line =
            |name: &str, points: &[(f64, f64)]| Line { name: name.to_owned(), points: points.to_vec() };
        let panel = |title: &str, what| Panel { title: title.to_owned(), what };
        let lines = |lines| What::Lines { across: "minutes".to_owned(), lines };
        let memory = vec![line("leader", &[(0.0, 8.0), (1.0, 9.0)]), line("follower", &[(0.0, 7.0)])];
        let plot = Plot(vec![
            panel("memory", lines(memory)),
            panel("nothing yet", lines(vec![line("none", &[])])),
            panel("proxies", What::Bars(vec![("ours".to_owned(), 40.25), ("another".to_owned(), 123.4)])),
            panel("no bars", What::Bars(Vec::new())),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plots/one.svg");
        plot.write(&file).unwrap();
        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        for word in
            ["memory", "nothing yet", "leader", "follower", "minutes", "proxies", "ours", "40.2", "123"]
        {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}
