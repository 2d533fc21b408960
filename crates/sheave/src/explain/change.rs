//! What changed between two readings: counters by how much they grew, gauges as they are now.

use std::collections::BTreeMap;

use super::numbers::Numbers;

/// Two readings of one process, and the time between them.
pub(super) struct Change<'n> {
    before: &'n Numbers,
    after: &'n Numbers,
    pub(super) secs: f64,
}

impl<'n> Change<'n> {
    /// `None` when the second reading is another process's.
    pub(super) fn between(before: &'n Numbers, after: &'n Numbers, secs: f64) -> Option<Self> {
        let start = "sheave_start_time_seconds";
        #[expect(clippy::float_cmp, reason = "the same number, printed twice")]
        let is_the_same = before.sum(start, &[]) == after.sum(start, &[]);
        is_the_same.then_some(Self { before, after, secs })
    }

    /// By how much counters grew.
    pub(super) fn grew(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.after.sum(name, labels) - self.before.sum(name, labels)
    }

    /// The same for each value of a label: those that grew, the most first.
    pub(super) fn grew_by(&self, name: &str, labels: &[(&str, &str)], label: &str) -> Vec<(String, f64)> {
        let mut grown: BTreeMap<String, f64> = BTreeMap::new();
        for (numbers, sign) in [(self.after, 1.0), (self.before, -1.0)] {
            for (value, number) in numbers.by(name, labels, label) {
                *grown.entry(value.to_owned()).or_default() += sign * number;
            }
        }
        let mut grown: Vec<_> = grown.into_iter().filter(|(_, by)| *by > 0.0).collect();
        grown.sort_by(|one, other| other.1.total_cmp(&one.1));
        grown
    }

    /// Gauges as they are now.
    pub(super) fn now(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.after.sum(name, labels)
    }

    /// Values of a label whose gauge is above zero in both readings, so that it is no moment's: with what it is now, the
    /// most first.
    pub(super) fn lasting(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let was: BTreeMap<&str, f64> = self.before.by(name, &[], label).collect();
        let is_lasting = |(value, now): &(&str, f64)| *now > 0.0 && was.get(value).is_some_and(|was| *was > 0.0);
        let mut lasting: Vec<_> = self.after.by(name, &[], label).filter(is_lasting).collect();
        lasting.sort_by(|one, other| other.1.total_cmp(&one.1));
        lasting.into_iter().map(|(value, now)| (value.to_owned(), now)).collect()
    }

    /// The mean of what a histogram counted meanwhile.
    pub(super) fn mean(&self, histogram: &str) -> Option<f64> {
        let count = self.grew(&format!("{histogram}_count"), &[]);
        (count > 0.0).then(|| self.grew(&format!("{histogram}_sum"), &[]) / count)
    }

    /// The upper bound of the bucket that holds this quantile of what a histogram counted meanwhile.
    pub(super) fn quantile(&self, histogram: &str, quantile: f64) -> Option<f64> {
        let count = self.grew(&format!("{histogram}_count"), &[]);
        let buckets = self.grew_by(&format!("{histogram}_bucket"), &[], "le");
        let bounds = buckets.iter().filter(|(_, within)| *within >= quantile * count);
        // The last bucket has no bound.
        let bounds = bounds.filter_map(|(bound, _)| bound.parse::<f64>().ok());
        (count > 0.0).then(|| bounds.fold(f64::INFINITY, f64::min)).filter(|bound| bound.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(lines: &str) -> Numbers {
        Numbers::read(&format!("sheave_start_time_seconds 1\n{lines}")).expect("is ours")
    }

    #[test]
    fn counters_grow_and_gauges_last() {
        let before = numbers("a_total{x=\"1\"} 3\na_total{x=\"2\"} 3\ng{o=\"p\"} 1\ng{o=\"q\"} 0\n");
        let after = numbers("a_total{x=\"1\"} 3\na_total{x=\"2\"} 5\na_total{x=\"3\"} 9\ng{o=\"p\"} 4\ng{o=\"q\"} 2\n");
        let change = Change::between(&before, &after, 1.0).expect("the same process");
        assert_eq!(change.grew("a_total", &[]), 11.0);
        assert_eq!(change.grew_by("a_total", &[], "x"), [("3".to_owned(), 9.0), ("2".to_owned(), 2.0)]);
        assert_eq!(change.lasting("g", "o"), [("p".to_owned(), 4.0)]);
        assert_eq!(change.now("g", &[]), 6.0);
    }

    #[test]
    fn histograms_count_what_came_meanwhile() {
        let before = numbers("h_sum 100\nh_count 1\nh_bucket{le=\"1.0\"} 0\nh_bucket{le=\"+Inf\"} 1\n");
        let after =
            numbers("h_sum 102\nh_count 5\nh_bucket{le=\"0.5\"} 3\nh_bucket{le=\"1.0\"} 4\nh_bucket{le=\"+Inf\"} 5\n");
        let change = Change::between(&before, &after, 1.0).expect("the same process");
        assert_eq!(change.mean("h"), Some(0.5));
        assert_eq!((change.quantile("h", 0.5), change.quantile("h", 0.99)), (Some(0.5), Some(1.0)));
        assert_eq!((change.mean("i"), change.quantile("i", 0.5)), (None, None));
    }

    #[test]
    fn a_successor_is_another_process() {
        let other = Numbers::read("sheave_start_time_seconds 2\n").expect("is ours");
        assert!(Change::between(&numbers(""), &other, 1.0).is_none());
    }
}
