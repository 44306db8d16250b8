//! How often a caller may call: one who calls without end is told to wait, and all others are answered as before.
//!
//! A caller is an address with the token that it shows, so that workers that share a token do not share a quota, and
//! neither do those that share an address and have tokens of their own.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use http::Extensions;
use tonic::Status;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::clock::Clock;

/// After so many calls, callers that were not heard of lately are forgotten.
const FORGET_EVERY: u64 = 10_000;

/// Who calls: its address, where the transport has one, and the name of its token, where it has shown a valid one.
type Caller = (Option<IpAddr>, Option<String>);

/// What callers may still do. Clones share it.
#[derive(Clone)]
pub struct Quotas(Arc<Inner>);

struct Inner {
    per_second: NonZeroU32,
    limiter: RateLimiter<Caller, HashMapStateStore<Caller>, Monotonic, NoOpMiddleware<Duration>>,
    calls: AtomicU64,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Quotas").field(&self.0.per_second).finish()
    }
}

/// Our clock, for the limiter.
#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.now()
    }
}

impl Quotas {
    /// So many calls of each caller in a second, and as many at once after a pause.
    #[must_use]
    pub fn new(per_second: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let limiter = RateLimiter::new(Quota::per_second(per_second), HashMapStateStore::default(), Monotonic(clock));
        Self(Arc::new(Inner { per_second, limiter, calls: AtomicU64::new(0) }))
    }

    /// Counts a call.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` where the caller has used up what it may.
    pub(crate) fn count(&self, extensions: &Extensions, token: Option<&str>) -> Result<(), Status> {
        let inner = &self.0;
        if inner.calls.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            inner.limiter.retain_recent();
        }
        let caller = (address(extensions), token.map(str::to_owned));
        inner.limiter.check_key(&caller).map_err(|_| {
            Status::resource_exhausted(format!(
                "more than {} calls in a second come from this address; call less often (or raise --calls-per-second)",
                inner.per_second
            ))
        })
    }
}

/// The other end of the connection.
fn address(extensions: &Extensions) -> Option<IpAddr> {
    let plain = extensions.get::<TcpConnectInfo>();
    let tls = || extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref);
    plain.or_else(tls).and_then(TcpConnectInfo::remote_addr).map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct ByHand(Mutex<Duration>);

    impl Clock for ByHand {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    fn from(address: [u8; 4]) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr: Some((address, 4000).into()) });
        extensions
    }

    #[test]
    fn who_calls_too_often_waits_and_nobody_else_does() {
        let clock = Arc::new(ByHand::default());
        let quotas = Quotas::new(NonZeroU32::new(10).unwrap(), clock.clone());
        let (flood, neighbour) = (from([10, 0, 0, 1]), from([10, 0, 0, 2]));
        let passed = (0..100).filter(|_| quotas.count(&flood, Some("fleet")).is_ok()).count();
        assert_eq!(passed, 10);
        let refusal = quotas.count(&flood, Some("fleet")).unwrap_err();
        assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
        assert!(refusal.message().contains("more than 10 calls"), "{}", refusal.message());
        // The same token at another address, another token at the same address, and none.
        quotas.count(&neighbour, Some("fleet")).unwrap();
        quotas.count(&flood, Some("ci")).unwrap();
        quotas.count(&flood, None).unwrap();
        // A tenth of a second is worth a tenth of the calls.
        *clock.0.lock().unwrap() += Duration::from_millis(100);
        quotas.count(&flood, Some("fleet")).unwrap();
        quotas.count(&flood, Some("fleet")).unwrap_err();
    }

    #[test]
    fn callers_that_come_once_are_forgotten() {
        let clock = Arc::new(ByHand::default());
        let quotas = Quotas::new(NonZeroU32::new(10).unwrap(), clock.clone());
        for number in 0..3 * FORGET_EVERY {
            *clock.0.lock().unwrap() += Duration::from_millis(10);
            let [_, _, a, b] = u32::try_from(number).unwrap().to_be_bytes();
            quotas.count(&from([10, 0, a, b]), None).unwrap();
        }
        assert!(quotas.0.limiter.len() <= usize::try_from(FORGET_EVERY).unwrap(), "{}", quotas.0.limiter.len());
    }
}
