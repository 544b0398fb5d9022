//! An interpreter for filters, with which tests predict the kernel's answers.

use super::bpf::{
    AT_ARCHITECTURE, AT_NUMBER, Instruction, JUMP_IF_ANY_BIT, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL,
    LENGTH_MAX, LOAD, RETURN, halves,
};

/// Returns the filter's answer to a system call.
pub(super) fn run(
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
