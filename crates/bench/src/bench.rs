//! A whole run: every scenario with every server in turn.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::error::{Error, chain};
use crate::limits::Limits;
use crate::process;
use crate::result::{Outcome, Row};
use crate::rows::{Scenario, clean};
use crate::run::{Plan, Run};
use crate::target::Target;

/// The servers and what is known of them.
pub struct Bench {
    plan: Arc<Plan>,
    columns: Vec<Column>,
    limits: Limits,
    keep: bool,
}

struct Column {
    target: Arc<Target>,
    loaded: Arc<AtomicBool>,
}

impl Bench {
    /// `keep` leaves on the servers what has been made.
    pub fn new(plan: Plan, targets: Vec<Target>, keep: bool) -> Self {
        let column = |target| Column {
            target: Arc::new(target),
            loaded: Arc::default(),
        };
        Self {
            plan: Arc::new(plan),
            columns: targets.into_iter().map(column).collect(),
            limits: Limits::default(),
            keep,
        }
    }

    /// Measures; what fails is told in its row and the run goes on.
    pub async fn run(&self, scenarios: &[Scenario]) -> Vec<Row> {
        let mut rows = Vec::new();
        for scenario in scenarios {
            rows.push(self.row(*scenario).await);
        }
        if !self.keep {
            self.clean().await;
        }
        rows
    }

    async fn row(&self, scenario: Scenario) -> Row {
        let mut row = Row {
            name: scenario.name(),
            title: scenario.title(),
            load_average: process::load_average(),
            servers: Vec::new(),
            took_s: Vec::new(),
        };
        if scenario == Scenario::Limits {
            let began = Instant::now();
            let outcome = outcome(self.limits.measure(&self.plan).await);
            told(scenario, "", began, &mut row, outcome);
            return row;
        }
        for column in &self.columns {
            let began = Instant::now();
            let outcome = outcome(self.cell(scenario, column).await);
            told(scenario, &column.target.name, began, &mut row, outcome);
        }
        row
    }

    async fn cell(
        &self,
        scenario: Scenario,
        column: &Column,
    ) -> Result<Vec<crate::result::Figure>, Error> {
        let run = self.start(column);
        let _ended = run.cancel.clone().drop_guard();
        within(self.patience(Scenario::Load), scenario.prepare(&run)).await?;
        // The list has taken its time, which is not the row's.
        let run = self.start(column);
        let _ended = run.cancel.clone().drop_guard();
        within(self.patience(scenario), scenario.measure(&run)).await
    }

    fn start(&self, column: &Column) -> Run {
        Run::new(
            self.plan.clone(),
            column.target.clone(),
            self.limits.clone(),
            column.loaded.clone(),
        )
    }

    /// How long a row may take before it is given up; a minute more than what it would take of its own accord.
    fn patience(&self, scenario: Scenario) -> Duration {
        self.plan.row_time * scenario.patience() + Duration::from_mins(1)
    }

    async fn clean(&self) {
        for column in &self.columns {
            let (run, began) = (self.start(column), Instant::now());
            let _ended = run.cancel.clone().drop_guard();
            let said = match within(self.patience(Scenario::Load), clean(&run)).await {
                Ok(removed) => format!("{removed} mailboxes removed"),
                Err(error) => format!("mailboxes of the bench are left: {}", chain(&error)),
            };
            progress(&format!(
                "clean {}: {:.1} s: {said}",
                column.target.name,
                began.elapsed().as_secs_f64()
            ));
        }
    }
}

fn told(scenario: Scenario, server: &str, began: Instant, row: &mut Row, outcome: Outcome) {
    let took = began.elapsed().as_secs_f64();
    let said = match &outcome {
        Outcome::Figures(_) => String::new(),
        Outcome::Failed(why) => format!(": {why}"),
    };
    progress(&format!("{} {server}: {took:.1} s{said}", scenario.name()));
    row.servers.push((server.to_owned(), outcome));
    row.took_s.push(took);
}

async fn within<T>(
    wait: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(wait, work)
        .await
        .map_err(|_| Error::Endless { wait })?
}

fn outcome(found: Result<Vec<crate::result::Figure>, Error>) -> Outcome {
    match found {
        Ok(figures) => Outcome::Figures(figures),
        Err(error) => Outcome::Failed(chain(&error)),
    }
}

/// Rows take minutes; who waits wants to see them go by.
fn progress(text: &str) {
    // With standard error closed nobody waits.
    writeln!(std::io::stderr(), "# {text}").unwrap_or_default();
}
