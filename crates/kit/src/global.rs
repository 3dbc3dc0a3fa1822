//! AsGlobal: any allocator of the kit as `#[global_allocator]`.
