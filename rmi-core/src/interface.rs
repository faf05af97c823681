//! Remote interfaces at run time: their names, their methods, and what `#[remote]` implements.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::{
    id::{Fingerprint, InterfaceId, MethodId, fnv1a64},
    object::InterfaceSet,
    pipeline::Pipelined,
    skeleton::{Handler, IncomingCall},
    stub::Stub,
};

/// What `#[remote]` implements for `dyn Trait`: all that the runtime asks of an interface.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a remote interface",
    label = "not a remote interface",
    note = "put #[rmi::remote] on the trait; the supertraits of a remote interface must be remote interfaces too"
)]
pub trait Interface: Send + Sync + 'static {
    /// The interface's name, methods and bases.
    fn descriptor() -> &'static InterfaceDescriptor;

    /// The stub as an object of this interface.
    fn from_stub(stub: Arc<Stub>) -> Arc<Self>;

    /// Starts the method that is called on `target`.
    ///
    /// # Errors
    /// Gives the call back where neither this interface nor a base of it has the method.
    #[expect(clippy::result_large_err, reason = "the call is given back to be tried elsewhere: no error")]
    fn dispatch(target: Arc<Self>, call: IncomingCall) -> Result<Handler, IncomingCall>;

    /// The methods of the interface on a result that has not arrived, and those of its bases, and `Rest`.
    type Pipelined<Rest: Pipelined>: Pipelined;

    /// The same object as another of its interfaces: an `Arc<dyn Wanted>` in the box, where
    /// `wanted` is the type id of `dyn Wanted`, this interface or a base of it.
    fn cast(target: Arc<Self>, wanted: TypeId) -> Option<Box<dyn Any + Send>>;
}

/// `dyn Account: ImplementedBy<T>` holds for every `T: Account`, thus for the interfaces derived
/// from it too.
#[diagnostic::on_unimplemented(
    message = "`{T}` does not implement the remote interface `{Self}`",
    label = "not a `{Self}`",
    note = "put #[rmi::remote] on the trait, and on its implementation for `{T}`"
)]
pub trait ImplementedBy<T: ?Sized>: Interface {
    /// A local object as an object of this interface.
    fn wrap(object: T) -> Arc<Self>
    where
        T: Sized;
}

/// The name of an interface: `crate.Trait`, or the text given by `#[remote(name = "..")]`.
///
/// ```
/// use rmi_core::interface::InterfaceName;
/// assert_eq!(InterfaceName::derived("bank::accounts", "Account").to_string(), "bank.Account");
/// assert_eq!(InterfaceName::explicit("com.example.Account").to_string(), "com.example.Account");
/// ```
#[derive(Clone, Copy)]
pub struct InterfaceName {
    pieces: [&'static str; 3],
}

impl InterfaceName {
    /// The name of the trait `trait_name` in this module: only the crate's name, the first
    /// segment of the path, is part of it, so that a trait may move within its crate.
    #[must_use]
    pub const fn derived(module_path: &'static str, trait_name: &'static str) -> Self {
        Self { pieces: [first_segment(module_path), ".", trait_name] }
    }

    /// This text as it stands.
    #[must_use]
    pub const fn explicit(name: &'static str) -> Self {
        Self { pieces: [name, "", ""] }
    }

    /// The number that stands for the name.
    #[must_use]
    pub const fn id(&self) -> InterfaceId {
        InterfaceId(fnv1a64(&self.pieces))
    }

    /// The name in pieces, to be read in one go.
    #[must_use]
    pub const fn pieces(&self) -> &[&'static str; 3] {
        &self.pieces
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterfaceName({self})")
    }
}

/// The text before the first `:`.
#[expect(clippy::indexing_slicing, reason = "the index is bounded by the loop; const code has no iterators")]
const fn first_segment(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b':' {
        end += 1;
    }
    path.split_at(end).0
}

/// A method of an interface, known to the compiler.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Method {
    /// The interface that declares the method.
    pub interface: InterfaceName,
    /// Its name within the interface.
    pub name: &'static str,
    /// Its parameters' names and types and its result, as written.
    pub signature: &'static str,
    /// What calls name it by.
    pub id: MethodId,
    /// What calls tell of the signature.
    pub fingerprint: Fingerprint,
    /// Whether it may run more than once for one call.
    pub idempotent: bool,
    /// How long a call of it may take, where that is not the node's to say.
    pub timeout: Option<Duration>,
    /// How its calls are run.
    pub manner: Manner,
}

/// How the calls of a method are run, where that is not as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// They run to their end, whatever becomes of their callers.
    pub detached: bool,
    /// They may block their thread.
    pub blocking: bool,
}

impl Method {
    /// The method `name` of `interface`.
    ///
    /// # Panics
    /// If the id would be one of the 256 that the runtime keeps for itself. Interfaces are made by
    /// the compiler, so this stops the build.
    #[must_use]
    #[track_caller]
    pub const fn new(interface: InterfaceName, name: &'static str, signature: &'static str) -> Self {
        let [scope, dot, trait_name] = *interface.pieces();
        let id = MethodId(fnv1a64(&[scope, dot, trait_name, ".", name]));
        assert!(
            id.0 > RESERVED_ID_MAX,
            "the id of this method is reserved: give it another name with #[remote(name = \"..\")]"
        );
        let fingerprint = Fingerprint(fnv1a64(&[signature]));
        let manner = Manner { detached: false, blocking: false };
        Self { interface, name, signature, id, fingerprint, idempotent: false, timeout: None, manner }
    }

    /// The method may run more than once for one call: it goes again where nobody knows whether it ran.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// A call of the method may take so many microseconds.
    #[must_use]
    pub const fn timeout_micros(mut self, micros: u64) -> Self {
        self.timeout = Some(Duration::from_micros(micros));
        self
    }

    /// Calls of the method run to their end, whatever becomes of their callers.
    #[must_use]
    pub const fn detached(mut self) -> Self {
        self.manner.detached = true;
        self
    }

    /// Calls of the method may block their thread.
    #[must_use]
    pub const fn blocking(mut self) -> Self {
        self.manner.blocking = true;
        self
    }
}

/// `com.example.Bank.open`.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.interface, self.name)
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({self})")
    }
}

/// The greatest method id that stands for a service of the runtime instead of a method.
const RESERVED_ID_MAX: u64 = 255;

/// Stops the build where two methods have one id.
///
/// # Panics
/// If two of the methods have one id.
#[track_caller]
#[expect(clippy::indexing_slicing, reason = "both indices are bounded by the loops; const code has no iterators")]
pub const fn assert_distinct(methods: &[Method]) {
    let mut later = 0;
    while later < methods.len() {
        let mut earlier = 0;
        while earlier < later {
            assert!(
                methods[earlier].id.0 != methods[later].id.0,
                "two methods of this interface have one id: give one of them another name with #[remote(name = \"..\")]"
            );
            earlier += 1;
        }
        later += 1;
    }
}

/// What is known of an interface while the program runs.
pub struct InterfaceDescriptor {
    /// Its name in calls and registries.
    pub name: InterfaceName,
    /// The path of the trait, as `module_path!()` gives it.
    pub path: &'static str,
    /// The methods that it declares itself.
    pub methods: &'static [Method],
    /// The interfaces that it is directly derived from.
    pub bases: &'static [fn() -> &'static Self],
    /// The names of its closure, made once.
    names: OnceLock<InterfaceSet>,
}

impl InterfaceDescriptor {
    /// An interface.
    #[must_use]
    pub const fn new(
        name: InterfaceName,
        path: &'static str,
        methods: &'static [Method],
        bases: &'static [fn() -> &'static Self],
    ) -> Self {
        Self { name, path, methods, bases, names: OnceLock::new() }
    }

    /// The names of this interface and of all that it is derived from.
    pub(crate) fn names(&'static self) -> &'static InterfaceSet {
        let closure = || self.closure().into_iter().map(|interface| interface.name.to_string()).collect();
        self.names.get_or_init(|| InterfaceSet::new(closure()))
    }

    /// This interface and all that it is derived from, itself first, each once.
    #[must_use]
    pub fn closure(&'static self) -> Vec<&'static Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(&interface) = found.get(next) {
            for base in interface.bases.iter().map(|base| base()) {
                if !found.iter().any(|known| std::ptr::eq(*known, base)) {
                    found.push(base);
                }
            }
            next += 1;
        }
        found
    }
}

impl fmt::Debug for InterfaceDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceDescriptor")
            .field("name", &format_args!("{}", self.name))
            .field("path", &self.path)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

/// An interface of this program, as `#[remote]` registers it.
#[derive(Debug)]
pub struct Registered(pub &'static InterfaceDescriptor);

inventory::collect!(Registered);

/// Every interface of this program.
pub fn interfaces() -> impl Iterator<Item = &'static InterfaceDescriptor> {
    inventory::iter::<Registered>.into_iter().map(|registered| registered.0)
}

/// The method of this id, of any interface of this program.
pub(crate) fn method(id: MethodId) -> Option<&'static Method> {
    known(id).map(|known| known.method)
}

/// The names of its interface and of itself.
pub(crate) fn named(id: MethodId) -> Option<(&'static str, &'static str)> {
    known(id).map(|known| (known.interface.as_str(), known.method.name))
}

/// A method of this program.
struct Known {
    method: &'static Method,
    interface: String,
}

fn known(id: MethodId) -> Option<&'static Known> {
    static METHODS: OnceLock<hashbrown::HashMap<MethodId, Known>> = OnceLock::new();
    let all = || {
        let methods = interfaces().flat_map(|interface| interface.methods);
        methods.map(|method| (method.id, Known { method, interface: method.interface.to_string() })).collect()
    };
    METHODS.get_or_init(all).get(&id)
}

/// Two interfaces of this program that have one name, if there are any: a peer could not tell
/// them apart.
#[must_use]
pub fn duplicate_names() -> Option<(&'static InterfaceDescriptor, &'static InterfaceDescriptor)> {
    first_duplicate(interfaces())
}

fn first_duplicate(
    interfaces: impl Iterator<Item = &'static InterfaceDescriptor>,
) -> Option<(&'static InterfaceDescriptor, &'static InterfaceDescriptor)> {
    let mut by_id = hashbrown::HashMap::new();
    interfaces.into_iter().find_map(|interface| {
        let first: &InterfaceDescriptor = by_id.entry(interface.name.id()).or_insert(interface);
        (first.path != interface.path).then_some((first, interface))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn descriptor(
        name: InterfaceName,
        path: &'static str,
        bases: &'static [fn() -> &'static InterfaceDescriptor],
    ) -> InterfaceDescriptor {
        InterfaceDescriptor::new(name, path, &[], bases)
    }

    static TOP: InterfaceDescriptor = descriptor(InterfaceName::derived("a::b", "Top"), "a::b::Top", &[]);
    static LEFT: InterfaceDescriptor = descriptor(InterfaceName::derived("a", "Left"), "a::Left", &[|| &TOP]);
    static RIGHT: InterfaceDescriptor = descriptor(InterfaceName::derived("a", "Right"), "a::Right", &[|| &TOP]);
    static BOTTOM: InterfaceDescriptor =
        descriptor(InterfaceName::derived("a", "Bottom"), "a::Bottom", &[|| &LEFT, || &RIGHT]);
    static OTHER_TOP: InterfaceDescriptor = descriptor(InterfaceName::explicit("a.Top"), "c::Top", &[]);

    #[test]
    fn a_derived_name_keeps_only_the_crate_of_the_path() {
        let name = InterfaceName::derived("bank::inner::deep", "Account");
        assert_eq!(name.to_string(), "bank.Account");
        assert_eq!(name.id(), InterfaceName::explicit("bank.Account").id());
        assert_eq!(InterfaceName::derived("bank", "Account").id(), name.id());
    }

    #[test]
    fn a_method_is_addressed_by_interface_and_name_and_signed_by_its_text() {
        let open = Method::new(InterfaceName::explicit("com.example.Bank"), "open", "open(owner:&str)->()");
        assert_eq!(open.to_string(), "com.example.Bank.open");
        assert_eq!(open.id, MethodId(fnv1a64(&["com.example.Bank.open"])));
        assert_eq!(open.fingerprint, Fingerprint(fnv1a64(&["open(owner:&str)->()"])));
    }

    #[test]
    fn a_closure_holds_a_diamond_once_and_begins_with_the_interface() {
        let names: Vec<_> = BOTTOM.closure().iter().map(|interface| interface.name.to_string()).collect();
        assert_eq!(names, ["a.Bottom", "a.Left", "a.Right", "a.Top"]);
    }

    #[test]
    fn one_name_at_two_paths_is_a_duplicate_and_one_path_twice_is_none() {
        assert!(first_duplicate([&TOP, &LEFT, &TOP].into_iter()).is_none());
        let (first, second) = first_duplicate([&LEFT, &TOP, &OTHER_TOP].into_iter()).unwrap();
        assert_eq!((first.path, second.path), ("a::b::Top", "c::Top"));
    }

    #[test]
    #[should_panic(expected = "the id of this method is reserved")]
    fn a_reserved_id_stops_the_build() {
        // Found through the lattice of the powers of FNV's prime: the id is 67.
        let _ = Method::new(InterfaceName::explicit("com.example.Bank"), "CFYFHFxBAERZGHAC", "()->()");
    }

    #[test]
    #[should_panic(expected = "two methods of this interface have one id")]
    fn two_methods_of_one_id_stop_the_build() {
        // Found by following FNV from random names until two paths met.
        let method = |name| Method::new(InterfaceName::explicit("com.example.Bank"), name, "()->()");
        assert_distinct(&[method("plsjixnqsshbbb"), method("open"), method("uayvjlkhfxmukf")]);
    }
}
