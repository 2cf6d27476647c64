//! The fuzz targets of `fuzz/`, bounded: genuine inputs changed in every way that a fuzzer begins with, from fixed seeds.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

#[path = "../../fuzz/src/log.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzz targets, which are another crate")]
mod log;

use log::GENUINE;

/// Inputs for each target.
const INPUTS: usize = 4_000;

/// Runs a target on genuine inputs and on what mutations make of them.
fn attack(target: impl Fn(&[u8]), genuine: &[&[u8]]) {
    let mut random = ChaCha8Rng::seed_from_u64(0x0cc1_7a91);
    for input in genuine {
        target(input);
    }
    for number in 0..INPUTS {
        let mut input = genuine[number % genuine.len()].to_vec();
        for _ in 0..=random.next_u32() % 4 {
            mutate(&mut input, &mut random);
        }
        target(&input);
    }
}

fn mutate(input: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    const TOKENS: [&[u8]; 10] =
        [b"\n", b"\n\n", b"\xe2\x80\x94 ", b"=", b"0", b"18446744073709551616", b"\0", b"\xff", b"{", b"\"i\":\"1\""];
    let mut below = |most: usize| random.next_u32() as usize % most.max(1);
    let (at, kind) = (below(input.len()), below(7));
    match kind {
        _ if input.is_empty() => input.extend(TOKENS[below(TOKENS.len())]),
        0 => input[at] ^= 1 << below(8),
        1 => input[at] = u8::try_from(below(256)).unwrap(),
        2 => drop(input.remove(at)),
        3 => input.truncate(at),
        4 => drop(input.splice(at..at, TOKENS[below(TOKENS.len())].iter().copied())),
        5 => {
            let end = (at + below(80)).min(input.len());
            let copied = input[at..end].to_vec();
            let to = below(input.len());
            input.splice(to..to, copied);
        }
        _ => {
            let end = (at + below(80)).min(input.len());
            input.drain(at..end);
        }
    }
}

#[test]
fn no_bytes_make_a_note_of_somebody_else() {
    attack(log::note, &[GENUINE.checkpoint.as_bytes()]);
}

#[test]
fn no_bytes_make_a_checkpoint_or_key_with_a_second_text() {
    let key = b"hub.example/audit+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    attack(log::checkpoint, &[GENUINE.checkpoint.as_bytes(), key]);
}

#[test]
fn no_bytes_make_a_receipt_of_another_entry() {
    attack(log::proof, &[GENUINE.receipt.as_bytes()]);
}

#[test]
fn no_bytes_make_a_second_text_of_a_leaf() {
    let lines: Vec<&[u8]> = GENUINE.entries.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    attack(log::leaf, &lines);
}

#[test]
fn no_edits_make_another_export() {
    let mut random = ChaCha8Rng::seed_from_u64(0x0cc1_7a92);
    log::export(&[]);
    for number in 0..INPUTS {
        let mut edits = vec![0; 3 * (1 + number % 5)];
        random.fill_bytes(&mut edits);
        log::export(&edits);
    }
}
