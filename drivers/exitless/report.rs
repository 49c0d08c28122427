// SPDX-License-Identifier: GPL-2.0-only

//! What `/proc/PID/fdinfo` says of a file.

use crate::{
    session::Session,
    table::Entry,
    vcpus::Slot, //
};
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

/// Prints a line for each interrupt and for each vCPU.
pub(crate) fn show(session: &Session, file: &SeqFile) {
    let table = session.table.lock();
    for entry in &table.entries {
        show_interrupt(entry, file);
    }
    for slot in table.vcpus.iter() {
        show_vcpu(slot, file);
    }
}

fn show_interrupt(entry: &Entry, file: &SeqFile) {
    match &entry.state {
        Ok(place) => seq_print!(
            file,
            "gsi {}: vector {:#x} vcpu {} cpu {}\n",
            entry.gsi,
            place.vector.vector(),
            place.vcpu,
            place.cpu
        ),
        Err(refusal) => seq_print!(file, "gsi {}: {}\n", entry.gsi, refusal.words()),
    }
}

fn show_vcpu(slot: &Slot, file: &SeqFile) {
    let counters = &slot.vcpu.counters;
    seq_print!(
        file,
        "vcpu {}: direct {} ordinary {} host {} pending {} in-service {} software {} nmi {} overlong {}\n",
        slot.index,
        counters.direct.get(),
        counters.ordinary.get(),
        counters.to_host.get(),
        counters.pending.get(),
        counters.in_service.get(),
        counters.software.get(),
        counters.nmi.get(),
        counters.overlong.get()
    );
}
