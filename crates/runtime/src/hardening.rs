//! What a process keeps from the rest of its machine. Called first thing in `main`, before there is a secret in memory.
//!
//! - No core dumps: `RLIMIT_CORE` is 0, soft and hard, for this process and all that it starts (setrlimit(2)).
//! - Not dumpable (`PR_SET_DUMPABLE`, prctl(2)): other processes of the same user can neither attach to it nor read its memory or its environment in `/proc`,
//!   which belong to root from then on; and where the system pipes core dumps to a program, which heeds no limit, none is made.

use nix::{
    errno::Errno,
    sys::{
        prctl::set_dumpable,
        resource::{Resource, setrlimit},
    },
};

/// Keeps this process's memory to itself.
///
/// # Errors
/// The system refuses: do not go on with secrets then.
pub fn harden() -> Result<(), HardeningError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(HardeningError)?;
    #[cfg(target_os = "linux")]
    set_dumpable(false).map_err(HardeningError)?;
    Ok(())
}

/// The process's memory would be open to others.
#[derive(Debug, thiserror::Error)]
#[error("the system does not let this process keep its memory to itself")]
pub struct HardeningError(#[source] Errno);

#[cfg(test)]
mod tests {
    use nix::sys::{prctl::get_dumpable, resource::getrlimit};

    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core_and_cannot_be_attached_to() {
        harden().expect("hardened");
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).expect("limit"), (0, 0));
        assert!(!get_dumpable().expect("asked"));
        setrlimit(Resource::RLIMIT_CORE, 0, 0).expect("as it is");
    }
}
