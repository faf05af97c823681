//! The registry as a program: names that others look up, and bind from this host.

use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Parser};
use rmi_core::{
    Node, Policy,
    tls::{Pem, Tls, TlsError},
};
use rmi_registry::{RegistryError, RegistryServer, RegistryServerBuilder};
use tracing::{info, warn};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// A command line that cannot be obeyed.
const USAGE: u8 = 2;
/// Ended by a second signal, before all was done.
const INTERRUPTED: u8 = 130;

const EXAMPLES: &str = "\
Examples:
  rmiregistry
      for the programs of this host, at rmi://127.0.0.1:1099
  rmiregistry --listen rmi://0.0.0.0:1099
      looked up from everywhere; only servers on this host may bind
  rmiregistry --listen rmi://127.0.0.1:0 --lease 5s
      at any free port, which the URL on standard output names
  rmiregistry --listen rmi://[::1]:1099 --listen unix:///run/user/1000/registry.sock
      at two places; the same names at both
  rmiregistry --listen rmis://0.0.0.0:1099 --tls-cert names.pem --tls-key names.key \\
              --tls-clients company.pem --policy names.toml
      over TLS, for those alone whom the company has given a certificate, as the policy says

A server then binds an object, and a client looks it up:
  Registry::connect_with(&node, \"rmi://127.0.0.1:1099\").await?.bind(\"bank\", &bank).await?;
  let bank: Remote<dyn Bank> = rmi::lookup(\"rmi://127.0.0.1:1099/bank\").await?;

A policy is TOML; what no rule of it allows is forbidden:
  [[allow]]
  principals = [\"cert:bank.example\"]   # or anyone, same-host, uid:1000, token:alice
  interfaces = [\"rmi.Registry\"]
  methods = [\"bind\", \"rebind\", \"unbind\", \"lookup\", \"list\"]   # also join, leave
  names = [\"bank/\"]                   # names that begin so

Whoever can look a name up can call the object bound to it: without TLS and a policy, listen
beyond this host only in a network that you trust. SIGHUP has certificates and policy read again,
for connections and calls from then on. Ctrl-C and SIGTERM end the registry once the calls it is serving are
answered, a second one at once. RUST_LOG=rmi_registry=debug chooses what is told on standard error.

Exit status: 0 ended by a signal, 1 could not start, 2 wrong command line, 130 ended at once.";

/// A registry of names for remote objects.
///
/// Prints its URLs on standard output, one a line, once it can be called there.
#[derive(Debug, Parser)]
#[command(name = "rmiregistry", version, after_help = EXAMPLES)]
struct Options {
    /// Where to listen, as rmi://HOST:PORT, rmis://HOST:PORT or as an endpoint; may be given several times
    #[arg(short, long, value_name = "URL", default_value = "rmi://127.0.0.1:1099")]
    listen: Vec<String>,

    /// Take who is silent for a third of this time for lost
    ///
    /// The lease of the registry itself. Where the other side's lease is shorter, that one counts.
    /// The names of a server that was lost go when the server's own lease has run out. Those who bind
    /// and watch names ask every sixth of this time whether the registry has restarted.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_lease)]
    lease: Duration,

    #[command(flatten)]
    trust: Trust,

    /// Tell on standard error who binds what; twice for each lookup, thrice for everything
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// Whom it believes, and what those may do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trust")]
struct Trust {
    /// The certificate to show over TLS, PEM, with those between it and its root behind it
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Take over TLS only clients whose certificates these authorities have signed, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_clients: Option<PathBuf>,

    /// Believe the servers that are dialled over TLS by these authorities, PEM; else those of the host
    #[arg(long, value_name = "FILE")]
    tls_roots: Option<PathBuf>,

    /// Believe no certificate that is in this list of revoked ones, PEM; each authority has to have one then
    #[arg(long, value_name = "FILE")]
    tls_crl: Option<PathBuf>,

    /// Allow what the rules of this file allow, and nothing else, TOML
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

impl Trust {
    fn tls(&self) -> Result<Option<Tls>, TlsError> {
        if [&self.tls_cert, &self.tls_roots, &self.tls_crl].iter().all(|file| file.is_none()) {
            return Ok(None);
        }
        let mut tls = Tls::builder();
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identity(Pem::file(certificate), Pem::file(key));
        }
        if let Some(clients) = &self.tls_clients {
            tls = tls.clients(Pem::file(clients));
        }
        if let Some(roots) = &self.tls_roots {
            tls = tls.roots(Pem::file(roots));
        }
        if let Some(lists) = &self.tls_crl {
            tls = tls.revoked(Pem::file(lists));
        }
        tls.build().map(Some)
    }

    /// Reads all of it.
    fn read(&self) -> Result<Believed, Box<dyn Error>> {
        Ok(Believed { tls: self.tls()?, policy: self.policy.as_ref().map(Policy::from_file).transpose()? })
    }
}

/// What was read.
#[derive(Clone)]
struct Believed {
    tls: Option<Tls>,
    policy: Option<Policy>,
}

impl Believed {
    fn apply(&self, builder: RegistryServerBuilder) -> RegistryServerBuilder {
        let mut node = Node::builder();
        if let Some(tls) = &self.tls {
            node = node.tls(tls.clone());
        }
        if let Some(policy) = &self.policy {
            node = node.authorizer(policy.clone());
        }
        builder.node_builder(node)
    }

    /// Reads it again. What cannot be used leaves all as it was.
    fn reload(&self) {
        let tls = self.tls.as_ref().map_or(Ok(()), Tls::reload).map_err(|error| error.to_string());
        let policy = self.policy.as_ref().map_or(Ok(()), Policy::reload).map_err(|error| error.to_string());
        for read in [tls, policy] {
            match read {
                Ok(()) => info!("read again"),
                Err(error) => warn!(%error, "what was read before stays in force"),
            }
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    start_log(options.verbose);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let code = runtime.block_on(run(options));
    // A name lookup of the system that still runs must not delay the end.
    runtime.shutdown_background();
    code
}

async fn run(options: Options) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &error),
    };
    let is_tls =
        |url: &&String| ["rmis://", "tls://"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    if options.trust.tls_cert.is_none()
        && let Some(url) = options.listen.iter().find(is_tls)
    {
        let problem = format!("to listen at {url} it has to show a certificate: give --tls-cert and --tls-key");
        return fail(USAGE, &*Box::<dyn Error>::from(problem));
    }
    let believed = match options.trust.read() {
        Ok(believed) => believed,
        Err(error) => return fail(USAGE, &*error),
    };
    let builder = believed.apply(RegistryServer::builder().lease(options.lease));
    let builder = options.listen.into_iter().fold(builder, |builder, url| builder.listen(url));
    let started = tokio::select! {
        started = builder.start() => started,
        () = signals.next() => return ExitCode::SUCCESS,
    };
    let server = match started {
        Ok(server) => server,
        Err(error @ (RegistryError::InvalidUrl { .. } | RegistryError::InvalidName { .. })) => {
            return fail(USAGE, &error);
        }
        Err(error) => return fail(1, &error),
    };
    announce(server.urls());
    tokio::select! {
        () = signals.next() => {}
        () = reload_on_hangup(&believed) => {}
    }
    info!("ending once the calls being served are answered; a second signal ends at once");
    ExitCode::from(end(server.shutdown(), signals.next()).await)
}

/// Reads certificates and policy again at each SIGHUP.
#[cfg(unix)]
async fn reload_on_hangup(believed: &Believed) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            warn!(%error, "SIGHUP has nothing read again");
            return std::future::pending().await;
        }
    };
    while hangup.recv().await.is_some() {
        believed.reload();
    }
    std::future::pending().await
}

#[cfg(not(unix))]
async fn reload_on_hangup(_: &Believed) {
    std::future::pending().await
}

/// Ends in order, or at once where the wish comes again.
async fn end(shutdown: impl Future<Output = ()>, again: impl Future<Output = ()>) -> u8 {
    tokio::select! {
        () = shutdown => 0,
        () = again => INTERRUPTED,
    }
}

/// Prints the URLs. A reader that has gone away is no reason to end.
fn announce(urls: &[String]) {
    let mut out = io::stdout().lock();
    let printed = urls.iter().try_for_each(|url| writeln!(out, "{url}")).and_then(|()| out.flush());
    if let Err(error) = printed {
        warn!(%error, "cannot print the registry's URL");
    }
}

/// Tells on one line why the program ends.
fn fail(code: u8, error: &dyn Error) -> ExitCode {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let line = causes.fold(format!("rmiregistry: {error}"), |line, cause| format!("{line}: {cause}"));
    // Nobody is left to be told that this failed.
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::from(code)
}

fn start_log(verbose: u8) {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let targets = match (verbose, chosen) {
        (0, Some(targets)) => targets,
        (0, None) => Targets::new().with_default(LevelFilter::WARN),
        (1, _) => Targets::new().with_default(LevelFilter::INFO),
        (2, _) => Targets::new().with_default(LevelFilter::DEBUG),
        (_, _) => Targets::new().with_default(LevelFilter::TRACE),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
}

fn parse_lease(text: &str) -> Result<Duration, String> {
    let lease = humantime::parse_duration(text).map_err(|error| format!("{error}; write 30s, 500ms or 2m"))?;
    let allowed = Duration::from_millis(100)..=Duration::from_hours(24);
    if allowed.contains(&lease) { Ok(lease) } else { Err("a lease is from 100ms to 24h".into()) }
}

/// The wishes of user and system that the program end.
#[derive(Debug)]
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without handler the system ends the program by itself.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("rmiregistry").chain(line.split_whitespace()))
    }

    #[test]
    fn without_options_it_serves_this_host() {
        let options = parsed("").unwrap();
        assert_eq!(options.listen, ["rmi://127.0.0.1:1099"]);
        assert_eq!((options.lease, options.verbose), (Duration::from_secs(30), 0));
    }

    #[test]
    fn options_are_understood() {
        let options = parsed("--listen rmi://[::1]:0 -l unix:///a --lease 1m -vv").unwrap();
        assert_eq!(options.listen, ["rmi://[::1]:0", "unix:///a"]);
        assert_eq!((options.lease, options.verbose), (Duration::from_secs(60), 2));
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_what_to_write() {
        for (line, told) in [
            ("--lease 5", "write 30s, 500ms or 2m"),
            ("--lease 1ms", "a lease is from 100ms to 24h"),
            ("--port 1099", "unexpected argument '--port'"),
            ("1099", "unexpected argument '1099'"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.to_string().contains(told), "{line}: {error}");
            assert_eq!(error.exit_code(), i32::from(USAGE));
        }
    }

    #[tokio::test]
    async fn a_second_signal_ends_at_once() {
        use std::future::{pending, ready};
        assert_eq!(end(ready(()), pending()).await, 0);
        assert_eq!(end(pending(), ready(())).await, INTERRUPTED);
    }

    #[test]
    fn help_teaches_by_example() {
        let help = parsed("--help").unwrap_err().to_string();
        for told in ["rmiregistry --listen rmi://0.0.0.0:1099", "rmi::lookup(", "Exit status: 0"] {
            assert!(help.contains(told), "{help}");
        }
    }
}
