//! The `headcount` program: see `headcount --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    headcount::cli::run(std::env::args_os())
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
