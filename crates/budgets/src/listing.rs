//! What was counted, as text: disassembled by `objdump`, if there is one.

use std::collections::HashMap;
use std::fmt::Write;
use std::process::Command;

use crate::count::Count;

/// The instructions of files that were asked about, by address.
#[derive(Default)]
pub struct Disassembler {
    files: HashMap<String, HashMap<u64, Instruction>>,
}

struct Instruction {
    function: String,
    text: String,
}

impl Disassembler {
    /// One line an instruction, and one where another function begins.
    pub fn list(&mut self, count: &Count) -> String {
        let instructions = self.files.entry(count.file.clone()).or_insert_with_key(|path| disassemble(path));
        let (mut listing, mut function) = (String::new(), "");
        for (number, step) in count.steps.iter().enumerate() {
            match instructions.get(step) {
                Some(instruction) => {
                    if instruction.function != function {
                        function = &instruction.function;
                        let _ = writeln!(listing, "        {function}:");
                    }
                    let _ = writeln!(listing, "    {:>3}  {step:6x}  {}", number + 1, instruction.text);
                }
                None => {
                    let _ = writeln!(listing, "    {:>3}  {step:6x}", number + 1);
                }
            }
        }
        if count.elsewhere > 0 {
            let _ = writeln!(listing, "         and {} in libc, not counted", count.elsewhere);
        }
        listing
    }
}

/// Empty where there is no `objdump`.
fn disassemble(path: &str) -> HashMap<u64, Instruction> {
    let mut command = Command::new("objdump");
    command.args(["-d", "-w", "-C", "-M", "intel", "--no-show-raw-insn", path]);
    command.output().map(|output| parse(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
}

fn parse(text: &str) -> HashMap<u64, Instruction> {
    let mut instructions = HashMap::new();
    let mut function = String::new();
    for line in text.lines() {
        if let Some((at, rest)) = line.trim_start().split_once(":\t") {
            if let Ok(at) = u64::from_str_radix(at, 16) {
                let text = rest.split_whitespace().collect::<Vec<_>>().join(" ");
                instructions.insert(at, Instruction { function: function.clone(), text });
            }
        } else if let Some((_, name)) = line.split_once(" <")
            && let Some(name) = name.strip_suffix(">:")
        {
            function = name.to_owned();
        }
    }
    instructions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objdumps_lines_are_read() {
        let text = "\n0000000000001210 <free>:\n    1210:\tmov    rax,rdi\n    1213:\tret\n";
        let instructions = parse(text);
        assert_eq!(instructions.len(), 2);
        let first = &instructions[&0x1210];
        assert_eq!((first.function.as_str(), first.text.as_str()), ("free", "mov rax,rdi"));
    }
}
