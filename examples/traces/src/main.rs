//! One trace over three processes.
//!
//! `cargo run -p rmi-traces -- --collector http://127.0.0.1:4318` starts a shop and a
//! warehouse, each a process of its own, and makes an order: the client calls the shop, the shop calls the warehouse.
//! Each process exports its own spans by OTLP; that they are one trace is the work of rmi alone.

use std::{env, io::Write as _, process::Stdio};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use rmi::{Node, Remote, RemoteError, remote};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};
use tracing::{Instrument as _, Level, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _};

/// Makes an order whose calls go through three processes, and exports them as one trace.
///
/// Look at it with any collector of OpenTelemetry that takes OTLP over HTTP, such as Jaeger:
/// search there for the trace id that is printed.
#[derive(Debug, Parser)]
#[command(name = "rmi-traces")]
struct Options {
    /// Where spans are exported to, such as http://127.0.0.1:4318; nowhere unless given.
    #[arg(long, value_name = "URL")]
    collector: Option<String>,
    /// Which of the three this process is. The client starts the other two, unless told where the shop is.
    #[arg(long, value_enum, default_value = "client")]
    role: Role,
    /// Whom this one calls: the client the shop, the shop the warehouse.
    #[arg(long, value_name = "URL", required_if_eq("role", "shop"))]
    calls: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Orders tea and saffron.
    Client,
    /// Takes orders; prints its URL, and runs until standard input ends.
    Shop,
    /// Has tea, and no saffron; prints its URL, and runs until standard input ends.
    Warehouse,
}

#[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
enum StockError {
    #[error("{item} is out of stock")]
    OutOfStock { item: String },
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

#[remote]
trait Warehouse {
    async fn take(&self, item: &str) -> Result<(), StockError>;
}

#[remote]
trait Shop {
    /// What of the order is sent.
    async fn order(&self, items: Vec<String>) -> rmi::Result<Vec<String>>;
}

struct Shelves;

#[remote]
impl Warehouse for Shelves {
    async fn take(&self, item: &str) -> Result<(), StockError> {
        if item == "saffron" { Err(StockError::OutOfStock { item: item.to_owned() }) } else { Ok(()) }
    }
}

struct Counter {
    warehouse: Remote<dyn Warehouse>,
}

#[remote]
impl Shop for Counter {
    async fn order(&self, items: Vec<String>) -> rmi::Result<Vec<String>> {
        let mut sent = Vec::new();
        for item in items {
            match self.warehouse.take(&item).await {
                Ok(()) => sent.push(item),
                Err(StockError::OutOfStock { .. }) => {}
                Err(StockError::Remote(error)) => return Err(error),
            }
        }
        Ok(sent)
    }
}

/// The spans of this process go to the collector from now on, under this name.
fn trace(name: &'static str, collector: Option<&str>) -> anyhow::Result<SdkTracerProvider> {
    let mut provider = SdkTracerProvider::builder().with_resource(Resource::builder().with_service_name(name).build());
    if let Some(collector) = collector {
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
        let traces = format!("{}/v1/traces", collector.trim_end_matches('/'));
        provider = provider.with_batch_exporter(exporter.with_endpoint(traces).build()?);
    }
    let provider = provider.build();
    // Of all spans, those of calls and those of this program: the exporter's own requests have some, too.
    let wanted = Targets::new().with_target("rmi::call", Level::INFO).with_target(module_path!(), Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("traces")).with_filter(wanted);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    Ok(provider)
}

/// Prints where this node is, and stays until who started it is gone or has had enough.
async fn stay(node: &Node) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", node.endpoints().first().context("the node listens")?)?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// One of the others as a process, and its URL.
async fn start(role: &str, calls: Option<&str>, collector: Option<&str>) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--role", role]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    for (option, value) in [("--calls", calls), ("--collector", collector)] {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    let mut child = command.spawn().with_context(|| format!("cannot start the {role}"))?;
    let told = child.stdout.take().context("standard output is piped")?;
    let url = BufReader::new(told).lines().next_line().await?;
    Ok((child, url.with_context(|| format!("the {role} ended before it was ready"))?))
}

async fn order(node: &Node, shop: &str) -> anyhow::Result<()> {
    let span = info_span!("breakfast");
    println!("trace {}", span.context().span().span_context().trace_id());
    let shop = Remote::<dyn Shop>::service(node, shop.parse()?, "shop");
    let sent = shop.order(vec!["tea".into(), "saffron".into()]).instrument(span).await?;
    println!("ordered tea and saffron, sent {}", sent.join(" and "));
    Ok(())
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let (calls, collector) = (options.calls.as_deref(), options.collector.as_deref());
    let node = Node::builder();
    let node = if let Role::Client = options.role { node } else { node.listen("tcp://127.0.0.1:0") }.start().await?;
    match (options.role, calls) {
        (Role::Warehouse, _) => {
            node.serve("warehouse", &Remote::<dyn Warehouse>::new(Shelves));
            stay(&node).await?;
        }
        (Role::Shop, calls) => {
            let calls = calls.context("a shop is told its warehouse")?;
            let warehouse = Remote::<dyn Warehouse>::service(&node, calls.parse()?, "warehouse");
            node.serve("shop", &Remote::<dyn Shop>::new(Counter { warehouse }));
            stay(&node).await?;
        }
        (Role::Client, Some(shop)) => order(&node, shop).await?,
        (Role::Client, None) => {
            let (warehouse, url) = start("warehouse", None, collector).await?;
            let (shop, url) = start("shop", Some(&url), collector).await?;
            order(&node, &url).await?;
            for mut server in [shop, warehouse] {
                drop(server.stdin.take());
                server.wait().await?;
            }
        }
    }
    node.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let name = match options.role {
        Role::Client => "client",
        Role::Shop => "shop",
        Role::Warehouse => "warehouse",
    };
    let provider = trace(name, options.collector.as_deref())?;
    let outcome = run(&options).await;
    if let (Role::Client, None) = (options.role, &options.collector) {
        println!("nothing is exported: --collector URL says where to");
    }
    // What was gathered is exported now.
    provider.shutdown()?;
    outcome
}
