//! Processor time and memory of a process, as the kernel counts them.

use std::fs;
use std::time::Duration;

/// The time that all threads of a process have run so far. Threads that ended meanwhile are missing: measure programs
/// whose threads stay.
pub(crate) fn used(pid: i32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.flatten().filter_map(of_task).sum())
}

/// The memory of a process that is in use, in MiB.
pub(crate) fn resident_mib(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = used(own);
        let mut sum = 0_u64;
        while used(own) == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(used(own) > before);
        assert!(resident_mib(own) > 0.1);
    }
}
