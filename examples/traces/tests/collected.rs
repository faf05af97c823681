//! One trace over three processes, as a collector of OpenTelemetry is sent it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{future::Future, process::Stdio, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::timeout,
};

const BOUND: Duration = Duration::from_secs(60);

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(BOUND, future).await.expect("it happens in time")
}

/// The next line without its end; nothing where the connection ends.
async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let len = soon(stream.read_line(&mut line)).await.unwrap();
    (len > 0).then(|| line.trim_end().to_owned())
}

async fn exactly(stream: &mut BufReader<TcpStream>, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    soon(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// The body of the next request of HTTP/1.1 on the connection, which must be an export of spans.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let asked = line(stream).await?;
    assert_eq!(asked, "POST /v1/traces HTTP/1.1");
    let mut len = None;
    loop {
        let header = line(stream).await.unwrap().to_ascii_lowercase();
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => len = Some(value.parse().unwrap()),
            Some(("content-type", value)) => assert_eq!(value, "application/x-protobuf"),
            Some(_) => {}
            None => break,
        }
    }
    if let Some(len) = len {
        return Some(exactly(stream, len).await);
    }
    let mut body = Vec::new();
    loop {
        let len = usize::from_str_radix(&line(stream).await.unwrap(), 16).unwrap();
        body.extend(exactly(stream, len).await);
        assert_eq!(line(stream).await.as_deref(), Some(""));
        if len == 0 {
            return Some(body);
        }
    }
}

/// A collector's URL, and what it is sent: each span with the name of its service.
async fn collector() -> (String, mpsc::Receiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, collected) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, mut stream) = (sender.clone(), BufReader::new(stream));
            tokio::spawn(async move {
                while let Some(body) = request(&mut stream).await {
                    for of in ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans {
                        let service = text(&of.resource.unwrap().attributes, "service.name").unwrap();
                        for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                            sender.send((service.clone(), span)).await.unwrap();
                        }
                    }
                    // An empty answer of protobuf is one without complaints.
                    soon(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await.unwrap();
                }
            });
        }
    });
    (url, collected)
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Runs the example's client, which starts the others; what it prints.
async fn run_example(options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rmi-traces"));
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = soon(command.output()).await.unwrap();
    let [told, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{told}\n{complained}", output.status);
    told
}

/// The spans of this service, kind and name, in the order of their starts.
fn pick<'a>(spans: &'a [(String, Span)], service: &str, kind: SpanKind, name: &str) -> Vec<&'a Span> {
    let mut picked: Vec<_> = spans
        .iter()
        .filter(|(of, span)| of == service && span.kind == kind as i32 && span.name.ends_with(name))
        .map(|(_, span)| span)
        .collect();
    picked.sort_by_key(|span| span.start_time_unix_nano);
    picked
}

fn failed(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

#[tokio::test]
async fn an_order_is_one_trace_over_three_processes() {
    let (url, mut collected) = collector().await;
    let told = run_example(&["--collector", &url]).await;
    assert!(told.contains("ordered tea and saffron, sent tea"), "{told}");
    // Every process has exported its spans before it ended.
    let mut spans = Vec::new();
    while let Ok(span) = collected.try_recv() {
        spans.push(span);
    }

    let trace = told.lines().find_map(|line| line.strip_prefix("trace ")).unwrap();
    for (service, span) in &spans {
        let id: String = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(id, trace, "{service}: {span:?}");
    }
    assert_eq!(spans.len(), 7, "{spans:#?}");

    let root = pick(&spans, "client", SpanKind::Internal, "breakfast")[0];
    let ordering = pick(&spans, "client", SpanKind::Client, "Shop/order")[0];
    let ordered = pick(&spans, "shop", SpanKind::Server, "Shop/order")[0];
    let taking = pick(&spans, "shop", SpanKind::Client, "Warehouse/take");
    let taken = pick(&spans, "warehouse", SpanKind::Server, "Warehouse/take");
    assert_eq!((taking.len(), taken.len()), (2, 2), "{spans:#?}");
    assert!(root.parent_span_id.is_empty());
    let edges = [(root, ordering), (ordering, ordered), (ordered, taking[0]), (ordered, taking[1])];
    for (parent, child) in edges.into_iter().chain([(taking[0], taken[0]), (taking[1], taken[1])]) {
        assert_eq!(child.parent_span_id, parent.span_id, "{} is no child of {}", child.name, parent.name);
    }

    for call in [ordering, ordered, taking[0], taken[0], taking[1], taken[1]] {
        let told = |key: &str| text(&call.attributes, key);
        assert_eq!(told("rpc.system.name").as_deref(), Some("rmi"));
        assert_eq!(told("rpc.method").as_deref(), Some(&*call.name));
        let side = if call.kind == SpanKind::Client as i32 { "server" } else { "client" };
        assert_eq!(told(&format!("{side}.address")).as_deref(), Some("127.0.0.1"), "{call:#?}");
        assert_eq!(told("server.address").as_deref(), Some("127.0.0.1"), "{call:#?}");
        assert!(told("rpc.response.status_code").is_some(), "{call:#?}");
        let port = value(&call.attributes, &format!("{side}.port"));
        assert!(matches!(port, Some(Value::IntValue(1..=65535))), "{call:#?}");
    }
    for call in [taking[1], taken[1]] {
        assert!(failed(call), "{call:#?}");
        assert!(text(&call.attributes, "error.type").is_some(), "{call:#?}");
    }
    for call in [root, ordering, ordered, taking[0], taken[0]] {
        assert!(!failed(call), "{call:#?}");
    }
}

#[tokio::test]
async fn without_a_collector_it_says_that_nothing_is_exported() {
    let told = run_example(&[]).await;
    assert!(told.contains("trace ") && told.contains("nothing is exported"), "{told}");
}
