//! How many connections an address may hold at the same time: one that opens them without end must not take the sockets of all
//! others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;

/// Counts the connections of each address. Clones count together.
#[derive(Clone, Debug)]
pub struct Door {
    most: Option<NonZeroU32>,
    inside: Arc<Mutex<HashMap<IpAddr, Inside>>>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: u32,
    /// Whether the log says that no more are let in.
    is_told: bool,
}

/// A connection that was let in; dropped, another may come.
#[derive(Debug)]
#[must_use = "dropped, the place is free"]
pub struct Place {
    of: Option<(Door, IpAddr)>,
}

impl Door {
    /// Lets in so many connections of an address at the same time, or any number.
    #[must_use]
    pub fn new(most: Option<NonZeroU32>) -> Self {
        Self { most, inside: Arc::default() }
    }

    /// Lets a connection in, where its address does not hold too many. One without an address is always let in.
    #[must_use]
    pub fn enter(&self, address: Option<IpAddr>) -> Option<Place> {
        let (Some(most), Some(address)) = (self.most, address) else { return Some(Place { of: None }) };
        // One machine may speak from two addresses, one of which is the other written longer.
        let address = address.to_canonical();
        let mut inside = self.lock();
        let held = inside.entry(address).or_default();
        if held.connections >= most.get() {
            if !std::mem::replace(&mut held.is_told, true) {
                tracing::warn!(%address, most, "an address holds too many connections: more are closed at once");
            }
            return None;
        }
        held.connections += 1;
        Some(Place { of: Some((self.clone(), address)) })
    }

    /// [`enter`](Self::enter) of a TCP connection.
    #[must_use]
    pub fn let_in(&self, connection: &TcpStream) -> Option<Place> {
        self.enter(connection.peer_addr().ok().map(|address| address.ip()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Inside>> {
        // Every change is complete before the lock is given back.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((door, address)) = self.of.take() else { return };
        let mut inside = door.lock();
        if let Some(held) = inside.get_mut(&address) {
            held.connections = held.connections.saturating_sub(1);
            if held.connections == 0 {
                inside.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_so_many_connections_and_others_theirs() {
        let door = Door::new(NonZeroU32::new(2));
        let [here, there] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut held: Vec<Place> = (0..2).filter_map(|_| door.enter(Some(here))).collect();
        assert_eq!(held.len(), 2);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(door.enter(Some(here)).is_none() && door.enter(Some(mapped)).is_none());
        assert!(door.enter(Some(there)).is_some() && door.enter(None).is_some());
        held.pop();
        assert!(door.enter(Some(mapped)).is_some());
        drop(held);
        assert!(door.lock().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn where_there_is_no_bound_all_are_let_in() {
        let door = Door::new(None);
        let held: Vec<_> = (0..10_000).map(|_| door.enter(Some([10, 0, 0, 1].into()))).collect();
        assert!(held.iter().all(Option::is_some));
    }
}
