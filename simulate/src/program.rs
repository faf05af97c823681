//! Random programs: what is done to a world of nodes.

use proptest::{collection::vec, prelude::*};

/// The most nodes of a program.
pub const HOSTS_MAX: usize = 5;

/// Some nodes, the network between them, and what happens. The numbers in the steps choose among
/// what there is when the step comes, so that every program has a meaning however it is shrunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// For each node beyond the first, whether it listens; the first does.
    pub listens: Vec<bool>,
    /// How the network treats bytes.
    pub weather: Weather,
    /// What the network's choices are drawn from.
    pub seed: u64,
    /// What happens.
    pub steps: Vec<Step>,
}

/// How the network treats bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The longest delay of a piece, in milliseconds.
    pub delay_max: u8,
    /// Whether writes arrive in pieces.
    pub pieces: bool,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An object comes to life at a node, which holds a reference to it.
    Create {
        /// Where.
        node: u8,
    },
    /// The holder of a reference gives it to another node, and up to two more with it.
    Pass {
        /// The reference.
        reference: u8,
        /// Who gets it.
        to: u8,
        /// How many others of the giver travel in the same message.
        more: u8,
        /// As the result of a call of the receiver, rather than as an argument.
        as_result: bool,
        /// Whether the giver goes on to hold it.
        keep: bool,
    },
    /// A reference is passed to the node that owns its object.
    SendHome {
        /// The reference.
        reference: u8,
    },
    /// A reference is cloned.
    Clone {
        /// The reference.
        reference: u8,
    },
    /// A reference is dropped.
    Drop {
        /// The reference.
        reference: u8,
    },
    /// Calls that end at once.
    Call {
        /// The reference.
        reference: u8,
        /// How many, one behind the other.
        count: u8,
    },
    /// A call whose method waits.
    Linger {
        /// The reference.
        reference: u8,
        /// For so many times 10 ms.
        time: u8,
    },
    /// A call whose method calls another object, whose reference it gets for that.
    Nest {
        /// The reference.
        reference: u8,
        /// The other reference, of the same holder.
        other: u8,
    },
    /// A call that runs is cancelled.
    Cancel {
        /// The call.
        call: u8,
    },
    /// All connections between two nodes break.
    Cut {
        /// One of them.
        a: u8,
        /// The other.
        b: u8,
        /// After so many further bytes in either direction; 0 is at once, wherever in what is
        /// under way.
        after: u8,
    },
    /// Nothing arrives from one node at another.
    Partition {
        /// From this.
        from: u8,
        /// At this.
        to: u8,
        /// The other way too.
        both: bool,
    },
    /// Two nodes reach each other again.
    Heal {
        /// One of them.
        a: u8,
        /// The other.
        b: u8,
    },
    /// A node ends without a word.
    Crash {
        /// Which.
        node: u8,
        /// Its host is off, too: nobody resets its connections, nor refuses new ones.
        silent: bool,
    },
    /// A node shuts down as it should.
    Shutdown {
        /// Which.
        node: u8,
    },
    /// A node that ended is started anew at the same endpoint.
    Restart {
        /// Which.
        node: u8,
    },
    /// Time passes.
    Wait {
        /// In milliseconds.
        time: u16,
    },
}

/// Programs of up to so many steps.
pub fn programs(steps_max: usize) -> impl Strategy<Value = Program> {
    let weather = (0..=20u8, any::<bool>()).prop_map(|(delay_max, pieces)| Weather { delay_max, pieces });
    // Some programs disturb nothing: what is claimed of them is the strictest.
    let calm = vec(step(false), 1..=steps_max);
    let rough = vec(step(true), 1..=steps_max);
    let steps = prop_oneof![1 => calm, 3 => rough];
    // Without an object nothing happens.
    let objects = vec((0..HOSTS_MAX as u8).prop_map(|node| Step::Create { node }), 1..4);
    let steps = (objects, steps).prop_map(|(objects, steps): (Vec<_>, Vec<Vec<_>>)| {
        objects.into_iter().chain(steps.into_iter().flatten()).collect()
    });
    let listens = prop_oneof![1 => vec(any::<bool>(), 1), 6 => vec(prop::bool::weighted(0.75), 2..HOSTS_MAX)];
    (listens, weather, any::<u64>(), steps).prop_map(|(listens, weather, seed, steps)| Program {
        listens,
        weather,
        seed,
        steps,
    })
}

/// One step, or some that belong together.
fn step(rough: bool) -> BoxedStrategy<Vec<Step>> {
    let choice = || any::<u8>();
    let node = || 0..HOSTS_MAX as u8;
    let wait = prop_oneof![4 => 0..30u16, 3 => 30..400u16, 1 => 400..1500u16, 1 => 1500..8000u16];
    let peaceful = prop_oneof![
        5 => node().prop_map(|node| Step::Create { node }),
        12 => (choice(), node(), 0..3u8, any::<bool>(), prop::bool::weighted(0.6))
            .prop_map(|(reference, to, more, as_result, keep)| Step::Pass { reference, to, more, as_result, keep }),
        2 => choice().prop_map(|reference| Step::SendHome { reference }),
        2 => choice().prop_map(|reference| Step::Clone { reference }),
        6 => choice().prop_map(|reference| Step::Drop { reference }),
        6 => (choice(), 1..4u8).prop_map(|(reference, count)| Step::Call { reference, count }),
        3 => (choice(), 0..40u8).prop_map(|(reference, time)| Step::Linger { reference, time }),
        3 => (choice(), choice()).prop_map(|(reference, other)| Step::Nest { reference, other }),
        3 => choice().prop_map(|call| Step::Cancel { call }),
        10 => wait.prop_map(|time| Step::Wait { time }),
    ];
    if !rough {
        return peaceful.prop_map(|step| vec![step]).boxed();
    }
    let after = prop_oneof![1 => Just(0u8), 2 => 1..200u8];
    let disturbing = prop_oneof![
        5 => (node(), node(), after).prop_map(|(a, b, after)| Step::Cut { a, b, after }),
        4 => (node(), node(), any::<bool>()).prop_map(|(from, to, both)| Step::Partition { from, to, both }),
        5 => (node(), node()).prop_map(|(a, b)| Step::Heal { a, b }),
        2 => (node(), any::<bool>()).prop_map(|(node, silent)| Step::Crash { node, silent }),
        2 => node().prop_map(|node| Step::Shutdown { node }),
        3 => node().prop_map(|node| Step::Restart { node }),
    ];
    let one = |step: BoxedStrategy<Step>| step.prop_map(|step| vec![step]);
    // A reference is handed on, and its giver goes before it is called.
    let orphaned = (choice(), node(), node(), 0..3u8).prop_map(|(reference, to, node, how)| {
        let pass = Step::Pass { reference, to, more: 0, as_result: false, keep: false };
        let go = match how {
            0 => Step::Shutdown { node },
            how => Step::Crash { node, silent: how == 2 },
        };
        vec![pass, Step::Wait { time: 60 }, go]
    });
    prop_oneof![60 => one(peaceful.boxed()), 12 => one(disturbing.boxed()), 1 => orphaned].boxed()
}
