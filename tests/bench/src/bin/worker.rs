//! See [`p2prpc_bench::worker`].

fn main() -> Result<(), p2prpc_bench::peers::Error> {
    p2prpc_bench::worker::main(None)
}
