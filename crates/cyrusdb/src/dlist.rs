//! dlist
