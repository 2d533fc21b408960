//! One reading of `/metrics`: samples by name and label.

/// All samples of one page.
#[derive(Debug, Default)]
pub(super) struct Numbers(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    /// Whether it has the name and, among its labels, these.
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.label(key) == Some(value))
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Numbers {
    /// Reads OpenMetrics text, as far as sheave writes it; a page that holds no number of ours is somebody else's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let numbers = Self(lines.filter_map(sample).collect());
        (numbers.sum("sheave_start_time_seconds", &[]) > 0.0).then_some(numbers)
    }

    /// The sum of all samples of this name that have these labels; zero where there is none.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.0.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value).sum()
    }

    /// Each value that a label has in samples of this name and these labels, with the sample's number.
    pub(super) fn by<'n>(
        &'n self,
        name: &'n str,
        labels: &'n [(&str, &str)],
        label: &'n str,
    ) -> impl Iterator<Item = (&'n str, f64)> {
        let samples = self.0.iter().filter(move |sample| sample.is(name, labels));
        samples.filter_map(move |sample| Some((sample.label(label)?, sample.value)))
    }
}

/// `name{key="value",…} number`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: Vec::new(), value });
    };
    Some(Sample { name: name.to_owned(), labels: pairs(labels.strip_suffix('}')?)?, value })
}

/// `key="value",…`, with `\\`, `\"` and `\n` within values.
fn pairs(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    while let Some((key, behind)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = behind.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, char) => value.push(char),
            }
        };
        pairs.push((key.trim_start_matches(',').to_owned(), value));
        rest = &behind[end + 1..];
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP sheave_start_time_seconds When counting began.\n\
        sheave_start_time_seconds 1795180250.5\n\
        sheave_exchanges_total{class=\"2xx\",made_by=\"origin\"} 7\n\
        sheave_exchanges_total{class=\"5xx\",made_by=\"sheave\"} 2\n\
        odd_total{path=\"a\\\"b,c=\\\\}\"} 1\n\
        # EOF\n";

    #[test]
    fn reads_what_metrics_say() {
        let numbers = Numbers::read(PAGE).expect("is ours");
        assert_eq!(numbers.sum("sheave_exchanges_total", &[]), 9.0);
        assert_eq!(numbers.sum("sheave_exchanges_total", &[("class", "5xx")]), 2.0);
        assert_eq!(numbers.sum("sheave_exchanges_total", &[("class", "4xx")]), 0.0);
        let by: Vec<_> = numbers.by("sheave_exchanges_total", &[], "made_by").collect();
        assert_eq!(by, [("origin", 7.0), ("sheave", 2.0)]);
        assert_eq!(numbers.by("odd_total", &[], "path").next(), Some(("a\"b,c=\\}", 1.0)));
    }

    #[test]
    fn a_page_of_somebody_else_is_none() {
        assert!(Numbers::read("<html>").is_none());
        assert!(Numbers::read("process_open_fds 3\n").is_none());
    }
}
