//! The corpus of every target, replayed without libFuzzer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use rmi_fuzz::{TARGETS, Target, target};

/// No target has more files than this, and none a longer one: a corpus is for daily tests.
const FILES_MAX: usize = 80;
const LEN_MAX: usize = 16 << 10;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Every file of a target's corpus, in the order of their names.
fn files(target: Target) -> Vec<PathBuf> {
    let dir = fs::read_dir(corpus().join(target.name)).unwrap();
    let mut files: Vec<_> = dir.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn replay(name: &str) {
    let target = target(name).unwrap();
    let files = files(target);
    assert!(!files.is_empty(), "{name} has no corpus");
    assert!(files.len() <= FILES_MAX, "{name} has {} files: cargo xtask fuzz {name} makes them fewer", files.len());
    let mut failed = Vec::new();
    for file in files {
        let bytes = fs::read(&file).unwrap();
        assert!(bytes.len() <= LEN_MAX, "{} is too long", file.display());
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
            failed.push(file);
        }
    }
    assert!(failed.is_empty(), "these do not pass, each for what is printed above: {failed:#?}");
}

macro_rules! replays {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = BTreeSet::from([$(stringify!($name)),*]);
            assert_eq!(replayed, TARGETS.map(|target| target.name).into_iter().collect());
        }
    };
}

replays! { codec, frame, handshake, message, names, reference, session, url }

#[test]
fn every_directory_is_of_a_target() {
    let dirs: BTreeSet<_> = fs::read_dir(corpus()).unwrap().map(|dir| dir.unwrap().file_name()).collect();
    assert_eq!(dirs, TARGETS.map(|target| target.name.into()).into_iter().collect());
}

/// What libFuzzer begins with is made of real encodings: where those change, `cargo xtask bless` writes it anew.
#[test]
fn the_seeds_are_in_the_corpus() {
    for target in TARGETS {
        for (name, bytes) in (target.seeds)() {
            let slug: Vec<_> =
                name.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            let file = corpus().join(target.name).join(format!("seed-{}", slug.join("-")));
            if std::env::var_os("RMI_BLESS").is_some() {
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, &bytes).unwrap();
            }
            assert!(fs::read(&file).is_ok_and(|there| there == bytes), "{} is another", file.display());
        }
    }
}
