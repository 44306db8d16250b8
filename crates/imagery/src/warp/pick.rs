//! Samples picked out of a short line, many at a time: what no loop makes of the compiler's own accord.

/// Samples that are picked at a time.
pub(super) const LANES: usize = 32;

/// Samples of a line, of which more may be there than are picked from.
pub(super) const LINE: usize = 128;

/// How a machine picks.
pub(super) trait Pick: Copy {
    /// Lanes whose samples come out of the same registers ...
    const GROUP: usize;
    /// ... which hold so many samples, from the first that any of them wants.
    const REACH: usize;

    /// `line[from[lane / GROUP] + at[lane]]`, each `at` below [`Self::REACH`], and all in the line with as many behind.
    fn pick(self, line: &[f32; LINE], from: &[usize; LANES], at: &[i32; LANES]) -> [f32; LANES];
}

/// Work that picks. No `from_fn` and no closure of more than a line in what it does for each lane: the compiler would make functions
/// of them, which know no wide registers.
pub(super) trait Picking {
    /// Does the work. To be marked `#[inline(always)]`, as all that it calls.
    fn run(self, pick: impl Pick);
}

/// Runs the work with the widest registers that this machine has.
pub(super) fn picking(work: impl Picking) {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(registers) => return registers.vectorize(With(work, registers)),
        pulp::Arch::V3(registers) => return registers.vectorize(With(work, registers)),
        _ => {}
    }
    work.run(OneByOne);
}

/// Work and what it picks with.
#[cfg(target_arch = "x86_64")]
struct With<W, P>(W, P);

#[cfg(target_arch = "x86_64")]
impl<W: Picking, P: Pick> pulp::NullaryFnOnce for With<W, P> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.0.run(self.1);
    }
}

/// Any machine.
#[derive(Clone, Copy)]
pub(super) struct OneByOne;

impl Pick for OneByOne {
    const GROUP: usize = LANES;
    const REACH: usize = LINE;

    #[inline(always)]
    fn pick(self, line: &[f32; LINE], from: &[usize; LANES], at: &[i32; LANES]) -> [f32; LANES] {
        let mut picked = [0.0; LANES];
        for (picked, &at) in picked.iter_mut().zip(at) {
            *picked = line[(from[0] + at as usize) % LINE];
        }
        picked
    }
}

/// `N` samples from `from` on.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn part<const N: usize>(line: &[f32; LINE], from: usize) -> [f32; N] {
    let mut part = [0.0; N];
    part.copy_from_slice(&line[from..from + N]);
    part
}

#[cfg(target_arch = "x86_64")]
impl Pick for pulp::x86::V4 {
    const GROUP: usize = 16;
    const REACH: usize = 32;

    #[inline(always)]
    fn pick(self, line: &[f32; LINE], from: &[usize; LANES], at: &[i32; LANES]) -> [f32; LANES] {
        let mut picked = [[0.0_f32; 16]; LANES / 16];
        for ((picked, at), &from) in picked.iter_mut().zip(at.as_chunks::<16>().0).zip(from) {
            let (low, high) = (pulp::cast(part::<16>(line, from)), pulp::cast(part::<16>(line, from + 16)));
            *picked = pulp::cast(self.avx512f._mm512_permutex2var_ps(low, pulp::cast(*at), high));
        }
        pulp::cast(picked)
    }
}

#[cfg(target_arch = "x86_64")]
impl Pick for pulp::x86::V3 {
    const GROUP: usize = 8;
    const REACH: usize = 16;

    #[inline(always)]
    fn pick(self, line: &[f32; LINE], from: &[usize; LANES], at: &[i32; LANES]) -> [f32; LANES] {
        let mut picked = [[0.0_f32; 8]; LANES / 8];
        for ((picked, at), &from) in picked.iter_mut().zip(at.as_chunks::<8>().0).zip(from) {
            let places = pulp::cast(*at);
            let low = self.avx2._mm256_permutevar8x32_ps(pulp::cast(part::<8>(line, from)), places);
            let high = self.avx2._mm256_permutevar8x32_ps(pulp::cast(part::<8>(line, from + 8)), places);
            // The sign of what is left when 8 is taken away says which of the two it is.
            let mut is_low = [0_i32; 8];
            for (is_low, at) in is_low.iter_mut().zip(at) {
                *is_low = at - 8;
            }
            *picked = pulp::cast(self.avx._mm256_blendv_ps(high, low, pulp::cast(is_low)));
        }
        pulp::cast(picked)
    }
}

/// Kinds of registers that tests try.
#[cfg(test)]
pub(super) const MACHINES: usize = 3;

/// Runs the work with one of them, as far as this machine has it.
#[cfg(test)]
pub(super) fn on_machine(machine: usize, work: impl Picking) {
    #[cfg(target_arch = "x86_64")]
    if let (1, Some(registers)) = (machine, pulp::x86::V3::try_new()) {
        return work.run(registers);
    }
    if machine == 2 { picking(work) } else { work.run(OneByOne) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks_what_is_there(pick: impl Pick) {
        fn group<P: Pick>(_: P) -> (usize, usize) {
            (P::GROUP, P::REACH)
        }
        let (group, reach) = group(pick);
        let line: [f32; LINE] = std::array::from_fn(|at| at as f32 + 0.5);
        for round in 0..50_usize {
            let from: [usize; LANES] = std::array::from_fn(|index| (index * 7 + round) % (LINE - reach + 1));
            let at: [i32; LANES] = std::array::from_fn(|lane| ((lane * 11 + round * 5) % reach) as i32);
            let picked = pick.pick(&line, &from, &at);
            for lane in 0..LANES {
                assert_eq!(picked[lane], line[from[lane / group] + at[lane] as usize], "round {round}, lane {lane}");
            }
        }
    }

    #[test]
    fn each_machine_picks_the_same() {
        struct Check;
        impl Picking for Check {
            fn run(self, pick: impl Pick) {
                picks_what_is_there(pick);
            }
        }
        (0..MACHINES).for_each(|machine| on_machine(machine, Check));
    }
}
