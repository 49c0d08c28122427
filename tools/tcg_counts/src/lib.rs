// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A plugin of QEMU's that counts the instructions of a guest with one CPU, by their addresses,
//! and device accesses, by the instructions that make them.
//!
//! A program in the guest says when: an instruction that does nothing begins a count, and another
//! one ends it (`fe_bench::mark`). Each count is appended to a file:
//!
//! ```text
//! instructions <address> <times>     all of user space has the address 0
//! accesses <address> <times>         to devices
//! end
//! ```
//!
//! Arguments: `out=<file>`, and `device=<first>-<last>`, once or more: the addresses, in
//! hexadecimal, of instructions that may access a device, beside those of modules.

mod qemu;

use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_char, c_int, c_uint, c_void, CStr};
use std::fs::File;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::ptr::{null_mut, slice_from_raw_parts_mut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use qemu::Number;

/// What the guest executes to begin and to end a count: `nopl` with these displacements.
const BEGIN: [u8; 7] = [0x0f, 0x1f, 0x80, b'S', b'h', b'n', b'1'];
const END: [u8; 7] = [0x0f, 0x1f, 0x80, b'S', b'h', b'n', b'2'];

/// Where the kernel begins, and its modules (`Documentation/arch/x86/x86_64/mm.rst`).
const KERNEL: u64 = 0xffff_8000_0000_0000;
const MODULES: u64 = 0xffff_ffff_a000_0000;

/// How many addresses there can be.
const SLOTS: usize = 1 << 20;

/// Of what runs in user space.
const USER: u64 = 0;

/// The interface of QEMU's that this was made for.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = qemu::VERSION;

static COUNTS: OnceLock<Mutex<Counts>> = OnceLock::new();

struct Counts {
    scoreboard: Scoreboard,
    /// The place in the scoreboard of each address.
    slots: HashMap<u64, usize>,
    accesses: BTreeMap<u64, u64>,
    devices: Vec<RangeInclusive<u64>>,
    out: File,
}

/// Numbers of QEMU's, [`SLOTS`] for each CPU.
struct Scoreboard(*mut c_void);

// SAFETY: QEMU's functions for it may be called by any thread.
unsafe impl Send for Scoreboard {}

impl Scoreboard {
    fn number(&self, slot: usize) -> Number {
        Number {
            scoreboard: self.0,
            offset: slot * size_of::<u64>(),
        }
    }

    /// The numbers of the only CPU, which is the caller's.
    fn numbers(&mut self) -> &mut [u64] {
        // SAFETY: So many were asked for, and the CPU that changes them is here.
        unsafe {
            &mut *slice_from_raw_parts_mut(qemu::qemu_plugin_scoreboard_find(self.0, 0), SLOTS)
        }
    }
}

impl Counts {
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut devices, mut out) = (Vec::new(), None);
        for argument in arguments {
            match argument.split_once('=') {
                Some(("out", path)) => {
                    out = Some(File::create(path).map_err(|error| format!("{path}: {error}"))?);
                }
                Some(("device", text)) => devices.push(range(text).ok_or(argument)?),
                _ => return Err(argument),
            }
        }
        Ok(Self {
            // SAFETY: It only allocates.
            scoreboard: Scoreboard(unsafe {
                qemu::qemu_plugin_scoreboard_new(SLOTS * size_of::<u64>())
            }),
            slots: HashMap::new(),
            accesses: BTreeMap::new(),
            devices,
            out: out.ok_or("out= is missing")?,
        })
    }

    fn slot(&mut self, address: u64) -> usize {
        let next = self.slots.len();
        let slot = *self.slots.entry(address).or_insert(next);
        assert!(slot < SLOTS, "too many addresses");
        slot
    }

    fn may_access_devices(&self, address: u64) -> bool {
        address >= MODULES || self.devices.iter().any(|range| range.contains(&address))
    }

    fn begin(&mut self) {
        self.scoreboard.numbers().fill(0);
        self.accesses.clear();
    }

    fn end(&mut self) -> io::Result<()> {
        let mut out = io::BufWriter::new(&self.out);
        let numbers = self.scoreboard.numbers();
        for (address, slot) in &self.slots {
            let times = numbers[*slot];
            if times > 0 {
                writeln!(out, "instructions {address:x} {times}")?;
            }
        }
        for (address, times) in &self.accesses {
            writeln!(out, "accesses {address:x} {times}")?;
        }
        writeln!(out, "end")?;
        out.flush()
    }
}

fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once('-')?;
    let parse = |text| u64::from_str_radix(text, 16).ok();
    Some(parse(first)?..=parse(last)?)
}

fn counts() -> MutexGuard<'static, Counts> {
    let counts = COUNTS
        .get()
        .expect("QEMU calls back after it has installed us");
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// QEMU calls it first.
///
/// # Safety
///
/// `words` are `number` strings.
#[no_mangle]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _info: *const c_void,
    number: c_int,
    words: *const *const c_char,
) -> c_int {
    let word = |index| {
        // SAFETY: As the caller promises.
        let word = unsafe { CStr::from_ptr(*words.add(index)) };
        word.to_string_lossy().into_owned()
    };
    match Counts::from_arguments((0..number as usize).map(word)) {
        Ok(counts) => {
            COUNTS.get_or_init(|| Mutex::new(counts));
            // SAFETY: It is the plugin's own id.
            unsafe { qemu::qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated) };
            0
        }
        Err(error) => {
            eprintln!("tcg_counts: {error}");
            1
        }
    }
}

/// QEMU has translated a block of instructions.
unsafe extern "C" fn translated(_plugin: u64, block: *mut c_void) {
    let mut counts = counts();
    // SAFETY: The block and its instructions are there during the call.
    unsafe {
        for index in 0..qemu::qemu_plugin_tb_n_insns(block) {
            instrument(&mut counts, qemu::qemu_plugin_tb_get_insn(block, index));
        }
    }
}

/// # Safety
///
/// `instruction` is one of a block that is being translated.
unsafe fn instrument(counts: &mut Counts, instruction: *mut c_void) {
    // SAFETY: As the caller promises; there is room for so many bytes.
    let (address, bytes) = unsafe {
        let mut bytes = [0u8; BEGIN.len()];
        qemu::qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len());
        (qemu::qemu_plugin_insn_vaddr(instruction), bytes)
    };
    let is_kernel = address >= KERNEL;
    let slot = counts.slot(if is_kernel { address } else { USER });
    let number = counts.scoreboard.number(slot);
    // SAFETY: The number is inside of the scoreboard; the functions fit what they are called for.
    unsafe {
        qemu::qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
            instruction,
            qemu::INLINE_ADD,
            number,
            1,
        );
        if is_kernel && counts.may_access_devices(address) {
            qemu::qemu_plugin_register_vcpu_mem_cb(
                instruction,
                accessed,
                qemu::NO_REGISTERS,
                qemu::READS_AND_WRITES,
                address as *mut c_void,
            );
        }
        let call = match bytes {
            BEGIN => begun as qemu::Executed,
            END => ended,
            _ => return,
        };
        qemu::qemu_plugin_register_vcpu_insn_exec_cb(
            instruction,
            call,
            qemu::NO_REGISTERS,
            null_mut(),
        );
    }
}

/// The instruction at `data` has accessed memory or a device.
unsafe extern "C" fn accessed(_cpu: c_uint, access: u32, address: u64, data: *mut c_void) {
    // SAFETY: This is the call for that access.
    let is_device = unsafe {
        let place = qemu::qemu_plugin_get_hwaddr(access, address);
        !place.is_null() && qemu::qemu_plugin_hwaddr_is_io(place)
    };
    if is_device {
        *counts().accesses.entry(data as u64).or_default() += 1;
    }
}

unsafe extern "C" fn begun(_cpu: c_uint, _data: *mut c_void) {
    counts().begin();
}

unsafe extern "C" fn ended(_cpu: c_uint, _data: *mut c_void) {
    if let Err(error) = counts().end() {
        eprintln!("tcg_counts: {error}");
    }
}
