//! Dialogues of several named peers with one master, as text: `dialogues/*.txt`, explained in `dialogues/README.md`.

mod script;
mod stage;

use std::fs;

use anyhow::{Context as _, Result};

use crate::master::{Master, Program};
use crate::programs::package_file;
use script::{Action, parse};
use stage::Stage;

/// Plays the dialogue in `dialogues/<name>.txt` with our master.
///
/// # Errors
///
/// At the first line that does not come true, naming it.
pub fn play(name: &str) -> Result<()> {
    let path = package_file("dialogues").join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = parse(&text).with_context(|| path.display().to_string())?;
    let options: Vec<(&str, &str)> = lines
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Option(key, value) => Some((key.as_str(), value.as_str())),
            _ => None,
        })
        .collect();
    let master = Master::start(Program::Ours, &options)?;
    let mut stage = Stage::new(master);
    for (number, action) in &lines {
        let shown = text
            .lines()
            .nth(number.saturating_sub(1))
            .unwrap_or_default();
        let done = stage.act(action);
        done.with_context(|| {
            format!(
                "{name}.txt:{number}: {shown}\nlog of the master:\n{}",
                stage.log_tail()
            )
        })?;
    }
    stage.close()
}
