//! The part of classic BPF that a seccomp filter needs, assembled at compile time.

pub(super) use crate::agent::sys::Instruction;

/// `BPF_LD | BPF_W | BPF_ABS`
pub(super) const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`
pub(super) const RETURN: u16 = 0x06;

/// Answers of a filter (seccomp(2)).
pub(super) const ALLOW: u32 = 0x7fff_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
/// The part of an answer that contains an error number.
pub(super) const DATA: u32 = 0xffff;

/// Offsets of the number and the architecture in `struct seccomp_data`.
pub(super) const AT_NUMBER: u32 = 0;
pub(super) const AT_ARCHITECTURE: u32 = 4;

/// Returns the two halves of an argument, the low one first.
pub(super) fn halves(argument: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = argument.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Returns the offset of an argument's low half in `struct seccomp_data`. The high half follows.
pub(super) const fn at_argument(index: u8) -> u32 {
    16 + 8 * index as u32
}

/// The maximum number of instructions of a filter here. A jump reaches 255 instructions at most.
pub(super) const LENGTH_MAX: usize = 512;

/// A filter under assembly.
#[derive(Clone)]
pub(super) struct Assembly {
    instructions: [Instruction; LENGTH_MAX],
    length: usize,
}

#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
impl Assembly {
    pub(super) const fn new() -> Self {
        let nothing = Instruction { code: RETURN, if_true: 0, if_false: 0, operand: KILL_PROCESS };
        Self { instructions: [nothing; LENGTH_MAX], length: 0 }
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(super) const fn push(&mut self, code: u16, if_true: u8, if_false: u8, operand: u32) {
        self.instructions[self.length] = Instruction { code, if_true, if_false, operand };
        self.length += 1;
    }

    /// Makes the next instruction the destination of the jump at `index` if its condition holds.
    pub(super) const fn land_here(&mut self, index: usize) {
        let distance = self.length - index - 1;
        assert!(distance <= u8::MAX as usize, "a jump is too long");
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let distance = distance as u8;
        self.instructions[index].if_true = distance;
    }

    /// Replaces the operand `hole` of comparisons.
    pub(super) fn replace(&mut self, hole: u32, operand: u32) {
        for instruction in &mut self.instructions {
            if instruction.code == JUMP_IF_EQUAL && instruction.operand == hole {
                instruction.operand = operand;
            }
        }
    }

    /// Replaces each answer for which `change` returns another.
    pub(super) fn replace_answers(&mut self, change: impl Fn(u32) -> Option<u32>) {
        for instruction in
            self.instructions.iter_mut().filter(|instruction| instruction.code == RETURN)
        {
            if let Some(answer) = change(instruction.operand) {
                instruction.operand = answer;
            }
        }
    }

    pub(super) fn instructions(&self) -> &[Instruction] {
        self.instructions.get(..self.length).unwrap_or_default()
    }
}
