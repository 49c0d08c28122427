// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The smallest device process: a register file that adds.
//!
//! ```text
//! offset 0   write  add the value       read  the sum
//! offset 8   write  the sum becomes it  read  how many values make up the sum
//! ```
//!
//! Run it as `adder SOCKET`, where a VMM listens at the socket. Any width of access works.

use std::path::PathBuf;
use std::process::ExitCode;

use shunt::device::Device;
use shunt::serve::serve;
use shunt::session::Session;
use shunt::Width;

const VALUE: u64 = 0;
const CONTROL: u64 = 8;

#[derive(Debug, Default)]
struct Adder {
    sum: u64,
    count: u64,
}

impl Device for Adder {
    fn read(&mut self, offset: u64, _: Width) -> u64 {
        match offset {
            VALUE => self.sum,
            CONTROL => self.count,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _: Width, value: u64) {
        match offset {
            VALUE => {
                self.sum = self.sum.wrapping_add(value);
                self.count += 1;
            }
            CONTROL => {
                *self = Self {
                    sum: value,
                    count: 0,
                }
            }
            _ => {}
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: adder SOCKET")?;
    let session = Session::connect(&path)?;
    Ok(serve(session, &mut Adder::default())?)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("adder: {e}");
            ExitCode::FAILURE
        }
    }
}
