//! om, the client of OpenManage.

fn main() {}
