//! Classic BPF, as much of it as a seccomp filter needs, assembled at compile time.

/// `struct sock_filter` (linux/filter.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

/// `BPF_LD | BPF_W | BPF_ABS`
pub(crate) const LOAD: u16 = 0x20;
/// `BPF_JMP | BPF_JEQ | BPF_K`
pub(crate) const JUMP_IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
pub(crate) const JUMP_IF_AT_LEAST: u16 = 0x35;
/// `BPF_JMP | BPF_JSET | BPF_K`
pub(crate) const JUMP_IF_ANY_BIT: u16 = 0x45;
/// `BPF_RET | BPF_K`
pub(crate) const RETURN: u16 = 0x06;

/// What a filter may return (seccomp(2)).
pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
/// What comes with it: an error number.
pub(crate) const DATA: u32 = 0xffff;

/// Where `struct seccomp_data` has the number and the architecture.
pub(crate) const AT_NUMBER: u32 = 0;
pub(crate) const AT_ARCHITECTURE: u32 = 4;

/// The two halves of an argument, the low one first.
pub(crate) fn halves(argument: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = argument.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Where `struct seccomp_data` has the low half of an argument; the high half follows.
pub(crate) const fn at_argument(index: u8) -> u32 {
    16 + 8 * index as u32
}

/// The most instructions of a filter here: jumps reach 255 instructions far.
pub(crate) const LENGTH_MAX: usize = 512;

/// A filter under assembly.
#[derive(Clone)]
pub(crate) struct Assembly {
    instructions: [Instruction; LENGTH_MAX],
    length: usize,
}

#[expect(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where an index out of bounds is a compile error"
)]
impl Assembly {
    pub(crate) const fn new() -> Self {
        let nothing = Instruction { code: RETURN, if_true: 0, if_false: 0, operand: KILL_PROCESS };
        Self { instructions: [nothing; LENGTH_MAX], length: 0 }
    }

    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    pub(crate) const fn push(&mut self, code: u16, if_true: u8, if_false: u8, operand: u32) {
        self.instructions[self.length] = Instruction { code, if_true, if_false, operand };
        self.length += 1;
    }

    /// Sets how far the jump at `index` goes if its condition holds, so that it goes to the next instruction.
    pub(crate) const fn land_here(&mut self, index: usize) {
        let distance = self.length - index - 1;
        assert!(distance <= u8::MAX as usize, "a jump is too long");
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        let distance = distance as u8;
        self.instructions[index].if_true = distance;
    }

    /// Puts another operand in the place of one that is compared with.
    pub(crate) fn replace(&mut self, hole: u32, operand: u32) {
        for instruction in &mut self.instructions {
            if instruction.code == JUMP_IF_EQUAL && instruction.operand == hole {
                instruction.operand = operand;
            }
        }
    }

    /// Puts another answer in the place of each that `change` gives one for.
    pub(crate) fn answer(&mut self, change: impl Fn(u32) -> Option<u32>) {
        for instruction in
            self.instructions.iter_mut().filter(|instruction| instruction.code == RETURN)
        {
            if let Some(answer) = change(instruction.operand) {
                instruction.operand = answer;
            }
        }
    }

    pub(crate) fn instructions(&self) -> &[Instruction] {
        self.instructions.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod machine {
    //! An interpreter, so that tests see what the kernel would do.

    use super::*;

    /// What a filter says of a system call.
    pub(crate) fn run(
        filter: &[Instruction],
        architecture: u32,
        number: u32,
        arguments: [u64; 6],
    ) -> u32 {
        let load = |at: u32| match at {
            AT_NUMBER => number,
            AT_ARCHITECTURE => architecture,
            at => {
                let argument = arguments[((at - 16) / 8) as usize];
                halves(argument)[(at % 8 / 4) as usize]
            }
        };
        let (mut at, mut accumulator) = (0, 0);
        for _ in 0..LENGTH_MAX {
            let Instruction { code, if_true, if_false, operand } = filter[at];
            let condition = match code {
                LOAD => {
                    accumulator = load(operand);
                    at += 1;
                    continue;
                }
                RETURN => return operand,
                JUMP_IF_EQUAL => accumulator == operand,
                JUMP_IF_AT_LEAST => accumulator >= operand,
                JUMP_IF_ANY_BIT => accumulator & operand != 0,
                other => panic!("unknown code {other:#x}"),
            };
            at += 1 + usize::from(if condition { if_true } else { if_false });
        }
        panic!("the filter does not end");
    }
}
