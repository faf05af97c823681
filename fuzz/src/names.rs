//! Names are text that survives its encoding, and a registry keeps them as a map would.
//!
//! The first byte selects. Where it is even, the rest is a text that may be a name, and may spell one. Where
//! it is odd, the rest are acts of clients of a registry, each a byte and what it needs.

use std::collections::BTreeMap;

use rmi_core::{AnyRemote, Remote};
use rmi_macros::remote;
use rmi_registry::{
    RegistryError,
    fuzz::{Act, Holds, Registry, Watched, percent_decoded, percent_encoded},
};

use crate::{Seed, choices::Choices};

/// Reads a text as a name, or serves the clients of a registry.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if !choices.flag() {
        return check_text(&String::from_utf8_lossy(choices.rest()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let Ok(runtime) = runtime else { panic!("no runtime") };
    runtime.block_on(serve(&mut choices));
}

fn check_text(text: &str) {
    match percent_encoded(text) {
        Ok(encoded) => {
            assert_eq!(percent_decoded(&encoded).as_deref(), Ok(text));
            assert!(
                !encoded.contains(
                    |unsafe_in_a_url: char| unsafe_in_a_url.is_whitespace() || "?#\"".contains(unsafe_in_a_url)
                )
            );
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
    match percent_decoded(text) {
        Ok(name) => assert!(percent_encoded(&name).is_ok(), "{text:?} spells {name:?}, which is no name"),
        Err(reason) => assert!(!reason.is_empty()),
    }
}

/// Two interfaces: a group is of one.
#[remote(name = "fuzz.Bank")]
trait Bank {}

#[remote(name = "fuzz.Shop")]
trait Shop {}

#[derive(Debug)]
struct Thing;

#[remote]
impl Bank for Thing {}

#[remote]
impl Shop for Thing {}

fn objects() -> [AnyRemote; 4] {
    let bank = || Remote::erase(&Remote::<dyn Bank>::new(Thing));
    [bank(), bank(), bank(), Remote::erase(&Remote::<dyn Shop>::new(Thing))]
}

/// Names of each other's beginnings, and what is none.
const NAMES: [&str; 8] = ["a", "a/", "a/b", "ab", "b", "é", "", " a"];

/// What names stand for, and when that was bound, of one object.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, (Holds, Option<u64>)>);

async fn serve(choices: &mut Choices<'_>) {
    let (registry, objects) = (Registry::default(), objects());
    let (mut model, mut watched) = (Model::default(), Vec::new());
    for _ in 0..200 {
        if choices.is_over() {
            break;
        }
        let (what, name, time) = (choices.byte(), name(choices), u64::from(choices.byte()));
        let which = what >> 6;
        let object = objects.get(usize::from(which)).unwrap_or_else(|| unreachable!("two bits")).clone();
        // A time is that of one act, so no two objects have the same.
        let millis = 4 * time + u64::from(which);
        let act = match what % 8 {
            0 | 5 => Act::Bind(object),
            1 => Act::Rebind(object),
            2 | 6 => Act::Join(object),
            3 => Act::Leave(object),
            4 => Act::Unbind,
            _ => {
                watched.extend(registry.watch(&name).await.map(|watched| (name, watched)));
                continue;
            }
        };
        if what & 8 == 0 {
            let expected = model.act(&name, &act, millis);
            let told = registry.act(&name, act, millis).await;
            assert_eq!(told.as_ref().map_err(kind), expected, "{told:?}");
            assert_eq!(find(&registry, &name).await, model.holds(&name), "{name:?}");
        } else {
            // Which claims win is told elsewhere: the names must stay what they say they are.
            let is_so = registry.claim(&name, act.clone(), millis).await.is_ok_and(|is_so| is_so);
            let now = find(&registry, &name).await;
            assert!(!is_so || is_claimed(&act, &now), "{act:?} was claimed, and now it is {now:?}");
            let is_bound = is_so && matches!(act, Act::Bind(_) | Act::Rebind(_));
            let at = if is_bound { Some(millis) } else { model.at(&name).filter(|_| now == model.holds(&name)) };
            model.set(&name, now, at);
        }
    }
    check_lists(&registry, &model).await;
    check_watched(&model, &watched).await;
}

/// One of a few, or any text.
fn name(choices: &mut Choices<'_>) -> String {
    match choices.byte() {
        0xff => {
            let len = usize::from(choices.byte());
            String::from_utf8_lossy(choices.bytes(len)).into_owned()
        }
        byte => NAMES.into_iter().cycle().nth(byte.into()).unwrap_or_default().to_owned(),
    }
}

async fn find(registry: &Registry, name: &str) -> Holds {
    registry.find(name).await.unwrap_or_else(|error| panic!("{name:?}: {error}"))
}

/// What a registry refuses an act with.
fn kind(error: &RegistryError) -> &'static str {
    assert!(!error.to_string().is_empty());
    match error {
        RegistryError::InvalidName { .. } => "no name",
        RegistryError::AlreadyBound { .. } => "taken",
        RegistryError::NotBound { .. } => "not bound",
        RegistryError::WrongInterface { .. } => "other interfaces",
        _ => "something else",
    }
}

impl Model {
    fn holds(&self, name: &str) -> Holds {
        self.0.get(name).map_or(Holds::Nothing, |(holds, _)| holds.clone())
    }

    fn at(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(|(_, at)| *at)
    }

    fn set(&mut self, name: &str, holds: Holds, at: Option<u64>) {
        match holds {
            Holds::Nothing => drop(self.0.remove(name)),
            holds => drop(self.0.insert(name.to_owned(), (holds, at))),
        }
    }

    fn act(&mut self, name: &str, act: &Act, millis: u64) -> Result<&(), &'static str> {
        if percent_encoded(name).is_err() {
            return Err("no name");
        }
        let (before, at) = self.0.get(name).cloned().unwrap_or((Holds::Nothing, None));
        let (after, at) = match (act, before) {
            (Act::Bind(_), before @ Holds::One(_)) if at == Some(millis) => (before, at),
            (Act::Bind(object), Holds::Nothing) | (Act::Rebind(object), _) => {
                (Holds::One(object.clone()), Some(millis))
            }
            (Act::Bind(_), _) | (Act::Join(_), Holds::One(_)) => return Err("taken"),
            (Act::Join(object), Holds::Nothing) => (Holds::Group(vec![object.clone()]), None),
            (Act::Join(object), Holds::Group(mut members)) => {
                if !members.contains(object) {
                    let known = members.first().map(AnyRemote::interfaces);
                    if known.is_some_and(|known| known != object.interfaces()) {
                        return Err("other interfaces");
                    }
                    members.push(object.clone());
                }
                (Holds::Group(members), None)
            }
            (Act::Leave(object), Holds::Group(mut members)) => {
                members.retain(|member| member != object);
                (if members.is_empty() { Holds::Nothing } else { Holds::Group(members) }, None)
            }
            (Act::Leave(_), before) => (before, at),
            (Act::Unbind, Holds::Nothing) => return Err("not bound"),
            (Act::Unbind, _) => (Holds::Nothing, None),
        };
        self.set(name, after, at);
        Ok(&())
    }
}

fn is_claimed(act: &Act, now: &Holds) -> bool {
    match (act, now) {
        (Act::Bind(object) | Act::Rebind(object), Holds::One(bound)) => object == bound,
        (Act::Join(object), Holds::Group(members)) => members.contains(object),
        (Act::Leave(object), Holds::Group(members)) => !members.contains(object),
        (Act::Leave(_), _) => true,
        // Members that joined since stay.
        (Act::Unbind, now) => !matches!(now, Holds::One(_)),
        _ => false,
    }
}

/// Names are listed in order, each once, however they are cut into pages.
async fn check_lists(registry: &Registry, model: &Model) {
    for prefix in ["", "a", "a/", "é"] {
        for limit in [1, 2, 1000] {
            let (mut names, mut more) = (Vec::<String>::new(), true);
            while more {
                let page = registry.list(prefix, names.last().map(String::as_str), limit).await;
                let Ok((entries, follow)) = page else { panic!("{page:?}") };
                assert!(entries.len() <= limit as usize && (!follow || !entries.is_empty()));
                names.extend(entries.into_iter().map(|entry| entry.name));
                more = follow;
            }
            let expected: Vec<_> = model.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
            assert_eq!(names, expected, "{prefix:?} in pages of {limit}");
        }
    }
}

/// Every watcher has in the end the same picture.
async fn check_watched(model: &Model, watched: &[(String, Watched)]) {
    for (prefix, watched) in watched {
        let is_told = |bound: &Vec<rmi_registry::Entry>| {
            let told = bound.iter().map(|entry| (entry.name.as_str(), entry.members));
            let there = model.0.iter().filter(|(name, _)| name.starts_with(prefix.as_str()));
            told.eq(there.map(|(name, (holds, _))| (name.as_str(), members(holds))))
        };
        for _ in 0..1000 {
            if watched.bound().as_ref().is_some_and(is_told) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(watched.bound().as_ref().is_some_and(is_told), "below {prefix:?} is told {watched:?}, not {model:?}");
    }
}

fn members(holds: &Holds) -> Option<u32> {
    match holds {
        Holds::Group(members) => u32::try_from(members.len()).ok(),
        Holds::Nothing | Holds::One(_) => None,
    }
}

pub(crate) fn seeds() -> Vec<Seed> {
    let text = |name, text: &str| (name, [&[0], text.as_bytes()].concat());
    let acts = |name, acts: &[[u8; 3]]| (name, [&[1], acts.concat().as_slice()].concat());
    vec![
        text("plain", "com.example:bank_1"),
        text("encoded", "%D0%91 a%2Fb%25"),
        text("control", "a\n%00"),
        text("not-hexadecimal", "100%zz"),
        acts("bound-and-freed", &[[7, 6, 0], [0, 0, 1], [0, 0, 1], [0, 0, 2], [1, 2, 3], [4, 0, 4], [4, 0, 5]]),
        acts(
            "joined-and-left",
            &[[2, 0, 1], [0x42, 0, 2], [7, 0, 0], [0xc2, 0, 3], [3, 0, 4], [0x43, 0, 5], [0xc2, 0, 6]],
        ),
        acts("claims", &[[8, 0, 9], [10, 2, 5], [12, 0, 3], [12, 0, 9], [8, 0, 4], [11, 2, 7], [10, 2, 6], [7, 6, 0]]),
        acts("no-names", &[[0, 6, 1], [0, 7, 1], [0, 5, 1], [4, 5, 1]]),
    ]
}
