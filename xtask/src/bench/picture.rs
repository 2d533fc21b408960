//! The ratios as a picture, for a page that has no room for tables.

use std::fmt::Write as _;

use super::report::Measured;

/// Width of the whole, of the names at the left, and of one ratio of 1.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 60.0;
const BAR: f64 = 13.0;
/// Bars longer than this are cut off, and their number says how long they are.
const MOST: f64 = 3.0;

/// Bars of cost relative to each scenario's base; scenarios without a ratio are left out. `None` when there is none.
///
/// Readable on light and on dark: the text is of a grey between, and nothing lies behind.
pub(super) fn draw(scenarios: &[Measured], facts: &str) -> Option<String> {
    let with: Vec<(&Measured, Vec<(&str, f64)>)> = scenarios
        .iter()
        .map(|measured| (measured, measured.ratios()))
        .filter(|(_, ratios)| ratios.iter().any(|(name, _)| *name == "sheave") && ratios.len() > 1)
        .collect();
    if with.is_empty() {
        return None;
    }
    let most = with.iter().flat_map(|(_, ratios)| ratios).map(|(_, ratio)| *ratio).fold(1.0, f64::max).min(MOST);
    let unit = (WIDTH - LEFT - RIGHT) / most;
    let mut bars = String::new();
    let mut y = 20.0;
    for (measured, ratios) in &with {
        let about = escaped(measured.scenario.about);
        let _ = writeln!(bars, r#"<text x="0" y="{:.0}" class="about">{about}</text>"#, y + 11.0);
        y += 18.0;
        for (name, ratio) in ratios {
            let class = if *name == "sheave" { "ours" } else { "theirs" };
            let end = LEFT + ratio.min(most) * unit;
            let middle = y + 10.0;
            let _ = writeln!(
                bars,
                r#"<text x="{:.0}" y="{middle:.0}" class="name">{}</text><rect x="{LEFT}" y="{y:.0}" width="{:.1}" height="{BAR}" class="{class}"/><text x="{:.1}" y="{middle:.0}">{ratio:.2}</text>"#,
                LEFT - 8.0,
                escaped(name),
                end - LEFT,
                end + 5.0,
            );
            y += BAR + 3.0;
        }
        y += 12.0;
    }
    let one = LEFT + unit;
    let _ = writeln!(bars, r#"<line x1="{one:.1}" y1="16" x2="{one:.1}" y2="{:.0}"/>"#, y - 6.0);
    let _ = writeln!(bars, r#"<text x="0" y="{:.0}">{}</text>"#, y + 10.0, escaped(facts));
    let height = y + 20.0;
    Some(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img">
<title>What a request or a connection costs; shorter is better</title>
<style>text{{font:12px sans-serif;fill:#808080}}.about{{font-weight:bold}}.name{{text-anchor:end}}.ours{{fill:#c2570c}}.theirs{{fill:#8a99ad}}line{{stroke:#808080;stroke-dasharray:3 3}}</style>
<text x="0" y="11">Cost, relative; shorter is better</text>
{bars}</svg>
"#
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::measure::Sample;
    use super::super::scenario::SCENARIOS;
    use super::*;

    fn measured(rounds: usize) -> Measured {
        let mut measured = Measured::new(&SCENARIOS[0], ["sheave", "nginx", "a < b"].map(str::to_owned).into_iter());
        for _ in 0..rounds {
            for (index, cost) in [8.0, 10.0, 90.0].into_iter().enumerate() {
                measured.push(index, Sample { cost, ..Sample::default() });
            }
        }
        measured
    }

    #[test]
    fn bars_are_as_long_as_their_ratios_up_to_a_bound() {
        let picture = draw(&[measured(5)], "a kernel").unwrap();
        // (760 - 150 - 60) / 3 for a ratio of 1.
        for part in
            ["width=\"146.7\"", ">0.80<", "width=\"183.3\"", "width=\"550.0\"", ">9.00<", "a &lt; b", "a kernel"]
        {
            assert!(picture.contains(part), "{part} in {picture}");
        }
    }

    #[test]
    fn without_a_ratio_there_is_no_picture() {
        assert!(draw(&[measured(4)], "").is_none() && draw(&[], "").is_none());
    }
}
