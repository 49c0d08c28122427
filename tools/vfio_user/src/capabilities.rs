// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the two ends tell each other with the first message, as JSON.

use serde::{Deserialize, Serialize};

use crate::request::{MAX_DATA, MAX_FDS};

/// Most memory mappings that this server keeps.
pub const MAX_DMA_MAPS: usize = 1024;

/// The pages that memory is mapped in.
pub const PAGE_SIZE: u64 = 4096;

/// What an end can do. Fields that this end does not know are ignored, those that are missing have
/// the protocol's default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Most descriptors that the sender takes with one message.
    pub max_msg_fds: usize,
    /// Most bytes of data of one message.
    pub max_data_xfer_size: u64,
    /// Most memory mappings at a time.
    pub max_dma_maps: u64,
    /// Page sizes of memory mappings, or'ed.
    pub pgsizes: u64,
    /// `VFIO_USER_REGION_WRITE_MULTI` works.
    pub write_multiple: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            max_msg_fds: 1,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: 65535,
            pgsizes: PAGE_SIZE,
            write_multiple: false,
        }
    }
}

/// The object around them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Message {
    capabilities: Capabilities,
}

impl Capabilities {
    /// This end's. A capability that the client did not name is not claimed.
    pub fn ours(client: &Self) -> Self {
        Self {
            max_msg_fds: MAX_FDS,
            max_data_xfer_size: MAX_DATA as u64,
            max_dma_maps: MAX_DMA_MAPS as u64,
            pgsizes: PAGE_SIZE,
            write_multiple: client.write_multiple,
        }
    }

    /// Reads the JSON of a version message; none at all stands for the defaults.
    ///
    /// # Errors
    ///
    /// It is no JSON, or has something else than a number where a number belongs.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(json).map(|message: Message| message.capabilities)
    }

    /// The JSON of a version message, with its terminating NUL.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let capabilities = self.clone();
        let mut json = serde_json::to_vec(&Message { capabilities })?;
        json.push(0);
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_says_is_understood() {
        let json = br#"{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535,
            "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}, "write_multiple": true}}"#;
        let expected = Capabilities {
            max_msg_fds: 16,
            write_multiple: true,
            ..Capabilities::default()
        };
        assert_eq!(Capabilities::from_json(json).unwrap(), expected);
    }

    #[test]
    fn what_is_missing_has_its_default() {
        for json in [&b""[..], b"{}", br#"{"capabilities": {}}"#] {
            let found = Capabilities::from_json(json).unwrap();
            assert_eq!(found, Capabilities::default());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let deep = "[".repeat(100_000);
        for json in [
            "{",
            "[]x",
            r#"{"capabilities": {"max_msg_fds": -1}}"#,
            r#"{"capabilities": {"max_msg_fds": "many"}}"#,
            &deep,
        ] {
            assert!(Capabilities::from_json(json.as_bytes()).is_err());
        }
    }

    #[test]
    fn our_own_can_be_read() {
        let ours = Capabilities::ours(&Capabilities::default());
        let json = ours.to_json().unwrap();
        let (nul, json) = json.split_last().unwrap();
        assert_eq!(*nul, 0);
        assert_eq!(Capabilities::from_json(json).unwrap(), ours);
    }
}
