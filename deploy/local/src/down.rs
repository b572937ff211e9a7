//! Stops what `up --detach` left running.

use std::path::Path;

use crate::{
    description::Description,
    progress::{self, Progress},
};

pub(crate) async fn down(state_dir: &Path) -> anyhow::Result<()> {
    let Some(description) = Description::read(&state_dir.join("local.json"))? else {
        progress::line(&format!("nothing runs: {} holds no local.json", state_dir.display()));
        return Ok(());
    };
    let progress = Progress::start();
    let mut stopped = 0;
    // Callers first, then those that they depend on, so that nobody is left without an answer.
    for (region, name, process) in description.in_stop_order() {
        if process.runs() {
            process.stop().await;
            stopped += 1;
            progress.say(region, &format!("{name} stopped"));
        }
    }
    if stopped == 0 {
        progress::line("nothing was running");
    }
    Ok(())
}
