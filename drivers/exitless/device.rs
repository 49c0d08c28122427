// SPDX-License-Identifier: GPL-2.0-only

//! `/dev/exitless`. An open file is a [`Session`]; closing it ends all that it has armed.

use crate::{
    argument,
    report,
    session::Session, //
};
use exitless_vectors::uapi;
use kernel::{
    fs::File,
    miscdevice::{
        MiscDevice,
        MiscDeviceRegistration, //
    },
    prelude::*,
    seq_file::SeqFile,
    sync::{
        Arc,
        ArcBorrow, //
    },
    uaccess::UserPtr,
};

/// The type of the device's files.
pub(crate) struct Exitless;

#[vtable]
impl MiscDevice for Exitless {
    type Ptr = Arc<Session>;

    fn open(_file: &File, _misc: &MiscDeviceRegistration<Self>) -> Result<Arc<Session>> {
        Session::new()
    }

    fn release(session: Arc<Session>, _file: &File) {
        session.close();
    }

    fn ioctl(session: ArcBorrow<'_, Session>, _file: &File, cmd: u32, arg: usize) -> Result<isize> {
        let arg = UserPtr::from_addr(arg);
        match cmd {
            uapi::EXITLESS_ATTACH => session.attach(argument::read(arg)?)?,
            uapi::EXITLESS_ARM => arm(&session, arg)?,
            uapi::EXITLESS_DISARM => session.disarm(argument::read(arg)?)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn show_fdinfo(session: ArcBorrow<'_, Session>, lines: &SeqFile, _file: &File) {
        report::show(&session, lines);
    }
}

/// `EXITLESS_ARM`. A refusal is `EOPNOTSUPP`; its number or the GSI goes to the caller.
fn arm(session: &ArcBorrow<'_, Session>, place: UserPtr) -> Result {
    let mut arg: uapi::ExitlessArm = argument::read(place)?;
    if arg.flags & !(uapi::EXITLESS_DELIVERY_ONLY | uapi::EXITLESS_UNWATCHED) != 0 {
        return Err(EINVAL);
    }
    let answer = session.arm(&arg)?;
    match answer {
        Ok(gsi) => arg.gsi = gsi,
        Err(refusal) => arg.refusal = refusal as u32,
    }
    argument::write(place, &arg)?;
    answer.map(drop).map_err(|_| EOPNOTSUPP)
}
