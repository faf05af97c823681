//! The peers in other languages: programs that keep the contract, compiled when their sources are newer.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, ensure};

use crate::peers::Peer;

/// How a peer's program is built and started.
struct Recipe {
    /// The directory of its sources, and those of what it shares, under `benches/`.
    sources: &'static str,
    shared: Option<&'static str>,
    /// Under `target/`.
    out: &'static str,
    /// What must be there, and the Debian package that brings it.
    needs: &'static [(&'static str, &'static str)],
    /// Commands, in the directory of the sources; OUT is that of the results.
    steps: &'static [&'static str],
    /// What is started.
    program: &'static str,
}

const GXX: (&str, &str) = ("g++", "g++");

const fn recipe(peer: Peer) -> Option<Recipe> {
    Some(match peer {
        Peer::Java => Recipe {
            sources: "java",
            shared: None,
            out: "bench-java",
            needs: &[("javac", "default-jdk-headless"), ("java", "default-jdk-headless")],
            steps: &["javac -d OUT *.java"],
            program: "java -cp OUT Bench",
        },
        Peer::Ice => Recipe {
            sources: "cpp/ice",
            shared: Some("cpp"),
            out: "bench-cpp/ice",
            needs: &[GXX, ("slice2cpp", "zeroc-ice-compilers"), ("/usr/include/Ice/Ice.h", "libzeroc-ice-dev")],
            steps: &[
                "slice2cpp --output-dir OUT bench.ice",
                "g++ -O2 -std=c++17 -DICE_CPP11_MAPPING -IOUT main.cpp OUT/bench.cpp -o OUT/bench -lIce++11 -lpthread",
            ],
            program: "OUT/bench",
        },
        Peer::OmniOrb => Recipe {
            sources: "cpp/omniorb",
            shared: Some("cpp"),
            out: "bench-cpp/omniorb",
            needs: &[GXX, ("omniidl", "omniidl"), ("/usr/include/omniORB4/CORBA.h", "libomniorb4-dev")],
            steps: &[
                "omniidl -bcxx -COUT bench.idl",
                "g++ -O2 -std=c++17 -IOUT main.cpp OUT/benchSK.cc -o OUT/bench -lomniORB4 -lomnithread -lpthread",
            ],
            program: "OUT/bench",
        },
        _ => return None,
    })
}

/// Compiles a native peer's program where that is due. The result is what to start, with its first
/// arguments; an error says what is missing.
pub(crate) fn prepare(peer: Peer) -> Result<Vec<String>> {
    let recipe = recipe(peer).context("is no program of its own")?;
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = package.join(recipe.sources);
    let own = newest(&sources).with_context(|| format!("no sources in benches/{}", recipe.sources))?;
    let newest = recipe.shared.and_then(|shared| newest(&package.join(shared))).map_or(own, |shared| shared.max(own));
    let out = target()?.join(recipe.out);
    let missing = recipe
        .needs
        .iter()
        .filter(|(tool, _)| !is_there(tool))
        .map(|(tool, package)| format!("{tool} is missing (Debian: apt-get install {package})"));
    let missing: Vec<_> = missing.collect();
    ensure!(missing.is_empty(), "{}", missing.join("; "));
    let built = out.join(".built");
    let is_current = fs::metadata(&built).and_then(|made| made.modified()).is_ok_and(|made| made > newest);
    if !is_current {
        fs::create_dir_all(&out)?;
        for step in recipe.steps {
            eprintln!("{}: {step}", recipe.sources);
            // A shell, for the asterisk.
            let status = Command::new("sh").args(["-c", &with_out(step, &out)]).current_dir(&sources).status()?;
            ensure!(status.success(), "`{step}` failed in benches/{}", recipe.sources);
        }
        fs::write(&built, "")?;
    }
    Ok(recipe.program.split(' ').map(|word| word.replace("OUT", &out.to_string_lossy())).collect())
}

fn with_out(step: &str, out: &Path) -> String {
    step.replace("OUT", &format!("'{}'", out.display()))
}

/// The workspace's target directory: this program is in it.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(2).context("not in a target directory")?.to_owned())
}

/// When the last file of a directory was changed.
fn newest(directory: &Path) -> Option<SystemTime> {
    let changed = fs::read_dir(directory).into_iter().flatten().flatten().filter_map(|entry| entry.metadata().ok());
    changed.filter(fs::Metadata::is_file).filter_map(|file| file.modified().ok()).max()
}

/// Whether a program is on the search path, or a file where it is said to be.
fn is_there(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    Path::new(tool).is_absolute() && Path::new(tool).exists()
        || env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_native_peer_has_a_recipe() {
        for peer in Peer::value_variants() {
            assert_eq!(peer.is_native(), recipe(*peer).is_some());
        }
    }

    #[test]
    fn paths_with_blanks_survive_the_shell() {
        assert_eq!(with_out("omniidl -COUT x", Path::new("/a b")), "omniidl -C'/a b' x");
    }

    #[test]
    fn tools_are_found() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-compiler"));
        assert!(!is_there("/no/such/header.h"));
    }
}
