//! Rate limit for failed logins by client address. It never locks an account and slows down nobody else.

use crate::model::Stamp;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Failures in a row after which an address has to wait.
pub const BURST: i64 = 10;
/// Seconds after which one failure is forgotten.
pub const REFILL: i64 = 60;
/// Most addresses remembered, so that attackers cannot fill the memory with them.
const ADDRESSES: usize = 10_000;

/// Counts failed attempts by address: [`BURST`] at once, then one every [`REFILL`] seconds. An attempt counts when it
/// begins, so that simultaneous ones do not slip through, and is taken back if it does not fail.
///
/// The map has, for each address, the time in milliseconds at which all its failures are forgotten (GCRA).
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<Option<IpAddr>, i64>>);

impl Throttle {
    /// Admits an attempt, or returns how many seconds to wait.
    pub fn enter(&self, address: Option<IpAddr>, now: Stamp) -> Result<(), u64> {
        let now = now.millis();
        let mut clear = self.clear();
        if clear.len() >= ADDRESSES && !clear.contains_key(&address) {
            // An attacker with this many addresses gets one more guess; everybody else can still log in.
            let stalest = clear.iter().min_by_key(|(_, at)| **at).map(|(&key, _)| key);
            stalest.and_then(|key| clear.remove(&key));
        }
        let at = clear.entry(address).or_insert(now);
        // A time this far ahead was written before somebody set the clock back.
        if *at < now || *at > now + BURST * REFILL * 1000 {
            *at = now;
        }
        let wait = *at + REFILL * 1000 - now - BURST * REFILL * 1000;
        if wait > 0 {
            return Err(wait.unsigned_abs().div_ceil(1000));
        }
        *at += REFILL * 1000;
        Ok(())
    }

    /// Takes back an attempt that did not fail.
    pub fn forgive(&self, address: Option<IpAddr>, now: Stamp) {
        let mut clear = self.clear();
        let Some(at) = clear.get_mut(&address) else { return };
        *at -= REFILL * 1000;
        if *at <= now.millis() {
            clear.remove(&address);
        }
    }

    fn clear(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, i64>> {
        self.0.lock()
    }
}

/// What counts as one client: an IPv4 address, or the /64 that an IPv6 client has to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use crate::server::auth::throttle::*;

    #[test]
    fn successes_do_not_count_and_many_addresses_lock_out_nobody() {
        let throttle = Throttle::default();
        let now = Stamp::from_millis(1_000_000);
        let one = Some(network("2001:db8::1".parse().unwrap()));
        assert_eq!(one, Some(network("2001:db8::ffff:2".parse().unwrap())), "one client has a whole /64");
        for _ in 0..3 * BURST {
            throttle.enter(one, now).unwrap();
            throttle.forgive(one, now);
        }
        assert!(throttle.clear().is_empty());
        for i in 0..ADDRESSES {
            throttle.enter(Some(Ipv6Addr::from_bits((i as u128) << 64).into()), now).unwrap();
        }
        assert_eq!(throttle.enter(one, now), Ok(()));
        assert_eq!(throttle.clear().len(), ADDRESSES);
        for _ in 1..BURST {
            throttle.enter(one, now).unwrap();
        }
        assert_eq!(throttle.enter(one, now), Err(REFILL.unsigned_abs()));
        let set_back = Stamp::from_millis(0);
        assert_eq!(throttle.enter(one, set_back), Ok(()), "a clock set back locks out nobody");
    }

    #[test]
    fn a_guesser_gets_ten_tries_and_then_one_a_minute() {
        let throttle = Throttle::default();
        let begin = 1_000_000;
        let mut admitted = 0;
        for second in 0..15 * 60 {
            for _ in 0..3 {
                let now = Stamp::from_millis(begin + second * 1000);
                admitted += u32::from(throttle.enter(None, now).is_ok());
            }
        }
        assert_eq!(admitted, 10 + 14, "in a quarter of an hour");
    }
}
