//! Logs, traces and metrics: how the operator sees the hub at work.
//!
//! Logs go to standard error, traces to an OTLP collector when one is configured, metrics to `/metrics`. None of
//! them may hold personal data, SQL text or a credential. The hub's own code sees to that for what it logs;
//! [`may_log`] does for the libraries, whatever the configured filter says. Nothing here is the audit log.

mod metrics;

use std::{io, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter, fmt, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{LogFormat, Telemetry},
    error::{Error, Result},
};

pub use metrics::{Metrics, OPENMETRICS};

/// How long the end of the process may wait for the last spans to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts logging and, with an endpoint, tracing. Call it once per process, inside the Tokio runtime: the exporter's
/// connection lives on it. Keep the guard until the end.
///
/// A collector that cannot be reached is no error: its spans are dropped and calls go on.
pub fn init(config: &Telemetry, hub_id: &str) -> Result<TelemetryGuard> {
    let provider = config.otlp_endpoint.as_ref().map(|url| provider(url.expose(), hub_id)).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        let tracer = provider.tracer("odh");
        tracing_opentelemetry::layer().with_tracer(tracer).with_location(false).with_threads(false)
    });
    Registry::default()
        .with(log_filter(config)?)
        .with(filter::filter_fn(may_log))
        .with(log_layer(config.format, io::stderr))
        .with(traces)
        .try_init()
        .map_err(|e| Error::invalid("telemetry", e))?;
    Ok(TelemetryGuard { provider })
}

/// Flushes what is still to be exported when it is dropped, for 2 seconds at most.
#[derive(Debug)]
#[must_use = "spans are lost when this is dropped early"]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT)
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

fn log_filter(config: &Telemetry) -> Result<EnvFilter> {
    EnvFilter::builder().parse(&config.log).map_err(|e| Error::invalid("telemetry.log", e))
}

fn log_layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    match format {
        // Colour codes would end up in the journal; a terminal is not where a server's log is read.
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Whether an event or span of a library may be seen at all.
///
/// Query engine and database driver put SQL in theirs (sqlx does so for every slow statement); the wire libraries
/// print frames and headers, tokens among them, below `INFO`. No filter of the operator's can switch these on.
fn may_log(metadata: &Metadata<'_>) -> bool {
    const SILENT: [&str; 5] = ["sqlx", "datafusion", "sqlparser", "arrow", "parquet"];
    const NO_DETAIL: [&str; 8] = ["h2", "hyper", "hyper_util", "tonic", "tower", "rustls", "tokio_rustls", "axum"];
    let library = metadata.target().split("::").next().unwrap_or_default();
    if SILENT.iter().any(|name| library == *name || library.strip_prefix(name).is_some_and(|r| r.starts_with('_'))) {
        return false;
    }
    *metadata.level() <= Level::INFO || !NO_DETAIL.contains(&library)
}

fn provider(endpoint: &str, hub_id: &str) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|_| Error::invalid("telemetry.otlp_endpoint", "is not the URL of an OTLP/gRPC collector"))?;
    let resource = Resource::builder()
        .with_service_name("odh")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("odh.hub.id", hub_id.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: &str, format: LogFormat, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = Telemetry { log: log.to_owned(), ..Telemetry::default() };
        let subscriber = Registry::default()
            .with(log_filter(&config).unwrap())
            .with(filter::filter_fn(may_log))
            .with(log_layer(format, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, events);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn no_filter_makes_a_library_log_sql_or_headers() {
        let out = logged("trace,sqlx::query=trace,datafusion=trace,h2=trace", LogFormat::Text, || {
            tracing::warn!(target: "sqlx::query", "select secret");
            tracing::debug!(target: "datafusion_optimizer::optimizer", "select secret");
            tracing::trace!(target: "h2::hpack", "authorization: secret");
            tracing::warn!(target: "h2::server", "connection lost");
            tracing::debug!(target: "odh::query", "planned");
        });
        assert!(!out.contains("secret"), "{out}");
        assert!(out.contains("connection lost") && out.contains("planned"), "{out}");
    }

    #[test]
    fn the_filter_decides_what_the_hub_itself_logs() {
        let out = logged("info,odh::store=debug", LogFormat::Text, || {
            tracing::debug!(target: "odh::store", "kept");
            tracing::debug!(target: "odh::query", "dropped");
        });
        assert!(out.contains("kept") && !out.contains("dropped"), "{out}");
    }

    #[test]
    fn a_json_line_is_one_object_with_the_event_s_fields() {
        let out = logged("info", LogFormat::Json, || tracing::info!(dataset.id = "chu.stays", "registered"));
        let line: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
        assert_eq!(
            (&line["message"], &line["dataset.id"], &line["level"]),
            (&"registered".into(), &"chu.stays".into(), &"INFO".into())
        );
    }

    #[test]
    fn a_filter_that_does_not_parse_is_refused() {
        let config = Telemetry { log: "odh=loud".to_owned(), ..Telemetry::default() };
        assert!(log_filter(&config).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_leave_for_the_collector_at_the_end() {
        let collector = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", collector.local_addr().unwrap());
        let greeting = std::thread::spawn(move || {
            let mut greeting = [0; 14];
            io::Read::read_exact(&mut collector.accept().unwrap().0, &mut greeting).unwrap();
            greeting
        });
        let provider = provider(&url, "hub.test").unwrap();
        let subscriber = Registry::default().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("t")));
        tracing::subscriber::with_default(subscriber, || tracing::info_span!("call").in_scope(|| ()));
        drop(TelemetryGuard { provider: Some(provider) });
        assert_eq!(&greeting.join().unwrap(), b"PRI * HTTP/2.0");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_unreachable_collector_does_not_hold_up_the_end() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let provider = provider(&format!("http://127.0.0.1:{port}"), "hub.test").unwrap();
        let begun = std::time::Instant::now();
        {
            let subscriber = Registry::default().with(tracing_opentelemetry::layer().with_tracer(provider.tracer("t")));
            tracing::subscriber::with_default(subscriber, || tracing::info_span!("lost").in_scope(|| ()));
        }
        drop(TelemetryGuard { provider: Some(provider) });
        assert!(begun.elapsed() < FLUSH_TIMEOUT * 3);
    }
}
