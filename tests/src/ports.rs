//! Ports for servers. They lie below the range from which the system takes the ports of outgoing connections, so that a
//! port that is free now is free when its server starts, and when it starts again after a kill.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// The next place to look at; unset until the first call.
static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port that no other call in this process is given, free at the moment.
pub(crate) fn free() -> u16 {
    let mut next = NEXT.lock().unwrap();
    // Two test programs that run at the same time start at different places.
    let mut offset = next.unwrap_or_else(|| (std::process::id().wrapping_mul(397) % u32::from(COUNT)) as u16);
    for _ in 0..COUNT {
        let port = FIRST + offset;
        offset = (offset + 1) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            *next = Some(offset);
            return port;
        }
    }
    panic!("no free port");
}
