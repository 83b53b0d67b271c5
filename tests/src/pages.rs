//! Huge pages: a simulation of thousands of nodes walks through gigabytes at random, and a third of its time would go
//! into looking up where pages are.

/// Starts the process anew with an allocator that asks for huge pages, where that is to be had (glibc 2.35 and later on
/// Linux); changes nothing but speed. Returns where it is not, or in the new process.
pub fn ask_for_huge_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;
        const NAME: &str = "GLIBC_TUNABLES";
        if std::env::var_os(NAME).is_none()
            && let Ok(me) = std::env::current_exe()
        {
            // Only returns when it fails, and then this process does as well.
            let _ = std::process::Command::new(me)
                .args(std::env::args_os().skip(1))
                .env(NAME, "glibc.malloc.hugetlb=1")
                .exec();
        }
    }
}
