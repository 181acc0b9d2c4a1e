//! The program: arguments → one library call → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(firedrill::cli::main(std::env::args_os()))
}
