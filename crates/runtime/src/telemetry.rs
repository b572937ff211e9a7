//! Logs, and spans where they are wanted. Nothing leaves the process but its log, unless an OTLP endpoint is configured; and then it goes to a
//! collector in the region's own jurisdiction, whose address is judged each time that it is dialled.
//!
//! Prompts, answers and secrets never get here (invariant R8): our events have no field for them; libraries that could log what passes
//! through them are held at `info`, whatever the filter says; and of a panic only the place is logged, because its message may
//! quote what it stumbled over.

mod collector;

use std::io::IsTerminal;

use bailiwick_domain::guard::Guard;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::configuration::{Collector, LogFormat, ResolverSection, TelemetrySection};
use crate::outbound::{Resolver, ResolverError};

pub use collector::{ReachError, reach, reach_once};

/// Libraries that see headers and bodies of callers, or key material.
const QUIET: [&str; 9] = ["aws", "h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "reqwest", "sqlx"];

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends what is left when it is dropped. Hold it until the process ends.
#[derive(Debug)]
pub struct TelemetryGuard {
    spans: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.spans.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter of `telemetry.log` has a bad directive.
    #[error("telemetry.log is no filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter of spans cannot be set up.
    #[error("spans cannot be exported")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The collector's name cannot be resolved, now or later.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The way to the collector cannot be set up.
    #[error("the way to the collector cannot be set up")]
    Collector(#[from] ReachError),
    /// It was started before.
    #[error("telemetry is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging to the standard error, and exporting spans where an endpoint is configured (from within a tokio runtime then). Once per process.
///
/// # Errors
/// The filter is malformed, the exporter cannot be set up, or telemetry was started before.
pub fn init(
    settings: &TelemetrySection,
    resolver: &ResolverSection,
    service: &str,
    region: &str,
) -> Result<TelemetryGuard, TelemetryError> {
    let spans = match &settings.collector {
        Some(collector) => Some(exporter(collector, Resolver::new(resolver)?, service, region)?),
        None => None,
    };
    let exported = spans.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("bailiwick"))
            .with_filter(exported())
            .boxed()
    });
    let log = log_layer(settings.log_format).with_filter(filter(&settings.log)?).boxed();
    let layers: Vec<BoxedLayer> = std::iter::once(log).chain(exported).collect();
    tracing_subscriber::registry().with(layers).try_init()?;
    log_places_of_panics();
    log_removed_guards();
    Ok(TelemetryGuard { spans })
}

fn filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    let filter = EnvFilter::builder().parse(directives)?;
    QUIET.iter().try_fold(filter, |filter, library| {
        let quiet: Directive = format!("{library}=info").parse()?;
        Ok(filter.add_directive(quiet))
    })
}

/// Spans of our own, whatever the log shows; of libraries nothing but what they would log.
fn exported() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("bailiwick", LevelFilter::TRACE)
}

fn log_layer(format: LogFormat) -> BoxedLayer {
    let terminal = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    if json {
        return layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed();
    }
    // `fmt` itself looks at NO_COLOR; what it cannot know is whether the standard error is a terminal.
    if terminal { layer.boxed() } else { layer.with_ansi(false).boxed() }
}

/// Over a channel of our own: the library's would take the endpoint from the environment, and dial whatever the name resolves to.
fn exporter(
    collector: &Collector,
    resolver: Resolver,
    service: &str,
    region: &str,
) -> Result<SdkTracerProvider, TelemetryError> {
    let channel = collector::channel(collector, resolver)?;
    let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build()?;
    let resource = Resource::builder_empty()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("cloud.region", region.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Loud, because whoever sees it outside of a test has a region that is no island.
fn log_removed_guards() {
    for guard in Guard::removed() {
        tracing::error!(%guard, "THIS PROCESS GOES WITHOUT A GUARD: it is good for a test, and for nothing else");
    }
}

fn log_places_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        match panic.location() {
            Some(place) => {
                tracing::error!(
                    thread = name,
                    file = place.file(),
                    line = place.line(),
                    "a thread or task panicked"
                );
            }
            None => tracing::error!(thread = name, "a thread or task panicked"),
        }
    }));
}

#[cfg(test)]
mod tests;
