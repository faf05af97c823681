//! Where the corpus of a target is, and which files of it are kept.

use std::{
    collections::HashSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rmi_fuzz::Target;

use crate::libfuzzer::Reach;

/// No more files of libFuzzer's are kept for a target.
const FOUND_MAX: usize = 40;

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

/// Keeps of all that libFuzzer has found a few files that reach most of it. Files with names of their own stay
/// whatever they reach.
pub(crate) fn renew(target: Target, reach: impl Fn(&[PathBuf]) -> Result<Vec<Reach>>) -> Result<Kept> {
    let kept = kept(target);
    let (hashed, own): (Vec<_>, Vec<_>) =
        reach(&[kept.clone(), found(target)])?.into_iter().partition(|Reach { file, .. }| is_hashed(file));
    let count = own.len();
    let chosen = choose(own, hashed);
    let chosen: Vec<_> = chosen.into_iter().map(|file| Ok((fs::read(&file)?, file))).collect::<io::Result<_>>()?;
    for file in files(&kept)?.into_iter().filter(|file| is_hashed(file)) {
        fs::remove_file(file)?;
    }
    for (bytes, file) in &chosen {
        fs::write(kept.join(file.file_name().context("a file has a name")?), bytes)?;
    }
    Ok(Kept { own: count, found: chosen.len() })
}

/// Those of `found` that reach most beyond `own`, one after the other.
fn choose(own: Vec<Reach>, mut found: Vec<Reach>) -> Vec<PathBuf> {
    let mut reached: HashSet<u64> = own.into_iter().flat_map(|own| own.features).collect();
    let mut chosen = Vec::new();
    while chosen.len() < FOUND_MAX {
        for Reach { features, .. } in &mut found {
            features.retain(|feature| !reached.contains(feature));
        }
        let Some(best) = found.iter().max_by_key(|found| found.features.len()) else { break };
        if best.features.is_empty() {
            break;
        }
        reached.extend(&best.features);
        chosen.push(best.file.clone());
    }
    chosen
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_reach_most_are_chosen_until_nothing_more_is_reached() {
        let reach =
            |file: &str, features: &[u64]| Reach { file: file.into(), features: features.iter().copied().collect() };
        let found = vec![reach("a", &[1, 2, 3]), reach("b", &[3, 4, 5]), reach("c", &[5]), reach("d", &[6, 7])];
        assert_eq!(choose(vec![reach("seed", &[1, 2])], found), [PathBuf::from("b"), "d".into()]);
    }
}
