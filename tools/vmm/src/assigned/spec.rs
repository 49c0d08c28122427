// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The `--device` option.

use std::str::FromStr;

use crate::pairs::{BadSpec, Keys, Pairs};

/// What `--device` describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceSpec {
    /// What the kernel calls the device: domain, bus, device and function.
    pub(crate) name: String,
    /// How its interrupts come to the guest.
    pub(crate) delivery: Delivery,
}

/// How interrupts come to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// KVM injects them.
    Stock,
    /// Through the guest's own IDT, whenever that is possible.
    Exitless,
    /// The same, but the guest exits for each EOI.
    ExitlessDeliveryOnly,
}

const KEYS: Keys = Keys {
    all: &["vfio", "irq"],
    flags: &[],
};

impl FromStr for DeviceSpec {
    type Err = BadSpec;

    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let mut pairs = Pairs::parse(text, &KEYS)?;
        let name = pairs.take("vfio").ok_or(BadSpec::Missing("vfio"))?;
        let is_short = name.matches(':').count() == 1;
        let delivery = pairs.choose(
            "irq",
            Delivery::Stock,
            "stock, exitless, exitless-delivery-only",
            &[
                ("stock", Delivery::Stock),
                ("exitless", Delivery::Exitless),
                ("exitless-delivery-only", Delivery::ExitlessDeliveryOnly),
            ],
        )?;
        Ok(Self {
            name: if is_short {
                format!("0000:{name}")
            } else {
                name
            },
            delivery,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_and_a_delivery() {
        for (text, name, delivery) in [
            ("vfio=00:03.0", "0000:00:03.0", Delivery::Stock),
            (
                "irq=exitless,vfio=0001:00:03.0",
                "0001:00:03.0",
                Delivery::Exitless,
            ),
            (
                "vfio=00:03.0,irq=exitless-delivery-only",
                "0000:00:03.0",
                Delivery::ExitlessDeliveryOnly,
            ),
        ] {
            let name = name.to_owned();
            assert_eq!(text.parse(), Ok(DeviceSpec { name, delivery }), "{text}");
        }
    }

    #[test]
    fn errors_name_the_key_or_the_value() {
        for (text, want) in [
            ("irq=stock", "'vfio=' is missing"),
            ("vfio=00:03.0,irq=fast", "'irq' is one of stock, exitless,"),
            (
                "vfio=00:03.0,image=/i",
                "unknown key 'image'; there are vfio, irq",
            ),
        ] {
            let error = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
