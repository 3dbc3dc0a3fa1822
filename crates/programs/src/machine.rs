//! The machine that figures come from.

use serde_json::{Value, json};

/// Processor, memory, kernel and system, as far as they can be told.
pub fn describe() -> Value {
    let cpus = read("/proc/cpuinfo");
    let model = field(&cpus, "model name").or_else(|| field(&cpus, "CPU part")).unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    json!({
        "processor": model,
        "architecture": std::env::consts::ARCH,
        "cpus": std::thread::available_parallelism().map_or(0, |count| count.get()),
        "memory": memory,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "system": system.trim_matches('"'),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled").trim(),
    })
}

/// The description in one line, for the head of a table.
pub fn in_a_line(machine: &Value) -> String {
    let text = |key: &str| machine[key].as_str().unwrap_or_default().to_string();
    format!(
        "{} ({} CPUs), {}, Linux {}, {}",
        text("processor"),
        machine["cpus"],
        text("memory"),
        text("kernel"),
        text("system")
    )
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split(':').next().map(str::trim) == Some(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}
