//! Caches that are numbered by CPU, on a part of the CPUs: those in use need not begin with the first, nor follow each other.
//!
//! # Safety
//!
//! Blocks are used only between their allocation and their one free. The call about CPUs gets a set and its size.
#![allow(unsafe_code)]
#![cfg(target_arch = "x86_64")]

use std::process::Command;

use freestone::raw;

/// Tells this program on which CPU it is to run.
const CPU: &str = "FREESTONE_TEST_CPU";

/// On one CPU: a small heap, whose blocks of many sizes come and go in numbers that a cache would hold if it might.
#[test]
fn on_one_cpu() {
    let Some(cpu) = std::env::var_os(CPU) else { return };
    let cpu = cpu.to_str().unwrap().parse().unwrap();
    // SAFETY: a set of CPUs is plain data.
    let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: within the set.
    unsafe { libc::CPU_SET(cpu, &mut cpus) };
    // SAFETY: a set and its size.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&cpus), &cpus) }, 0);
    for _ in 0..30 {
        for size in (1..40).map(|n| n * 64) {
            let blocks: Vec<*mut u8> = (0..(200 << 10) / size).map(|_| raw::malloc(size)).collect();
            for block in blocks {
                // SAFETY: live, freed once.
                unsafe { raw::free(block) };
            }
        }
    }
    let stats = freestone::stats();
    assert!(stats.refills > 0);
    freestone::verify().unwrap();
    println!("cached {}", stats.cached_bytes);
}

/// Bytes that lie in the cache at the end.
fn cached(cpu: usize, tunables: &str) -> usize {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "on_one_cpu", "--nocapture", "--test-threads=1"]).env(CPU, cpu.to_string());
    command.env("GLIBC_TUNABLES", tunables).env("FREESTONE_CONF", "background:0,harden:0");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let (_, bytes) = text.split_once("cached ").expect("a figure");
    bytes.lines().next().unwrap().parse().unwrap()
}

#[test]
fn all_caches_of_a_small_heap_share_a_part_of_it_wherever_they_are() {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let last = list.rsplit([',', '-']).next().unwrap().parse().unwrap();
    let by_id = cached(last, "");
    // The areas are our own then, and the caches are numbered by CPU.
    let by_cpu = cached(last, "glibc.pthread.rseq=0");
    assert!(by_id > 256 << 10, "{by_id}");
    assert!(by_cpu <= by_id + by_id / 8, "{by_cpu} where {by_id} would do");
}
