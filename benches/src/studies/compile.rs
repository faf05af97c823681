//! What a build of five interfaces of twenty methods takes, with rmi and with tarpc.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use rmi_harness::{Table, number};

use super::{Findings, bar, mebibytes};

const INTERFACES: usize = 5;
const METHODS: usize = 20;

/// A temporary directory, gone when this is dropped.
struct Workshop(PathBuf);

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left lies in the system's directory for such things.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Generates, warms up, measures.
pub(super) fn study(quick: bool) -> Result<Findings> {
    let builds = if quick { 1 } else { 3 };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().context("the package lies in the workspace")?;
    let workshop = Workshop(std::env::temp_dir().join(format!("rmi-bench-compile-{}", std::process::id())));
    let crates = [("rmi", rmi_source(), rmi_dependencies(root)), ("tarpc", tarpc_source(), tarpc_dependencies())];
    let members = crates.iter().map(|(name, ..)| format!("\"{name}-server\"")).collect::<Vec<_>>().join(", ");
    let manifest = format!("[workspace]\nmembers = [{members}]\nresolver = \"3\"\n\n[profile.release]\nstrip = true\n");
    write(&workshop.0.join("Cargo.toml"), &manifest)?;
    // The versions that the workspace is tested with.
    fs::copy(root.join("Cargo.lock"), workshop.0.join("Cargo.lock"))?;
    for (name, source, dependencies) in &crates {
        let directory = workshop.0.join(format!("{name}-server"));
        let manifest = format!(
            "[package]\nname = \"{name}-server\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}"
        );
        write(&directory.join("Cargo.toml"), &manifest)?;
        write(&directory.join("src/main.rs"), source)?;
    }
    let bar = bar(crates.len() * (builds + 1) * 2)?;
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let mut measured = Vec::new();
    for (name, source, _) in &crates {
        let mut seconds = Vec::new();
        for command in ["build", "check"] {
            let mut times = Vec::new();
            for build in 0..=builds {
                let what = if build == 0 { "with its dependencies" } else { "alone" };
                bar.set_message(format!("cargo {command} of {name}-server, {what}"));
                times.push(cargo(&workshop.0, command, name)?);
                bar.inc(1);
            }
            times.remove(0);
            times.sort_by(f64::total_cmp);
            seconds.push(times.get(times.len() / 2).copied().unwrap_or(f64::NAN));
        }
        let binary = format!("{name}-server{}", std::env::consts::EXE_SUFFIX);
        let size = fs::metadata(workshop.0.join("target/release").join(binary))?.len();
        measured.push((*name, seconds, size, source.lines().count()));
    }
    bar.finish_and_clear();
    let title = "Two servers of five interfaces of twenty methods";
    Ok(Findings { title: "Compile time", legend: legend(builds), sections: vec![(title, table(&measured))] })
}

fn legend(builds: usize) -> Vec<String> {
    vec![
        format!(
            "{INTERFACES} interfaces of {METHODS} methods, with two or three arguments each, and a server of them all"
        ),
        format!("seconds: median of {builds}, of the server alone, its dependencies built before"),
        "build: `cargo build --release` with cargo's own settings, linked and stripped; check: `cargo check`"
            .to_owned(),
        "an interface of rmi brings its stub and its skeleton; tarpc its client and its service".to_owned(),
    ]
}

fn table(measured: &[(&str, Vec<f64>, u64, usize)]) -> Table {
    let headers = ["server with", "lines", "build s", "ratio", "check s", "ratio", "MiB", "ratio"];
    let mut table = Table::new(headers, 1);
    let baseline = measured.last();
    for (name, seconds, size, lines) in measured {
        let mut cells = vec![(*name).to_owned(), lines.to_string()];
        for (at, own) in seconds.iter().enumerate() {
            let of = baseline.and_then(|(_, seconds, ..)| seconds.get(at)).copied().unwrap_or(f64::NAN);
            cells.extend([number(*own, 2), number(own / of, 2)]);
        }
        let of = baseline.map_or(f64::NAN, |(_, _, size, _)| *size as f64);
        cells.extend([mebibytes(Some(*size)), number(*size as f64 / of, 2)]);
        table.push(cells);
    }
    table
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Seconds of one command; its source is newer than what was built of it.
fn cargo(workshop: &Path, command: &str, name: &str) -> Result<f64> {
    let source = workshop.join(format!("{name}-server/src/main.rs"));
    fs::File::options().append(true).open(source)?.set_modified(SystemTime::now())?;
    let package = format!("{name}-server");
    let mut cargo = Command::new("cargo");
    cargo.args([command, "--quiet", "--package", &package]).args((command == "build").then_some("--release"));
    // What cargo tells the program that it runs is not meant for another workspace.
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_TARGET_DIR").current_dir(workshop);
    let start = Instant::now();
    let output = cargo.stdin(Stdio::null()).output().context("cannot start cargo")?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{package} does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(seconds)
}

fn rmi_dependencies(root: &Path) -> String {
    format!(
        "rmi = {{ path = {:?} }}\ntokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }}\n",
        root
    )
}

fn tarpc_dependencies() -> String {
    "\
futures = \"0.3\"
serde = { version = \"1\", features = [\"derive\"] }
tarpc = { version = \"0.38\", features = [\"serde-transport-bincode\", \"tcp\", \"tokio1\"] }
tokio = { version = \"1\", features = [\"macros\", \"rt-multi-thread\"] }
"
    .to_owned()
}

/// The arguments, result and value of a method, of four shapes; all values own their parts.
const SHAPES: [(&str, &str, &str); 4] = [
    ("a: i64, b: i64", "i64", "a.wrapping_add(b)"),
    ("name: String, count: u32", "String", "name.repeat(count as usize)"),
    (
        "data: Vec<u8>, from: u64, to: u64",
        "Vec<u8>",
        "data.into_iter().skip(from as usize).take(to as usize).collect()",
    ),
    ("flag: bool, words: Vec<String>", "Option<u64>", "flag.then_some(words.len() as u64)"),
];

/// Each method of an interface: its name, arguments, result, value.
fn methods() -> impl Iterator<Item = (String, &'static str, &'static str, &'static str)> {
    let numbered = (0..METHODS).zip(SHAPES.iter().cycle());
    numbered.map(|(at, (args, result, value))| (format!("method_{at}"), *args, *result, *value))
}

fn rmi_source() -> String {
    let mut source = String::from("use rmi::{Node, Remote, remote};\n\nstruct Servant;\n");
    for interface in 0..INTERFACES {
        source += &format!("\n#[remote]\ntrait Interface{interface} {{\n");
        for (name, args, result, _) in methods() {
            source += &format!("    async fn {name}(&self, {args}) -> rmi::Result<{result}>;\n");
        }
        source += &format!("}}\n\n#[remote]\nimpl Interface{interface} for Servant {{\n");
        for (name, args, result, value) in methods() {
            source += &format!("    async fn {name}(&self, {args}) -> rmi::Result<{result}> {{ Ok({value}) }}\n");
        }
        source += "}\n";
    }
    source += "\n#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {\n";
    source += "    let node = Node::builder().listen(\"tcp://127.0.0.1:0\").start().await?;\n";
    for interface in 0..INTERFACES {
        source += &format!("    node.serve(\"{interface}\", &Remote::<dyn Interface{interface}>::new(Servant));\n");
    }
    source + "    std::future::pending().await\n}\n"
}

fn tarpc_source() -> String {
    let mut source = String::from(
        "use futures::StreamExt;\nuse tarpc::{context::Context, server::{BaseChannel, Channel}, tokio_serde::formats::Bincode};\n\n#[derive(Clone)]\nstruct Servant;\n",
    );
    for interface in 0..INTERFACES {
        source += &format!("\n#[tarpc::service]\ntrait Interface{interface} {{\n");
        for (name, args, result, _) in methods() {
            source += &format!("    async fn {name}({args}) -> {result};\n");
        }
        source += &format!("}}\n\nimpl Interface{interface} for Servant {{\n");
        for (name, args, result, value) in methods() {
            source += &format!("    async fn {name}(self, _: Context, {args}) -> {result} {{ {value} }}\n");
        }
        source += "}\n";
    }
    source += "\n#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {\n";
    for interface in 0..INTERFACES {
        source += &format!(
            "    let listener = tarpc::serde_transport::tcp::listen(\"127.0.0.1:0\", Bincode::default).await?;
    tokio::spawn(listener.filter_map(|stream| std::future::ready(stream.ok())).for_each_concurrent(None, |stream| {{
        let channel = BaseChannel::with_defaults(stream);
        channel.execute(Interface{interface}::serve(Servant)).for_each_concurrent(None, |answer| answer)
    }}));
"
        );
    }
    source + "    std::future::pending().await\n}\n"
}
