//! The upper tail of the χ² distribution in closed form.

/// `P(χ²_k > t)` for `k` degrees of freedom: the recurrence `Q(k + 2) = Q(k) + h^(k/2) e^(−h) / Γ(k/2 + 1)` with
/// `h = t / 2`, from `Q(1) = erfc(√h)` or `Q(2) = e^(−h)` (Abramowitz & Stegun 26.4.4, 26.4.5).
#[must_use]
pub fn upper_tail(degrees: usize, t: f64) -> f64 {
    if degrees == 0 {
        return 0.0;
    }
    if !(t > 0.0) {
        return 1.0;
    }
    let half = t / 2.0;
    let decay = libm::exp(-half);
    let (mut tail, mut term, mut order) = if degrees % 2 == 1 {
        // The term of order 1/2: √h e^(−h) / Γ(3/2).
        (libm::erfc(half.sqrt()), decay * half.sqrt() * 2.0 / core::f64::consts::PI.sqrt(), 1.5)
    } else {
        (decay, decay * half, 2.0)
    };
    let mut at = if degrees % 2 == 1 { 1 } else { 2 };
    while at < degrees {
        tail += term;
        term *= half / order;
        order += 1.0;
        at += 2;
    }
    tail.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::upper_tail;

    #[test]
    fn the_tail_agrees_with_scipy() {
        // scipy 1.17.1: scipy.stats.chi2.sf(t, k).
        let known = [
            (1, 1.0, 0.317_310_507_862_911_15),
            (2, 3.0, 0.223_130_160_148_429_82),
            (3, 0.5, 0.918_891_411_654_675_9),
            (3, 7.81, 0.050_106_056_350_005_89),
            (4, 13.3, 0.009_899_269_106_813_737),
            (6, 5.0, 0.543_813_115_883_332_7),
            (7, 30.0, 9.495_972_508_134_177e-05),
            (10, 40.0, 1.694_474_393_006_737e-05),
        ];
        for (degrees, t, expected) in known {
            let found = upper_tail(degrees, t);
            assert!((found - expected).abs() < 1e-6 * expected.max(1e-3), "chi2({degrees}) > {t}: {found} {expected}");
        }
    }

    #[test]
    fn the_tail_starts_at_one_falls_and_ends_at_nought() {
        for degrees in 1..=12 {
            assert_eq!(upper_tail(degrees, 0.0), 1.0);
            let tails: Vec<f64> = (0..4000).map(|step| upper_tail(degrees, f64::from(step) * 0.1)).collect();
            assert!(tails.is_sorted_by(|a, b| a >= b));
            assert!(upper_tail(degrees, 1e9) == 0.0);
        }
    }
}
