//! The operations that random programs are made of.

/// Chooses among what there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick(pub(crate) usize);

impl Pick {
    /// An index below `len`.
    pub(crate) fn index(self, len: usize) -> usize {
        self.0 % len
    }

    /// One of these.
    pub(crate) fn get<T>(self, all: &[T]) -> &T {
        &all[self.index(all.len())]
    }
}

/// One operation, at a side where it matters.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        side: usize,
        third: bool,
    },
    Start {
        side: usize,
        target: Choice,
        len: usize,
        references: Vec<Pick>,
        depth: u32,
        seconds: Option<u64>,
    },
    /// A large call, and small ones behind it.
    Burst {
        side: usize,
        len: usize,
        behind: usize,
        seconds: Option<u64>,
    },
    Acquire {
        side: usize,
        object: Pick,
    },
    Poll {
        keep: bool,
    },
    Cancel {
        call: Pick,
    },
    /// The caller wants no answer of it, and goes once it is on its way.
    Depart {
        call: Pick,
    },
    Answer {
        side: usize,
        call: Pick,
        len: usize,
        references: Vec<Pick>,
        keep: bool,
    },
    Refuse {
        side: usize,
        call: Pick,
    },
    DropHeld {
        side: usize,
        object: Pick,
    },
    DropOwn {
        side: usize,
        object: Pick,
    },
    Write {
        side: usize,
        max: usize,
    },
    Deliver {
        side: usize,
        max: usize,
    },
    Exchange,
    Time {
        millis: u64,
    },
    Close {
        side: usize,
    },
    Goodbye {
        side: usize,
    },
    /// The connection is lost; the link may be resumed.
    Lose {
        b_notices: bool,
    },
    /// A takes the link up again, and may lose the answer.
    Resume {
        loses_answer: bool,
    },
    Cut,
}

/// What a call is made on.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    Service,
    /// A held object, which the call keeps until it ends, or does not.
    Held {
        object: Pick,
        keep: bool,
    },
    /// Any object of the other side, by its id.
    ById(Pick),
}
