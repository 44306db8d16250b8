//! Universal Transverse Mercator on WGS 84, by Krüger's series to the sixth order (Karney 2011, eqs. 7–15, 35): good to
//! nanometres within a zone and to millimetres in the zones beside it.
//!
//! The simulator has its own so that the truth it writes does not come from the code that a survey is read with.

use libm::{asinh, atan, atan2, atanh, cos, cosh, floor, hypot, sin, sinh, sqrt, tan};

const A: f64 = 6_378_137.0;
const F: f64 = 1.0 / 298.257_223_563;
const K0: f64 = 0.9996;
const N: f64 = F / (2.0 - F);

/// Coefficients of the forward series.
const ALPHA: [f64; 6] = [
    N / 2.0 - 2.0 / 3.0 * N * N + 5.0 / 16.0 * N * N * N + 41.0 / 180.0 * N4 - 127.0 / 288.0 * N5
        + 7891.0 / 37800.0 * N6,
    13.0 / 48.0 * N * N - 3.0 / 5.0 * N * N * N + 557.0 / 1440.0 * N4 + 281.0 / 630.0 * N5
        - 1_983_433.0 / 1_935_360.0 * N6,
    61.0 / 240.0 * N * N * N - 103.0 / 140.0 * N4 + 15061.0 / 26880.0 * N5 + 167_603.0 / 181_440.0 * N6,
    49561.0 / 161_280.0 * N4 - 179.0 / 168.0 * N5 + 6_601_661.0 / 7_257_600.0 * N6,
    34729.0 / 80640.0 * N5 - 3_418_889.0 / 1_995_840.0 * N6,
    212_378_941.0 / 319_334_400.0 * N6,
];
/// Coefficients of the inverse series.
const BETA: [f64; 6] = [
    N / 2.0 - 2.0 / 3.0 * N * N + 37.0 / 96.0 * N * N * N - N4 / 360.0 - 81.0 / 512.0 * N5 + 96199.0 / 604_800.0 * N6,
    N * N / 48.0 + N * N * N / 15.0 - 437.0 / 1440.0 * N4 + 46.0 / 105.0 * N5 - 1_118_711.0 / 3_870_720.0 * N6,
    17.0 / 480.0 * N * N * N - 37.0 / 840.0 * N4 - 209.0 / 4480.0 * N5 + 5569.0 / 90720.0 * N6,
    4397.0 / 161_280.0 * N4 - 11.0 / 504.0 * N5 - 830_251.0 / 7_257_600.0 * N6,
    4583.0 / 161_280.0 * N5 - 108_847.0 / 3_991_680.0 * N6,
    20_648_693.0 / 638_668_800.0 * N6,
];
const N4: f64 = N * N * N * N;
const N5: f64 = N4 * N;
const N6: f64 = N5 * N;

/// A zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    /// 1 to 60.
    pub number: u8,
    /// Whether it is a zone of the southern hemisphere.
    pub south: bool,
}

impl Zone {
    /// The zone of a place, without the exceptions around Norway.
    #[must_use]
    pub fn of(lon: f64, lat: f64) -> Self {
        let number = (floor((lon + 180.0) / 6.0) as i64).rem_euclid(60) as u8 + 1;
        Self { number, south: lat < 0.0 }
    }

    /// The zone to the east.
    #[must_use]
    pub fn east(self) -> Self {
        Self { number: self.number % 60 + 1, ..self }
    }

    /// Its EPSG code.
    #[must_use]
    pub fn epsg(self) -> u16 {
        if self.south { 32700 + u16::from(self.number) } else { 32600 + u16::from(self.number) }
    }

    fn central_meridian(self) -> f64 {
        f64::from(self.number) * 6.0 - 183.0
    }

    fn false_northing(self) -> f64 {
        if self.south { 10_000_000.0 } else { 0.0 }
    }

    /// Easting and northing, metres, of longitude and latitude, degrees.
    #[must_use]
    pub fn forward(self, lon: f64, lat: f64) -> (f64, f64) {
        let mut dlon = lon - self.central_meridian();
        dlon -= 360.0 * floor((dlon + 180.0) / 360.0);
        let (lambda, phi) = (dlon.to_radians(), lat.to_radians());
        let e = sqrt(F * (2.0 - F));
        let tau = tan(phi);
        let sigma = sinh(e * atanh(e * tau / sqrt(1.0 + tau * tau)));
        let conformal = tau * sqrt(1.0 + sigma * sigma) - sigma * sqrt(1.0 + tau * tau);
        let xi = atan2(conformal, cos(lambda));
        let eta = asinh(sin(lambda) / hypot(conformal, cos(lambda)));
        let (mut x, mut y) = (eta, xi);
        for (index, alpha) in ALPHA.iter().enumerate() {
            let order = 2.0 * (index as f64 + 1.0);
            y += alpha * sin(order * xi) * cosh(order * eta);
            x += alpha * cos(order * xi) * sinh(order * eta);
        }
        let radius = K0 * rectifying_radius();
        (500_000.0 + radius * x, self.false_northing() + radius * y)
    }

    /// Longitude and latitude, degrees, of easting and northing, metres.
    #[must_use]
    pub fn inverse(self, easting: f64, northing: f64) -> (f64, f64) {
        let radius = K0 * rectifying_radius();
        let (eta, xi) = ((easting - 500_000.0) / radius, (northing - self.false_northing()) / radius);
        let (mut x, mut y) = (eta, xi);
        for (index, beta) in BETA.iter().enumerate() {
            let order = 2.0 * (index as f64 + 1.0);
            y -= beta * sin(order * xi) * cosh(order * eta);
            x -= beta * cos(order * xi) * sinh(order * eta);
        }
        let conformal = sin(y) / hypot(sinh(x), cos(y));
        let lambda = atan2(sinh(x), cos(y));
        // Newton's method for tan φ (Karney 2011, eqs. 19–21).
        let e2 = F * (2.0 - F);
        let e = sqrt(e2);
        let mut tau = conformal;
        for _ in 0..5 {
            let sigma = sinh(e * atanh(e * tau / sqrt(1.0 + tau * tau)));
            let here = tau * sqrt(1.0 + sigma * sigma) - sigma * sqrt(1.0 + tau * tau);
            tau += (conformal - here) / sqrt(1.0 + here * here) * (1.0 + (1.0 - e2) * tau * tau)
                / ((1.0 - e2) * sqrt(1.0 + tau * tau));
        }
        let mut lon = self.central_meridian() + lambda.to_degrees();
        lon -= 360.0 * floor((lon + 180.0) / 360.0);
        (lon, atan(tau).to_degrees())
    }
}

fn rectifying_radius() -> f64 {
    A / (1.0 + N) * (1.0 + N * N / 4.0 + N4 / 64.0 + N6 / 256.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utm_agrees_with_proj() {
        // rasterio.warp.transform("EPSG:4326", "EPSG:<epsg>", [lon], [lat]) with PROJ 9.
        for (lon, lat, epsg, x, y) in PROJ {
            let zone = Zone { number: (epsg % 100) as u8, south: epsg > 32700 };
            assert_eq!(zone.epsg(), epsg);
            let (east, north) = zone.forward(lon, lat);
            assert!((east - x).abs() < 1e-4 && (north - y).abs() < 1e-4, "{epsg}: {east} {north}");
            let (back_lon, back_lat) = zone.inverse(east, north);
            assert!((back_lon - lon).abs() < 1e-10 && (back_lat - lat).abs() < 1e-10);
        }
    }

    const PROJ: [(f64, f64, u16, f64, f64); 4] = [
        (129.61511, 41.57654, 32652, 551278.410161509, 4602944.353742749),
        (126.1, 38.0, 32651, 772204.1443717023, 4210351.148026746),
        (-64.9, -22.3, 32720, 304269.8512712145, 7532734.868911454),
        (-151.2, 63.7, 32605, 588975.7266242695, 7064838.132601687),
    ];

    #[test]
    fn a_place_has_its_zone() {
        assert_eq!(Zone::of(129.6, 41.5).epsg(), 32652);
        assert_eq!(Zone::of(-180.0, -16.0).epsg(), 32701);
        assert_eq!(Zone::of(180.0, 51.0).number, 1);
        assert_eq!(Zone { number: 60, south: false }.east().number, 1);
    }
}
