// SPDX-License-Identifier: GPL-2.0-only

//! The extension that a module implements, and its registration with KVM.

use crate::{
    ffi,
    io::Io,
    published::{
        Kvm,
        ReadSide, //
    },
    vcpu::VcpuData, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings::seq_file,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    prelude::*,
    seq_file::SeqFile,
    types::ForeignOwnable,
    uaccess::UserPtr, //
};

/// What becomes of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoOutcome {
    /// It is complete; the guest goes on.
    Completed,
    /// Userspace gets an exit for it.
    ToUserspace,
    /// A signal came. `KVM_RUN` returns `EINTR`, and the next one goes on with this very access.
    Interrupted,
}

/// What a module adds to VMs.
pub trait Extension: 'static {
    /// Name of the file in a VM's directory in debugfs that [`Self::show`] fills.
    const DEBUGFS: &'static CStr;

    /// State of an attached VM.
    type Vm: ForeignOwnable + Send + Sync;

    /// State of a vCPU between two calls for the same access.
    type Vcpu: Default + Send;

    /// The answer to `KVM_CHECK_EXTENSION`; 0 for a number that is not the extension's.
    fn check_extension(number: usize) -> u32;

    /// Whether a VM ioctl is the extension's.
    fn owns_ioctl(cmd: u32) -> bool;

    /// State of a VM that is being attached.
    fn create_vm(kvm: &Kvm<'_>) -> Result<Self::Vm>;

    /// Executes one of the ioctls that [`Self::owns_ioctl`] claims.
    fn ioctl(
        vm: <Self::Vm as ForeignOwnable>::Borrowed<'_>,
        kvm: &Kvm<'_>,
        cmd: u32,
        arg: UserPtr,
    ) -> Result<isize>;

    /// Handles MMIO on the spot, without sleeping, or refuses it: then [`Self::handle_io`] is
    /// called. Having refused, it has to refuse until then, as KVM also offers what follows in
    /// the same instruction.
    fn try_io(
        vm: <Self::Vm as ForeignOwnable>::Borrowed<'_>,
        vcpu: &mut Self::Vcpu,
        io: &mut Io<'_>,
        side: &ReadSide<'_>,
    ) -> bool;

    /// Handles a guest access. May sleep, with no lock held, if [`Io::may_wait`].
    fn handle_io(
        vm: <Self::Vm as ForeignOwnable>::Borrowed<'_>,
        vcpu: &mut Self::Vcpu,
        io: &mut Io<'_>,
    ) -> IoOutcome;

    /// Prints the state of a VM. May be called several times for one read, while others use
    /// the VM.
    fn show(vm: <Self::Vm as ForeignOwnable>::Borrowed<'_>, file: &SeqFile);
}

/// Keeps an extension registered.
///
/// # Invariants
///
/// `ops` is registered with KVM, and stays where it is until it no longer is.
pub struct Registration<E: Extension> {
    ops: KBox<ffi::KvmExtOps>,
    _extension: PhantomData<fn(E)>,
}

// SAFETY: The operations are immutable, and any thread may unregister them.
unsafe impl<E: Extension> Send for Registration<E> {}

// SAFETY: The operations are immutable.
unsafe impl<E: Extension> Sync for Registration<E> {}

impl<E: Extension> Registration<E> {
    /// Registers the extension. To be kept in the module's own state, so that it ends with the
    /// module's exit.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another extension is registered; `ENOMEM`.
    pub fn new(module: &'static ThisModule) -> Result<Self> {
        let ops = KBox::new(
            ffi::KvmExtOps {
                owner: module.as_ptr().cast(),
                check_extension: check_extension::<E>,
                owns_ioctl: owns_ioctl::<E>,
                vm_create: vm_create::<E>,
                vm_ioctl: vm_ioctl::<E>,
                vm_destroy: vm_destroy::<E>,
                vcpu_try_io: vcpu_try_io::<E>,
                vcpu_io: vcpu_io::<E>,
                vcpu_destroy: vcpu_destroy::<E>,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The operations stay valid and in place until `drop` unregisters them, and
        // each keeps the contract of `struct kvm_ext_ops`.
        to_result(unsafe { ffi::kvm_ext_register(&raw const *ops) })?;
        // INVARIANT: Just registered.
        Ok(Self {
            ops,
            _extension: PhantomData,
        })
    }
}

impl<E: Extension> Drop for Registration<E> {
    fn drop(&mut self) {
        // SAFETY: They are registered, by the type invariant. This is the module's exit, so no
        // VM is attached: each would hold a reference to the module.
        unsafe { ffi::kvm_ext_unregister(&raw const *self.ops) }
    }
}

/// # Safety
///
/// As `kvm_ext_ops.check_extension`; only KVM calls it.
unsafe extern "C" fn check_extension<E: Extension>(number: c_long) -> c_int {
    E::check_extension(number as usize) as c_int
}

/// # Safety
///
/// As `kvm_ext_ops.owns_ioctl`; only KVM calls it.
unsafe extern "C" fn owns_ioctl<E: Extension>(cmd: c_uint) -> bool {
    E::owns_ioctl(cmd)
}

/// # Safety
///
/// As `kvm_ext_ops.vm_create`; only KVM calls it.
unsafe extern "C" fn vm_create<E: Extension>(kvm: *mut ffi::Kvm) -> c_int {
    from_result(|| {
        // SAFETY: KVM holds a reference during this ioctl, which has not locked `srcu`.
        let vm = E::create_vm(&unsafe { kvm_of(kvm) }?)?;
        // SAFETY: `kvm` is valid, and nobody uses its data before this function returns.
        unsafe { ffi::shunt_set_vm_data(kvm, vm.into_foreign()) };
        // SAFETY: `kvm` is valid, and the name is a string.
        unsafe { ffi::shunt_vm_debugfs(kvm, E::DEBUGFS.as_char_ptr(), show::<E>) };
        Ok(0)
    })
}

/// # Safety
///
/// Only the file that `shunt_vm_debugfs` made calls it, before `vm_destroy`.
unsafe extern "C" fn show<E: Extension>(file: *mut seq_file, _: *mut c_void) -> c_int {
    // SAFETY: The file is valid, and this thread's.
    let (seq, kvm) = unsafe { (SeqFile::from_raw(file), (*file).private) };
    // SAFETY: `vm_create` set the data before it made the file, and KVM removes the file, which
    // waits for its readers, before it calls `vm_destroy`.
    let vm = unsafe { vm_of::<E>(ffi::shunt_vm_data(kvm.cast())) };
    E::show(vm, seq);
    0
}

/// # Safety
///
/// `data` must be that of an attached VM, which must not be destroyed during `'a`.
unsafe fn vm_of<'a, E: Extension>(data: *mut c_void) -> <E::Vm as ForeignOwnable>::Borrowed<'a> {
    // SAFETY: `vm_create` stored it, by the safety requirement, and only `vm_destroy` takes it
    // back.
    unsafe { E::Vm::borrow(data) }
}

/// # Safety
///
/// As `kvm_ext_ops.vm_ioctl`; only KVM calls it.
unsafe extern "C" fn vm_ioctl<E: Extension>(
    kvm: *mut ffi::Kvm,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: KVM calls this for attached VMs, and holds a reference to the VM meanwhile.
    let vm = unsafe { vm_of::<E>(ffi::shunt_vm_data(kvm)) };
    from_result(|| {
        // SAFETY: As above; an ioctl has not locked `srcu`.
        let kvm = unsafe { kvm_of(kvm) }?;
        E::ioctl(vm, &kvm, cmd, UserPtr::from_addr(arg))
    })
}

/// # Safety
///
/// As [`Kvm::new`].
unsafe fn kvm_of<'a>(kvm: *mut ffi::Kvm) -> Result<Kvm<'a>> {
    let kvm = NonNull::new(kvm).ok_or(EINVAL)?;
    // SAFETY: By the safety requirement.
    Ok(unsafe { Kvm::new(kvm) })
}

/// # Safety
///
/// As `kvm_ext_ops.vm_destroy`; only KVM calls it.
unsafe extern "C" fn vm_destroy<E: Extension>(kvm: *mut ffi::Kvm) {
    // SAFETY: `vm_create` stored it; KVM calls this once, as the VM's last user.
    drop(unsafe { E::Vm::from_foreign(ffi::shunt_vm_data(kvm)) });
}

/// # Safety
///
/// As `kvm_ext_ops.vcpu_try_io`; only KVM calls it.
unsafe extern "C" fn vcpu_try_io<E: Extension>(
    vcpu: *mut ffi::KvmVcpu,
    io: *const ffi::KvmExtIo,
) -> bool {
    // SAFETY: The vCPU is valid, its VM attached, and this function only called with its mutex
    // held.
    let Ok(data) = (unsafe { VcpuData::<E::Vcpu>::of(vcpu) }) else {
        return false;
    };
    // SAFETY: The vCPU is loaded by this thread; its VM is attached and outlives it.
    let vm = unsafe { vm_of::<E>(data.vm_data) };
    // SAFETY: KVM calls this with `srcu` held.
    let side = unsafe { ReadSide::new(data.kvm) };
    // SAFETY: These are the arguments of this call, and `io` is valid during it.
    let mut io = unsafe { Io::new(vcpu, data.index, &*io, false) };
    E::try_io(vm, &mut data.state, &mut io, &side)
}

/// # Safety
///
/// As `kvm_ext_ops.vcpu_io`; only KVM calls it.
unsafe extern "C" fn vcpu_io<E: Extension>(
    vcpu: *mut ffi::KvmVcpu,
    io: *const ffi::KvmExtIo,
    may_wait: bool,
) -> c_int {
    // SAFETY: The vCPU is valid, its VM attached, and this function only called with its mutex
    // held.
    let data = match unsafe { VcpuData::<E::Vcpu>::of(vcpu) } {
        Ok(data) => data,
        Err(e) => return e.to_errno(),
    };
    // SAFETY: The vCPU is loaded by this thread; its VM is attached and outlives it.
    let vm = unsafe { vm_of::<E>(data.vm_data) };
    // SAFETY: These are the arguments of this call, and `io` is valid during it.
    let mut io = unsafe { Io::new(vcpu, data.index, &*io, may_wait) };
    match E::handle_io(vm, &mut data.state, &mut io) {
        IoOutcome::Completed => 1,
        IoOutcome::ToUserspace => 0,
        IoOutcome::Interrupted => EINTR.to_errno(),
    }
}

/// # Safety
///
/// As `kvm_ext_ops.vcpu_destroy`; only KVM calls it.
unsafe extern "C" fn vcpu_destroy<E: Extension>(vcpu: *mut ffi::KvmVcpu) {
    // SAFETY: KVM calls this once, for a vCPU with data, as its last user.
    unsafe { VcpuData::<E::Vcpu>::free(vcpu) };
}
