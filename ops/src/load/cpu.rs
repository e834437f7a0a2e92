//! How much of the machine a process has used, from the kernel's account of it.

use std::fs;
use std::time::Duration;

/// The kernel's unit of account in `/proc/<pid>/stat`: 100 to the second on every Linux that Rust's tier 1 covers.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time that a process has used so far, in user and kernel mode; nothing when it cannot be read.
pub(super) fn used(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((user + system) as f64 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_accounted_for() {
        let before = used(std::process::id()).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0u64;
        while used(std::process::id()).unwrap() < before + Duration::from_millis(50) {
            sum = sum.wrapping_mul(31).wrapping_add(1);
            assert!(started.elapsed() < Duration::from_secs(60), "no work is seen ({sum})");
        }
        assert_eq!(used(u32::MAX), None);
    }
}
