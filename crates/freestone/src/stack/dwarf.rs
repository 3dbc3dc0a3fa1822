//! Unwind tables: from the search table of `.eh_frame_hdr` to the frame description of a function, and through its
//! instructions to the rule for one place. As far as compilers use them for ordinary functions: the Linux Standard Base (`.eh_frame`)
//! and DWARF 5, section 6.4.
//!
//! # Safety
//!
//! U2 of `mod.rs`: the tables are the loader's and the compiler's work, and are mapped. They are read up to the length that
//! each description says it has.
#![allow(unsafe_code)]

use super::rules::{self, Base, Rule};

/// Bytes of a table.
#[derive(Clone, Copy)]
struct Reader {
    at: usize,
    end: usize,
}

impl Reader {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.end.checked_sub(self.at)? < N {
            return None;
        }
        let at = core::ptr::with_exposed_provenance::<[u8; N]>(self.at);
        self.at += N;
        // SAFETY: U2, within the bounds.
        Some(unsafe { at.read_unaligned() })
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }

    fn signed(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(if byte & 0x40 != 0 && shift < 64 { value | -1 << shift } else { value });
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(bytes as usize).filter(|&at| at <= self.end)?;
        Some(())
    }

    /// A pointer in one of the encodings `DW_EH_PE_…`. `data` is what data-relative ones count from.
    fn pointer(&mut self, encoding: u8, data: usize) -> Option<usize> {
        let here = self.at;
        let value = match encoding & 0x0f {
            0x0 | 0x4 | 0xc => self.u64()? as usize,
            0x1 => self.unsigned()? as usize,
            0x2 => self.u16()? as usize,
            0x3 => self.u32()? as usize,
            0x9 => self.signed()? as usize,
            0xa => self.u16()? as i16 as usize,
            0xb => self.u32()? as i32 as usize,
            _ => return None,
        };
        match encoding & 0x70 {
            0x00 => Some(value),
            0x10 => Some(value.wrapping_add(here)),
            0x30 => Some(value.wrapping_add(data)),
            _ => None,
        }
    }
}

/// The rule for code at `pc`, by the search table at `header`; `None` when the tables do not tell.
pub(super) fn rule(header: usize, pc: usize) -> Option<Rule> {
    let description = search(header, pc)?;
    describe(description, pc)
}

/// Finds the address of the description of the last function that begins at or below `pc`.
fn search(header: usize, pc: usize) -> Option<usize> {
    const SORTED: u8 = 0x3b; // relative to the header, four bytes each
    let mut reader = Reader { at: header, end: header + 64 };
    let [version, pointer, count, table] = reader.bytes::<4>()?;
    if version != 1 || table != SORTED {
        return None;
    }
    reader.pointer(pointer, header)?;
    let count = reader.pointer(count, header)?;
    let first = reader.at;
    let entry = |index: usize| {
        let at = first + 8 * index;
        let mut reader = Reader { at, end: at + 8 };
        let start = header.wrapping_add_signed(reader.u32()? as i32 as isize);
        Some((start, header.wrapping_add_signed(reader.u32()? as i32 as isize)))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if entry(middle)?.0 <= pc {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    entry(low.checked_sub(1)?).map(|(_, description)| description)
}

/// What the common part of descriptions says.
struct Common {
    code_align: u64,
    data_align: i64,
    pointer: u8,
    has_data: bool,
    is_signal: bool,
    instructions: Reader,
}

/// A description or its common part, from behind its length; and where it begins.
fn record(at: usize) -> Option<Reader> {
    let mut reader = Reader { at, end: at + 4 };
    let len = reader.u32()? as usize;
    // None ends the table; a longer length is for tables of 4 GiB.
    (len > 4 && len < 1 << 24).then_some(Reader { at: at + 4, end: at + 4 + len })
}

fn common(at: usize) -> Option<Common> {
    let mut reader = record(at)?;
    if reader.u32()? != 0 {
        return None;
    }
    let version = reader.u8()?;
    let augmentation = reader.at;
    while reader.u8()? != 0 {}
    let text = Reader { at: augmentation, end: reader.at - 1 };
    let code_align = reader.unsigned()?;
    let data_align = reader.signed()?;
    let return_address = if version == 1 { u64::from(reader.u8()?) } else { reader.unsigned()? };
    if !matches!(version, 1 | 3) || return_address != RETURN_ADDRESS {
        return None;
    }
    let mut found = Common {
        code_align,
        data_align,
        pointer: 0,
        has_data: false,
        is_signal: false,
        instructions: reader,
    };
    let mut letters = text;
    let mut behind = None;
    while let Some(letter) = letters.u8() {
        match letter {
            b'z' => {
                let len = reader.unsigned()?;
                let mut end = reader;
                end.skip(len)?;
                behind = Some(end.at);
                found.has_data = true;
            }
            b'R' => found.pointer = reader.u8()?,
            b'P' => {
                let encoding = reader.u8()?;
                reader.pointer(encoding, 0)?;
            }
            b'L' => {
                reader.u8()?;
            }
            b'S' => found.is_signal = true,
            _ => break,
        }
    }
    found.instructions = Reader { at: behind.unwrap_or(reader.at), end: reader.end };
    Some(found)
}

fn describe(at: usize, pc: usize) -> Option<Rule> {
    let mut reader = record(at)?;
    let here = reader.at;
    let distance = reader.u32()? as usize;
    if distance == 0 {
        return None;
    }
    let common = common(here.wrapping_sub(distance))?;
    let start = reader.pointer(common.pointer, 0)?;
    let len = reader.pointer(common.pointer & 0x0f, 0)?;
    if pc.wrapping_sub(start) >= len {
        return None;
    }
    if common.has_data {
        let len = reader.unsigned()?;
        reader.skip(len)?;
    }
    // Signal frames are described by expressions over the registers that the kernel saved.
    if common.is_signal {
        return Some(Rule::End);
    }
    let mut machine = Machine::new(&common, start, pc);
    machine.run(common.instructions)?;
    machine.initial = machine.row;
    machine.run(reader)?;
    Some(machine.row.rule())
}

const RBX: u64 = 3;
const RBP: u64 = 6;
const RSP: u64 = 7;
const RETURN_ADDRESS: u64 = 16;

/// The operation that adds to the frame pointer.
const BREG6: u8 = 0x76;
/// `Row::bp` of a frame pointer that was saved where the new one leads.
const AT_BP: i64 = 8 * rules::AT_BP as i64;

/// The state of the unwinding rules at one place.
#[derive(Clone, Copy)]
struct Row {
    base: Option<Base>,
    distance: i64,
    bp: i64,
    bx: i64,
    /// Where the return address lies; `None`: there is no caller.
    ra: Option<i64>,
}

impl Row {
    fn rule(self) -> Rule {
        let words = |bytes: i64| if bytes % 8 == 0 { i16::try_from(bytes / 8).ok() } else { None };
        match (self.base, i32::try_from(self.distance), words(self.bp), words(self.bx)) {
            (Some(base), Ok(distance), Some(bp), Some(bx))
                if self.ra == Some(-8) && distance.unsigned_abs() < 1 << 27 =>
            {
                Rule::Frame { base, distance, bp, bx }
            }
            _ => Rule::End,
        }
    }
}

/// Runs the instructions of a description up to a place.
struct Machine {
    code_align: u64,
    data_align: i64,
    pointer: u8,
    place: usize,
    pc: usize,
    row: Row,
    initial: Row,
    saved: [Row; 8],
    depth: usize,
}

impl Machine {
    fn new(common: &Common, start: usize, pc: usize) -> Machine {
        let row = Row { base: None, distance: 0, bp: 0, bx: 0, ra: Some(-8) };
        Machine {
            code_align: common.code_align,
            data_align: common.data_align,
            pointer: common.pointer,
            place: start,
            pc,
            row,
            initial: row,
            saved: [row; 8],
            depth: 0,
        }
    }

    fn set_base(&mut self, register: u64) {
        self.row.base = match register {
            RSP => Some(Base::Sp),
            RBP => Some(Base::Bp),
            RBX => Some(Base::Bx),
            _ => None,
        };
    }

    fn set_saved(&mut self, register: u64, distance: i64) {
        match register {
            RBP => self.row.bp = distance,
            RBX => self.row.bx = distance,
            RETURN_ADDRESS => self.row.ra = Some(distance),
            _ => {}
        }
    }

    fn restore(&mut self, register: u64) {
        match register {
            RBP => self.row.bp = self.initial.bp,
            RBX => self.row.bx = self.initial.bx,
            RETURN_ADDRESS => self.row.ra = self.initial.ra,
            _ => {}
        }
    }

    /// Runs until the instructions end or speak of code behind the place. `None`: one is not understood.
    fn run(&mut self, mut code: Reader) -> Option<()> {
        while code.at < code.end {
            let byte = code.u8()?;
            let operand = u64::from(byte & 0x3f);
            match byte >> 6 {
                1 => {
                    if self.advance(operand) {
                        return Some(());
                    }
                }
                2 => {
                    let distance = (code.unsigned()? as i64).wrapping_mul(self.data_align);
                    self.set_saved(operand, distance);
                }
                3 => self.restore(operand),
                _ => {
                    if self.extended(byte, &mut code)? {
                        return Some(());
                    }
                }
            }
        }
        Some(())
    }

    /// Goes on to code so many units further; true when that is behind the place.
    fn advance(&mut self, units: u64) -> bool {
        let next = self.place.wrapping_add(units.wrapping_mul(self.code_align) as usize);
        if next > self.pc {
            return true;
        }
        self.place = next;
        false
    }

    /// Instructions whose operands follow them; true when the place is passed.
    fn extended(&mut self, instruction: u8, code: &mut Reader) -> Option<bool> {
        match instruction {
            0x00 => {}
            0x01 => {
                let place = code.pointer(self.pointer, 0)?;
                if place > self.pc {
                    return Some(true);
                }
                self.place = place;
            }
            0x02 => return code.u8().map(|units| self.advance(units.into())),
            0x03 => return code.u16().map(|units| self.advance(units.into())),
            0x04 => return code.u32().map(|units| self.advance(units.into())),
            0x05 => {
                let register = code.unsigned()?;
                let distance = (code.unsigned()? as i64).wrapping_mul(self.data_align);
                self.set_saved(register, distance);
            }
            0x06 => {
                let register = code.unsigned()?;
                self.restore(register);
            }
            // Undefined: of the return address, the outermost frame.
            0x07 => {
                if code.unsigned()? == RETURN_ADDRESS {
                    self.row.ra = None;
                }
            }
            // The same value.
            0x08 => {
                let register = code.unsigned()?;
                self.set_saved(register, 0);
            }
            // In another register.
            0x09 => {
                code.unsigned()?;
                code.unsigned()?;
            }
            0x0a => {
                *self.saved.get_mut(self.depth)? = self.row;
                self.depth += 1;
            }
            0x0b => {
                self.depth = self.depth.checked_sub(1)?;
                self.row = self.saved[self.depth];
            }
            0x0c => {
                let register = code.unsigned()?;
                self.set_base(register);
                self.row.distance = code.unsigned()? as i64;
            }
            0x0d => {
                let register = code.unsigned()?;
                self.set_base(register);
            }
            0x0e => self.row.distance = code.unsigned()? as i64,
            0x0f => self.base_by_expression(code)?,
            0x10 => self.saved_by_expression(code)?,
            // A value by an expression.
            0x16 => {
                self.unknown_if_needed(code.unsigned()?);
                let len = code.unsigned()?;
                code.skip(len)?;
            }
            0x11 => {
                let register = code.unsigned()?;
                let distance = code.signed()?.wrapping_mul(self.data_align);
                self.set_saved(register, distance);
            }
            0x12 => {
                let register = code.unsigned()?;
                self.set_base(register);
                self.row.distance = code.signed()?.wrapping_mul(self.data_align);
            }
            0x13 => self.row.distance = code.signed()?.wrapping_mul(self.data_align),
            // The size of the arguments, for exceptions.
            0x2e => {
                code.unsigned()?;
            }
            _ => return None,
        }
        Some(false)
    }

    /// A register that was saved where an expression leads: to the frame pointer, in functions that align their stack.
    fn saved_by_expression(&mut self, code: &mut Reader) -> Option<()> {
        let register = code.unsigned()?;
        let len = code.unsigned()?;
        let expression = Reader { at: code.at, end: code.at.checked_add(len as usize)? };
        code.skip(len)?;
        let mut reader = expression;
        if register == RBP && reader.bytes::<2>() == Some([BREG6, 0]) && reader.at == reader.end {
            self.row.bp = AT_BP;
        } else {
            self.unknown_if_needed(register);
        }
        Some(())
    }

    /// Gives up where a register cannot be followed without which there is no caller.
    fn unknown_if_needed(&mut self, register: u64) {
        if matches!(register, RBP | RETURN_ADDRESS) {
            self.row.ra = None;
        }
    }

    /// `breg6 N; deref`, which functions use that align their stack; of others only the length matters.
    fn base_by_expression(&mut self, code: &mut Reader) -> Option<()> {
        const DEREF: u8 = 0x06;
        let len = code.unsigned()?;
        let mut expression = Reader { at: code.at, end: code.at.checked_add(len as usize)? };
        code.skip(len)?;
        self.row.base = None;
        if expression.u8() == Some(BREG6)
            && let Some(distance) = expression.signed()
            && expression.u8() == Some(DEREF)
            && expression.at == expression.end
        {
            self.row.base = Some(Base::AtBp);
            self.row.distance = distance;
        }
        Some(())
    }
}
