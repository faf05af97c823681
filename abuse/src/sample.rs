//! What honest clients measured in one go.

use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;

/// The latencies of one kind of work, and how often it failed.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    micros: Histogram<u64>,
    pub(crate) errors: u64,
}

/// What the parent is told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) most: Duration,
}

/// What honest clients did in one go: calls over links that stay, and dials of new nodes with one call each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) took: Duration,
    pub(crate) calls: Figures,
    pub(crate) dials: Figures,
}

impl Measured {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { micros: Histogram::new(3)?, errors: 0 })
    }

    pub(crate) fn record(&mut self, took: Duration) -> Result<()> {
        Ok(self.micros.record(took.as_micros().try_into()?)?)
    }

    pub(crate) fn add(&mut self, other: &Self) -> Result<()> {
        self.errors += other.errors;
        Ok(self.micros.add(&other.micros)?)
    }

    pub(crate) fn figures(&self) -> Figures {
        let at = |quantile| Duration::from_micros(self.micros.value_at_quantile(quantile));
        Figures {
            count: self.micros.len() + self.errors,
            errors: self.errors,
            p50: at(0.50),
            p99: at(0.99),
            most: Duration::from_micros(self.micros.max()),
        }
    }
}

impl Sample {
    pub(crate) fn errors(&self) -> u64 {
        self.calls.errors + self.dials.errors
    }

    /// Calls in a second, over the links that stay.
    pub(crate) fn rate(&self) -> f64 {
        self.calls.count as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn to_line(self) -> String {
        let numbers = [self.calls, self.dials].into_iter().flat_map(|Figures { count, errors, p50, p99, most }| {
            [u128::from(count), u128::from(errors), p50.as_micros(), p99.as_micros(), most.as_micros()]
        });
        let numbers = [self.took.as_micros()].into_iter().chain(numbers).map(|number| number.to_string());
        numbers.collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn from_line(line: &str) -> Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [took, calls @ ..] = &numbers[..] else { bail!("no sample: `{line}`") };
        let mut figures = calls.chunks_exact(5).map(figures_of);
        let (Some(calls), Some(dials), None) = (figures.next(), figures.next(), figures.next()) else {
            bail!("no sample: `{line}`")
        };
        Ok(Self { took: Duration::from_micros(*took), calls, dials })
    }
}

fn figures_of(numbers: &[u64]) -> Figures {
    let mut numbers = numbers.iter().copied();
    let mut next = || numbers.next().unwrap_or(0);
    let (count, errors) = (next(), next());
    let [p50, p99, most] = [next(), next(), next()].map(Duration::from_micros);
    Figures { count, errors, p50, p99, most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let (mut first, mut second) = (Measured::new().unwrap(), Measured::new().unwrap());
        (1..=50).for_each(|micros| first.record(Duration::from_micros(micros)).unwrap());
        (51..=100).for_each(|micros| second.record(Duration::from_micros(micros)).unwrap());
        second.errors = 2;
        first.add(&second).unwrap();
        let figures = first.figures();
        assert_eq!((figures.count, figures.errors), (102, 2));
        assert_eq!([figures.p50, figures.p99, figures.most].map(|at| at.as_micros()), [50, 99, 100]);
    }

    #[test]
    fn samples_survive_the_pipe() {
        let micros = Duration::from_micros;
        let calls = Figures { count: 5, errors: 1, p50: micros(70), p99: micros(900), most: micros(1000) };
        let dials = Figures { count: 9, ..Figures::default() };
        let sample = Sample { took: micros(2_000_001), calls, dials };
        assert_eq!(Sample::from_line(&sample.to_line()).unwrap(), sample);
        assert_eq!(sample.errors(), 1);
        for line in ["", "1", "1 2 3", "1 2 3 4 5 six"] {
            assert!(Sample::from_line(line).is_err(), "{line}");
        }
    }
}
