//! Keeps the memory and the environment of this process from other processes of its user: they hold the keys of LMs and the passwords of
//! the services, and trainers run as the same user.

/// Makes the process undumpable. Its files in `/proc` belong to root from now on, no process of its user can trace it, and it leaves no
/// core dump. A program that it starts is not affected.
pub(super) fn become_undumpable() {
    // Only an unknown value could be refused.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
