use super::*;

const SEED: fn() -> Seed = || Seed::new(3, 1);

fn window(bytes: &[u8], offset: u64) -> Window<'_> {
    Window { seed: SEED(), offset, bytes, to_end: true }
}

fn frames(bytes: &[u8], offset: u64) -> Result<Vec<Vec<u8>>, &'static str> {
    let (mut at, mut payloads) = (0, Vec::new());
    while let Next::Frame { payload, end } = window(bytes, offset).next(at)? {
        payloads.push(payload);
        at = end;
    }
    Ok(payloads)
}

/// Two small frames and a large one, then zeros.
fn journal(offset: u64) -> (Vec<u8>, [Vec<u8>; 3], usize) {
    let payloads = [vec![1; 5], Vec::new(), vec![0; 3000]];
    let mut bytes = Vec::new();
    let mut last = 0;
    for payload in &payloads {
        last = bytes.len();
        bytes.extend(encode(SEED(), offset + last as u64, payload));
    }
    bytes.resize(bytes.len() + 1000, 0);
    (bytes, payloads, last)
}

#[test]
fn frames_come_back_as_they_were_written() {
    for offset in [0, 512, 4096 + 32] {
        let (bytes, payloads, _) = journal(offset);
        assert_eq!(frames(&bytes, offset).unwrap(), payloads);
        assert_eq!(bytes.len() % 8, 0);
    }
}

#[test]
fn a_frame_cut_short_by_zeros_at_any_byte_is_no_damage() {
    let (bytes, payloads, last) = journal(512);
    for cut in last..bytes.len() {
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        let found = frames(&torn, 512).unwrap_or_else(|why| panic!("torn at {cut}: {why}"));
        assert!(found == payloads[..2] || found == payloads, "torn at {cut}");
    }
}

#[test]
fn a_frame_without_some_of_its_sectors_is_no_damage() {
    let (bytes, payloads, last) = journal(512);
    let sectors = (bytes.len() - last).div_ceil(512) + 1;
    for lost in 1..1u32 << sectors {
        let mut torn = bytes.clone();
        for (at, byte) in torn.iter_mut().enumerate().skip(last) {
            if lost & 1 << (at / 512 - last / 512) != 0 {
                *byte = 0;
            }
        }
        let found = frames(&torn, 512).unwrap_or_else(|why| panic!("without sectors {lost:b}: {why}"));
        assert!(found == payloads[..2] || found == payloads, "without sectors {lost:b}");
    }
}

#[test]
fn any_flipped_bit_in_a_frame_is_damage() {
    let (bytes, ..) = journal(512);
    let used = bytes.len() - 1000;
    for bit in 0..used * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(frames(&damaged, 512).is_err(), "bit {bit}");
    }
}

#[test]
fn a_lost_sector_before_the_last_frame_is_damage() {
    let mut bytes = Vec::new();
    for _ in 0..3 {
        let frame = encode(SEED(), bytes.len() as u64, &[7; 2000]);
        bytes.extend(frame);
    }
    let last = bytes.len() / 3 * 2;
    bytes.resize(bytes.len() + 600, 0);
    for sector in 0..last / 512 {
        let mut damaged = bytes.clone();
        damaged[sector * 512..(sector + 1) * 512].fill(0);
        assert!(frames(&damaged, 0).is_err(), "sector {sector}");
    }
}

#[test]
fn a_file_that_ends_without_a_zero_behind_its_last_frame_is_damage() {
    let (bytes, payloads, _) = journal(512);
    let used = bytes.len() - 1000;
    for kept in 0..used + 32 {
        assert!(frames(&bytes[..kept], 512).is_err(), "cut to {kept}");
    }
    assert_eq!(frames(&bytes[..used + 32], 512).unwrap(), payloads);
}

#[test]
fn a_frame_of_another_file_or_place_is_no_frame() {
    let (mut bytes, ..) = journal(512);
    assert!(frames(&bytes, 544).is_err());
    let foreign = encode(Seed::new(3, 2), 512, b"x");
    bytes[..foreign.len()].copy_from_slice(&foreign);
    assert!(frames(&bytes, 512).is_err());
}
