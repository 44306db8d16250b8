//! Names that are different for each start of a process. They show in logs and lists, never in a result.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Host, process and something random: `node-7-4242-9f1c03aa`.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the environment is read in cli")]
pub fn process() -> String {
    let host = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname")).unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    let host: String = host.trim().chars().filter(plain).take(100).collect();
    let host = if host.is_empty() { "host" } else { &host };
    let random = RandomState::new().build_hasher().finish() >> 32;
    format!("{host}-{}-{random:08x}", std::process::id())
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_starts_have_the_same_name() {
        assert_ne!(super::process(), super::process());
    }
}
