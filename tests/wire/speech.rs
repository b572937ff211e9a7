//! An installation that speaks for as long as the suite runs: prompts, answers and credentials that are this region's alone, on all its wires.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use bailiwick_tests::{
    admin::Admin,
    calls::Application,
    canaries::{Canary, record},
    installation::{Installation, REGIONS},
};

use crate::namespaces::Namespaces;

/// Between two rounds: it speaks beside a suite that needs the machine.
const PAUSE: Duration = Duration::from_secs(2);

/// Speaks until it is told to stop.
pub struct Speech<'scope> {
    stop: Sender<()>,
    speaker: ScopedJoinHandle<'scope, u64>,
}

impl<'scope> Speech<'scope> {
    pub fn begin<'env>(scope: &'scope Scope<'scope, 'env>, namespaces: &'env Namespaces) -> Self {
        let (stop, stopped) = channel();
        let speaker = scope
            .spawn(move || namespaces.inside(&namespaces.outside(), move || speak(namespaces, &stopped)));
        Self { stop, speaker }
    }

    /// How many rounds it spoke.
    pub fn end(self) -> u64 {
        let _ = self.stop.send(());
        self.speaker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn speak(namespaces: &Namespaces, stopped: &Receiver<()>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let installation = Installation::start_in(Some(&namespaces.network), &[]);
    let folder = namespaces.network.planted();
    for name in REGIONS {
        record(&runtime.block_on(prepare(&installation, name)), &folder);
    }
    let mut rounds = 0;
    loop {
        for name in REGIONS {
            record(&runtime.block_on(say(&installation, name)), &folder);
        }
        rounds += 1;
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return rounds;
        }
    }
}

/// A model that says what it is told, called with a credential that is a word of this region: the provider stands outside, so the worker's call crosses
/// the region's wire.
async fn prepare(installation: &Installation, name: &str) -> [Canary; 1] {
    let region = installation.region(name);
    let admin = Admin::of(name, region);
    let secret = Canary::hatch(name, "credential at its provider", true);
    let credential = admin.new_credential(&region.organization, &secret.word).await;
    let provider = &installation.provider;
    let revision =
        admin.new_model(&region.organization, "echo", provider, "simulated-echo", &credential).await;
    admin.applied(revision).await;
    [secret]
}

/// A prompt that comes back as the answer, whole and as a stream.
async fn say(installation: &Installation, name: &str) -> [Canary; 2] {
    let application = Application::of(installation.region(name));
    let canaries = [Canary::hatch(name, "prompt and answer", true), Canary::hatch(name, "stream", true)];
    for (canary, stream) in canaries.iter().zip([false, true]) {
        let answer = application.chat("echo", &canary.word, stream).await.expect("an answer");
        let text = answer.text().await.expect("an answer");
        assert!(text.contains(&canary.word), "the word came back: {text}");
    }
    canaries
}
