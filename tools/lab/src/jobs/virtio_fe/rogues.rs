// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The devices of a machine that lie: processes of their own, which a recent QEMU has as vfio-user
//! devices.

use std::path::Path;

use anyhow::Result;
use fe_tests::plan::rogues::{slot, Lie, Rogue};

use crate::jobs::Lab;
use crate::qemu::MEMORY;
use crate::vfio_user::Server;

/// QEMU's machine, whose memory other processes can map.
pub(super) const MACHINE: &str = "q35,kernel-irqchip=off,memory-backend=ram";

/// Starts the processes of these devices, with this image for disks.
pub(super) fn start(
    lab: &Lab,
    rogues: &[Rogue],
    directory: &Path,
    image: &str,
) -> Result<Vec<Server>> {
    let start = |rogue: &Rogue| {
        let mut words = Vec::new();
        match rogue.lie {
            Lie::Disk => words.extend(["--image", image]),
            Lie::Noise => {}
            Lie::Only(wrong) => words.extend(["--wrong", wrong]),
        }
        if rogue.is_packed {
            words.push("--packed");
        }
        Server::start(
            &lab.places,
            directory,
            &socket(rogue),
            "shunt-rogue",
            &words,
        )
    };
    rogues.iter().map(start).collect()
}

fn socket(rogue: &Rogue) -> String {
    format!("{}.sock", rogue.name)
}

/// QEMU's arguments for them.
pub(super) fn arguments(rogues: &[Rogue], directory: &Path) -> Vec<String> {
    if rogues.is_empty() {
        return vec![];
    }
    let memory = format!("memory-backend-memfd,id=ram,size={MEMORY},share=on");
    let mut arguments = vec!["-object".to_owned(), memory];
    for (number, rogue) in rogues.iter().enumerate() {
        let path = directory.join(socket(rogue));
        let path = path.display().to_string();
        let device = serde_json::json!({
            "driver": "vfio-user-pci",
            "addr": format!("{:x}", slot(number)),
            "socket": { "path": path, "type": "unix" },
        });
        arguments.extend(["-device".to_owned(), device.to_string()]);
    }
    arguments
}
