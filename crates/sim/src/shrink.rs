//! Makes a failing run smaller while it still fails: fewer faults, plainer buffers, rounder numbers.

use crate::explore::{Failure, Judge};
use crate::fault::{Action, Fault, Trigger};
use crate::plan::Plan;

/// How many runs are spent on it.
const MAX_RUNS: usize = 2_000;

/// The smallest run that still breaks the first law that `failure` broke, as far as small steps lead to it.
pub fn shrink(failure: Failure, judge: Judge<'_>) -> Failure {
    let found_as = failure.record.plan.clone();
    let law = failure.violations.first().map(|violation| violation.law);
    let mut smallest = failure;
    let mut runs = 0;
    'again: loop {
        for plan in smaller(&smallest.record.plan) {
            if runs >= MAX_RUNS {
                break 'again;
            }
            runs += 1;
            let (record, violations) = judge(&plan);
            if violations.iter().any(|violation| Some(violation.law) == law) {
                smallest = Failure { found_as: None, record, violations, others: Vec::new() };
                continue 'again;
            }
        }
        break;
    }
    let is_smaller = smallest.record.plan != found_as;
    Failure { found_as: is_smaller.then_some(found_as), ..smallest }
}

/// Plans that are one step smaller, those of the largest step first.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let calm = Plan::calm(&plan.scenario);
    let mut smaller = Vec::new();
    for place in 0..plan.faults.len() {
        let mut faults = plan.faults.clone();
        faults.remove(place);
        smaller.push(Plan { faults, ..plan.clone() });
    }
    for place in 0..plan.options.len() {
        let mut options = plan.options.clone();
        options.remove(place);
        smaller.push(Plan { options, ..plan.clone() });
    }
    smaller.push(Plan { buffers: calm.buffers, ..plan.clone() });
    smaller.push(Plan { spurious: 0, ..plan.clone() });
    smaller.push(Plan { lag: 0, ..plan.clone() });
    smaller.push(Plan { interval: calm.interval, ..plan.clone() });
    smaller.push(Plan { seed: 0, ..plan.clone() });
    for (place, fault) in plan.faults.iter().enumerate() {
        for fault in smaller_faults(*fault) {
            let mut faults = plan.faults.clone();
            faults[place] = fault;
            smaller.push(Plan { faults, ..plan.clone() });
        }
    }
    smaller.retain(|it| it != plan);
    smaller
}

fn smaller_faults(fault: Fault) -> Vec<Fault> {
    let Fault { trigger, action } = fault;
    let actions = match action {
        Action::Split(millis) => vec![Action::Split(1), Action::Split(millis / 2)],
        Action::Drip(millis) => vec![Action::Drip(1), Action::Drip(millis / 2)],
        Action::HalfClose(_) => vec![Action::HalfClose(0)],
        Action::Fin(_) => vec![Action::Fin(0)],
        Action::Rst(_) => vec![Action::Rst(0)],
        Action::Stall | Action::Drain | Action::Cancel => Vec::new(),
    };
    let triggers = match trigger {
        Trigger::Bytes { wire, way, offset } => {
            [0, offset / 2, offset.saturating_sub(1)].map(|offset| Trigger::Bytes { wire, way, offset }).to_vec()
        }
        Trigger::Operation(number) => {
            [1, number / 2, number.saturating_sub(1)].map(|number| Trigger::Operation(number.max(1))).to_vec()
        }
    };
    let with_actions = actions.into_iter().filter(|it| !matches!(it, Action::Split(0) | Action::Drip(0)));
    let with_actions = with_actions.map(|action| Fault { trigger, action });
    with_actions.chain(triggers.into_iter().map(|trigger| Fault { trigger, action })).collect()
}

#[cfg(test)]
mod tests {
    use crate::laws::Violation;
    use crate::run::{Record, run};

    use super::*;

    /// Fails whenever the first client's bytes stand still at or behind the tenth.
    fn judge(plan: &Plan) -> (Record, Vec<Violation>) {
        let record = run(plan, |_| async {});
        let is_bad = plan
            .faults
            .iter()
            .any(|fault| fault.action == Action::Stall && matches!(fault.trigger, Trigger::Bytes { offset: 10.., .. }));
        (record, if is_bad { vec![Violation::new(8, "it stands still")] } else { Vec::new() })
    }

    #[test]
    fn leaves_out_what_does_not_matter() {
        let text =
            "x/y seed=9 send=3 spurious=4 interval=5 origin1.in@4=rst client1.in@77=stall client1.out@9=split+30";
        let plan: Plan = text.parse().unwrap();
        let (record, violations) = judge(&plan);
        let shrunk = shrink(Failure { found_as: None, record, violations, others: Vec::new() }, &judge);
        assert_eq!(shrunk.record.plan.to_string(), "x/y client1.in@10=stall");
        assert_eq!(shrunk.found_as, Some(plan));
    }
}
