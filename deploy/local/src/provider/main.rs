//! A simulated provider: a server that speaks OpenAI's and Anthropic's dialects, answers from a fixed text, counts tokens as words, and
//! fails on demand. It stands in where no real provider is configured, and in the tests. Every answer says that it is
//! simulated.
//!
//! The model's name chooses the behaviour (see [`behaviour`]), because a gateway passes on nothing else that a test could
//! steer it by. `GET /simulated/served` tells what was served, so that a test can compare it with what was metered.

mod answers;
mod anthropic;
mod audio;
mod behaviour;
mod ledger;
mod media;
mod names;
mod responses;
mod routes;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use tokio::net::TcpListener;

use crate::routes::Provider;

/// A simulated OpenAI-compatible provider, for local use and tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on: loopback, or a private one.
    #[arg(long, default_value = "127.0.0.1:8190")]
    listen: SocketAddr,
    /// Address to answer questions for names under `verify.test` at: loopback, or a private one.
    #[arg(long)]
    names: Option<SocketAddr>,
    /// API keys that are accepted; may be given several times. None: any key.
    #[arg(long = "api-key")]
    api_keys: Vec<String>,
    /// Milliseconds before the first byte of an answer.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Milliseconds between two chunks of a stream.
    #[arg(long, default_value_t = 0)]
    chunk_delay_ms: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("simulated provider: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(
        stays_near(arguments.listen.ip()),
        "{} is not a loopback or private address",
        arguments.listen
    );
    let provider = Provider::new(
        arguments.api_keys,
        Duration::from_millis(arguments.latency_ms),
        Duration::from_millis(arguments.chunk_delay_ms),
    );
    let names = arguments.names;
    anyhow::ensure!(
        names.is_none_or(|address| stays_near(address.ip())),
        "names are answered for on a loopback or private address alone"
    );
    let own = match arguments.listen.ip() {
        IpAddr::V4(own) => own,
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    };
    bailiwick_runtime::resources::take_descriptors();
    let listener = TcpListener::bind(arguments.listen).await?;
    complain(&format!("simulated provider: listening on {}", listener.local_addr()?));
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Streams of small chunks would wait 40 ms for each other's acknowledgements otherwise.
        let _ = stream.set_nodelay(true);
    });
    let served = axum::serve(listener, routes::router(provider)).with_graceful_shutdown(stopped());
    let named = async {
        match names {
            Some(address) => names::serve(address, own).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = served.into_future() => ended?,
        ended = named => ended?,
    }
    Ok(())
}

/// It takes any key and says that it is simulated; all the same, it is nobody's beyond this machine and its own networks.
fn stays_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[expect(clippy::print_stderr, reason = "a program for the terminal: its log is standard error")]
fn complain(line: &str) {
    eprintln!("{line}");
}
