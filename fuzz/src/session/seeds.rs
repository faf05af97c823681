//! Operations that get far.

use crate::Seed;

/// Of both kinds.
pub(crate) fn seeds() -> Vec<Seed> {
    honest().into_iter().chain(hostile()).collect()
}

fn honest() -> Vec<Seed> {
    let program = |name, steps: &[&[u8]]| (name, [&[0, 0, 0], steps.concat().as_slice()].concat());
    let (exchange, poll): (&[u8], &[u8]) = (&[104], &[38]);
    let lone: &[u8] = &[8, 0, 9, 0, 0, 0];
    let giving: &[u8] = &[8, 0, 9, 0x40, 0, 0, 0];
    let answer: &[u8] = &[0x80 + 56, 0, 5, 0];
    vec![
        program("honest-call", &[lone, exchange, answer, exchange, poll]),
        program(
            "honest-object",
            &[
                &[0],
                giving,
                exchange,
                answer,
                &[0x80 + 8, 2, 9, 0, 0, 0],
                exchange,
                &[56, 0, 5, 0],
                exchange,
                poll,
                &[0x80 + 70, 0],
            ],
        ),
        program("honest-acquire", &[&[0], &[0x80 + 34, 0], exchange, poll, &[76, 0], exchange]),
        program(
            "honest-burst",
            &[&[30, 0, 80, 2, 0], &[80, 200, 9, 9], &[92, 200, 8, 8], exchange, answer, answer, exchange],
        ),
        program(
            "honest-resumption",
            &[&[0], giving, &[80, 30], &[92, 20], &[118], &[122], exchange, answer, exchange, poll],
        ),
        program("honest-answer-lost", &[lone, exchange, &[119], &[114 + 12], &[110, 200], &[122], exchange]),
        program("honest-closing", &[lone, exchange, &[0x80 + 114], lone, exchange, answer, exchange, &[116]]),
    ]
}

fn hostile() -> Vec<Seed> {
    let program = |name, steps: &[&[u8]]| (name, [&[1, 0, 0], steps.concat().as_slice()].concat());
    let (exchange, poll): (&[u8], &[u8]) = (&[64], &[23]);
    let lone: &[u8] = &[6, 0, 0, 9];
    let giving: &[u8] = &[6, 0, 0x40, 0, 9];
    let answer: &[u8] = &[0x80 + 33, 0, 0, 5, 1];
    // What the forger says is heard by B.
    let define: &[u8] = &[0x80 + 88, 16, 0];
    let define_interfaces: &[u8] = &[0x80 + 88, 16, 4];
    let call: &[u8] = &[0x80 + 88, 0, 2, 0, 3, 0, 0];
    vec![
        program("hostile-call", &[define, call, answer, call, call]),
        program(
            "hostile-references",
            &[define, define_interfaces, &[0x80 + 88, 0, 2, 0, 3, 0x80, 1, 0, 0, 1, 1, 1, 0], answer, exchange],
        ),
        program(
            "hostile-release",
            &[
                &[0x80],
                &[0x80 + 6, 0, 0x40, 0, 9],
                exchange,
                &[33, 0, 0, 5, 1],
                exchange,
                &[0x80 + 88, 7, 0, 1],
                lone,
                exchange,
            ],
        ),
        program(
            "hostile-reply",
            &[&[0x80 + 6, 0, 0, 9], exchange, &[0x80 + 88, 4, 0, 0, 0, 0], poll, &[33, 0, 0, 5, 1], exchange],
        ),
        program(
            "hostile-promises",
            &[
                &[6, 4, 0, 9],
                &[6, 3, 0, 9],
                &[6, 7, 0, 9],
                exchange,
                &[28, 0],
                &[28, 0],
                exchange,
                answer,
                exchange,
                poll,
            ],
        ),
        program("hostile-chunks", &[define, &[0x80 + 88, 11, 24, 8, 5, 0], &[0x80 + 88, 11, 57, 8, 6, 0], answer]),
        program("hostile-pull", &[&[0x80 + 88, 16, 8], call, call, answer]),
        program("hostile-garbled", &[giving, &[50, 0], &[118, 6, 0, 0x40], exchange]),
        program("hostile-twice", &[giving, &[50, 0], &[122, 1], &[122, 0], exchange]),
        program(
            "hostile-resumption",
            &[&[0], giving, exchange, &[76], &[79, 0xfd, 1], exchange, answer, exchange, poll],
        ),
        program("hostile-unexported", &[&[0], giving, exchange, &[75, 0], exchange, answer, exchange]),
        program("hostile-closing", &[lone, &[0x80 + 88, 14, 0], &[88, 15], exchange]),
    ]
}
