//! Where the caller wants a structure, in the version that it was compiled with.

use etcd_leader::Error;

use crate::border::refuse;

/// A program of a later version may ask for more fields.
const MAX_SIZE: usize = 4096;

/// Writable memory of the caller's for a `T` of some version.
pub(crate) struct Place<T> {
    at: *mut T,
    size: usize,
}

impl<T> Place<T> {
    /// Checks the two arguments, of which the first is called `argument` and the type `structure` in C.
    ///
    /// # Safety
    ///
    /// `at` is NULL or points to `size` writable bytes, which live as long as this.
    pub(crate) unsafe fn new(argument: &str, structure: &str, at: *mut T, size: usize) -> Result<Place<T>, Error> {
        if at.is_null() {
            return refuse(format!("{argument} is NULL; give a place for an {structure}"));
        }
        if size == 0 || size > MAX_SIZE || !size.is_multiple_of(align_of::<T>()) {
            let known = size_of::<T>();
            return refuse(format!(
                "{argument}_size is {size}; give sizeof({structure}), which is {known} in this version"
            ));
        }
        Ok(Place { at, size })
    }

    /// Writes the fields that both versions know; those that only the caller knows become 0.
    pub(crate) fn fill(self, value: T) {
        // SAFETY: there are `size` writable bytes, and no more than those of `value` are copied.
        unsafe {
            let place = self.at.cast::<u8>();
            place.write_bytes(0, self.size);
            place.copy_from_nonoverlapping((&raw const value).cast::<u8>(), self.size.min(size_of::<T>()));
        }
    }
}
