//! Where the corpus of a target is, and which files of it are kept.

use std::{
    collections::HashSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rmi_fuzz::Target;

/// No more files of libFuzzer's are kept for a target.
const FOUND_MAX: usize = 48;

/// How many files a corpus has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Seeds, and what brought bugs back.
    pub(crate) own: usize,
    /// What libFuzzer has found.
    pub(crate) found: usize,
}

/// Everything that is not kept in the repository.
pub(crate) fn dir() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("fuzz")
}

/// What libFuzzer has found here.
pub(crate) fn found(target: Target) -> PathBuf {
    dir().join(target.name).join("found")
}

/// What is in the repository.
pub(crate) fn kept(target: Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Keeps of all that libFuzzer has found the fewest files that reach the same. Files with names of their own
/// stay whatever they reach.
pub(crate) fn renew(target: Target, merge: impl Fn(&Path, &[PathBuf]) -> Result<()>) -> Result<Kept> {
    let (kept, found, merged) = (kept(target), found(target), dir().join(target.name).join("merged"));
    let (hashed, own): (Vec<_>, Vec<_>) = files(&kept)?.into_iter().partition(|file| is_hashed(file));
    match fs::remove_dir_all(&merged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("cannot begin to merge"),
        _ => fs::create_dir_all(&merged)?,
    }
    let mut known = HashSet::new();
    for file in &own {
        let bytes = fs::read(file)?;
        fs::write(merged.join(file.file_name().context("a file has a name")?), &bytes)?;
        known.insert(bytes);
    }
    merge(&merged, &[kept.clone(), found])?;
    let mut new = Vec::new();
    for file in files(&merged)?.into_iter().filter(|file| is_hashed(file)) {
        new.push((fs::read(&file)?, file));
    }
    new.retain(|(bytes, _)| !known.contains(bytes));
    // Where there are too many, the longest do most.
    new.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes.len()));
    new.truncate(FOUND_MAX);
    for file in hashed {
        fs::remove_file(file)?;
    }
    for (bytes, file) in &new {
        fs::write(kept.join(file.file_name().context("a file has a name")?), bytes)?;
    }
    Ok(Kept { own: own.len(), found: new.len() })
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?)
}

/// Whether libFuzzer has named it, by its content.
fn is_hashed(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 40 && name.iter().all(u8::is_ascii_hexdigit)
}
