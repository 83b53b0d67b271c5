//! What is read again while a supernode runs: certificates, join tokens, the token of HTTP.
//!
//! Every so often, and when asked (SIGHUP), each source looks whether its files have changed. What does not read or does not
//! fit is told once, and what was there before stays in force.

use std::sync::Arc;

use tokio::{
    sync::{Notify, watch},
    time::{Duration, sleep},
};

/// Something that is kept in files.
pub(crate) trait Source: Send + Sync {
    /// For people.
    fn name(&self) -> &'static str;

    /// Whether its files are others than at the last look.
    fn changed(&self) -> bool;

    /// Puts what the files say now in force, or says in one line why not.
    fn reload(&self) -> Result<(), String>;

    /// Says in the log what is to be said again and again; called at the start and after each look.
    fn remind(&self) {}
}

/// Looks after the sources until told to stop.
pub(crate) async fn run(
    sources: Vec<Arc<dyn Source>>,
    every: Duration,
    asked: Arc<Notify>,
    mut stop: watch::Receiver<()>,
) {
    if sources.is_empty() {
        return;
    }
    loop {
        sources.iter().for_each(|source| source.remind());
        let all = tokio::select! {
            () = asked.notified() => true,
            () = sleep(every) => false,
            _ = stop.changed() => return,
        };
        let sources = sources.clone();
        // Files may lie far away.
        let _ = tokio::task::spawn_blocking(move || sources.iter().for_each(|source| look(&**source, all))).await;
    }
}

fn look(source: &dyn Source, anyway: bool) {
    if !source.changed() && !anyway {
        return;
    }
    let what = source.name();
    match source.reload() {
        Ok(()) => tracing::info!(what, "read again"),
        Err(reason) => tracing::error!(what, reason, "not read again: what was there before stays in force"),
    }
}
