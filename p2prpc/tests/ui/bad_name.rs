use p2prpc::p2p_service;

#[p2p_service(name = "a.b")] //~ "a.b" => a name on the wire is printable ASCII without spaces and '.'; `a.b` has '.' in it: set another with `name = ".."`
pub trait Dot {
    #[rpc(name = "")] //~ "" => a name on the wire cannot be empty
    async fn empty(&self);
    #[rpc(name = "a b")] //~ "a b" => `a b` has ' ' in it
    async fn space(&self);
    #[rpc(name = "a\n")] //~ "a\n" => has '\n' in it
    async fn newline(&self);
    async fn größe(&self); //~ größe => `Größe` has 'ö' in it: set another with `name = ".."`
}
