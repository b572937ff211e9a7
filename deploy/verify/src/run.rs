//! The course of a run: prepare every region, attack every pair, remove what was made.

use std::collections::BTreeSet;

use bailiwick_domain::time::{Clock as _, SystemClock};
use futures_util::{
    future::join_all,
    stream::{FuturesUnordered, StreamExt as _},
};

use crate::{
    access::Access,
    armed::Armed,
    attack::{Attack, Listed, Pair},
    attacks,
    attempt::Verdict,
    report::{RegionReport, Report, Tried},
};

/// What is attacked with.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Numbers of attacks; empty: all.
    pub only: BTreeSet<u8>,
}

/// Why nothing was attacked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// One region alone has nobody to be attacked by.
    #[error("two regions are needed to attack one from the other; there {}", if *.0 == 1 { "is one" } else { "is none" })]
    TooFew(usize),
    /// No such attack.
    #[error("there is no attack {0}")]
    NoSuchAttack(u8),
    /// A region cannot be prepared.
    #[error("{region} cannot be prepared: {problem}")]
    Region {
        /// Which.
        region: String,
        /// Why.
        problem: String,
    },
}

/// Attacks every ordered pair of regions. `progress` hears, for people, what goes on; `stopped` ends the run early, and what was made is
/// removed then too.
///
/// # Errors
/// See [`VerifyError`]; nothing was attacked then.
pub async fn verify(
    regions: Vec<Access>,
    choice: &Choice,
    progress: impl Fn(&str),
    stopped: impl Future<Output = ()>,
) -> Result<Report, VerifyError> {
    if regions.len() < 2 {
        return Err(VerifyError::TooFew(regions.len()));
    }
    let chosen = chosen(choice)?;
    let began = SystemClock.now();
    progress("preparing: an organization, a key, a worker and a router of this run in each region");
    let armed = arm(regions).await?;
    let mut tried = Vec::new();
    let interrupted = tokio::select! {
        () = attack(&armed, &chosen, &mut tried) => None,
        () = stopped => Some("it was stopped".to_owned()),
    };
    progress("removing what was made");
    let something_got_in = tried.iter().any(|tried| tried.attempt.verdict == Verdict::Hole);
    let left_behind = join_all(armed.iter().map(|region| region.disarm(something_got_in))).await.concat();
    let about = armed.iter().map(RegionReport::of).collect();
    let listed =
        chosen.iter().map(|attack| Listed { number: attack.number(), name: attack.name() }).collect();
    let report = Report::new((began, SystemClock.now()), about, listed, tried);
    Ok(Report { left_behind, ..report.interrupted(interrupted) })
}

fn chosen(choice: &Choice) -> Result<Vec<Box<dyn Attack>>, VerifyError> {
    let mut all = attacks::all();
    if let Some(unknown) =
        choice.only.iter().find(|number| all.iter().all(|known| known.number() != **number))
    {
        return Err(VerifyError::NoSuchAttack(*unknown));
    }
    all.retain(|attack| choice.only.is_empty() || choice.only.contains(&attack.number()));
    Ok(all)
}

/// All regions, or none: what was prepared is removed again when one cannot be.
async fn arm(regions: Vec<Access>) -> Result<Vec<Armed>, VerifyError> {
    // Short enough for a process's name, and no other run's.
    let run = format!("verify-{:08x}", rand::random::<u32>());
    let all = regions.into_iter().map(|access| async {
        let region = access.region.to_string();
        Armed::arm(access, &run).await.map_err(|problem| VerifyError::Region { region, problem })
    });
    let (mut armed, mut failed) = (Vec::new(), None);
    for outcome in join_all(all).await {
        match outcome {
            Ok(region) => armed.push(region),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        None => Ok(armed),
        Some(error) => {
            join_all(armed.iter().map(|region| region.disarm(false))).await;
            Err(error)
        }
    }
}

/// Every pair beside every other; within a pair one attack after the other, so that each can be timed.
async fn attack(armed: &[Armed], chosen: &[Box<dyn Attack>], tried: &mut Vec<Tried>) {
    let pairs = armed.iter().flat_map(|attacker| {
        let others = armed.iter().filter(move |target| target.name() != attacker.name());
        others.map(move |target| Pair { attacker, target })
    });
    let mut running: FuturesUnordered<_> = pairs
        .map(|pair| async move {
            let mut all = Vec::new();
            for attack in chosen {
                let attempts = attack.run(pair).await;
                let (from, to) = (pair.attacker.name(), pair.target.name());
                all.extend(attempts.into_iter().map(|attempt| Tried {
                    attack: attack.number(),
                    from: from.to_owned(),
                    to: to.to_owned(),
                    attempt,
                }));
            }
            all
        })
        .collect();
    while let Some(of_pair) = running.next().await {
        tried.extend(of_pair);
    }
}
